from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gansweep.gan import sampling
from gansweep.gan.data import GRID_PIXELS, grid_side
from gansweep.gan.sampling import CHUNK, GAP, evaluating, grid_png, in_chunks, noise, reduced, sample, slerp, walk
from gansweep.gan.training import Trainer


def test_touches_neither_random_streams_nor_running_statistics(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer()
    trainer.train_step()
    before, global_before = {k: v.clone() for k, v in trainer.state().items()}, torch.get_rng_state()
    images = sample(trainer.generator, trainer.fixed_noise)
    assert (images.shape, images.dtype) == ((64, 1, 16, 16), np.uint8)
    assert trainer.generator.training
    assert torch.equal(torch.get_rng_state(), global_before)
    for name, tensor in trainer.state().items():
        assert torch.equal(tensor, before[name]), name
    np.testing.assert_array_equal(sample(trainer.generator, trainer.fixed_noise), images)


def test_maps_the_range_and_nan_to_bytes() -> None:
    values = torch.tensor([-1.0, 0.0, 1.0, float("nan"), 2.0, -2.0]).view(1, 1, 2, 3)
    assert sample(nn.Identity(), values).flatten().tolist() == [0, 128, 255, 0, 255, 0]


def test_training_mode_comes_back_after_an_error() -> None:
    network = nn.Identity()
    with pytest.raises(ZeroDivisionError), evaluating(network):
        print(1 / int(network.training))
    assert network.training


@pytest.mark.parametrize("count", [1, 5, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_draws_the_same_first_images_however_many_are_asked_for(
    make_trainer: Callable[..., Trainer], count: int
) -> None:
    trainer = make_trainer()
    trainer.train_step()
    many, before = in_chunks(trainer.generator, noise(5, 3 * CHUNK - 7, seed=1)), torch.get_rng_state()
    images = in_chunks(trainer.generator, noise(5, count, seed=1))
    assert (images.shape, many.shape) == ((count, 1, 16, 16), (3 * CHUNK - 7, 1, 16, 16))
    np.testing.assert_array_equal(images, many[:count])
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_by_its_seed_from_standard_normal_noise() -> None:
    drawn = [in_chunks(nn.Unflatten(1, (1, 1, 30)), noise(30, 500, seed)) for seed in (0, 1, 0)]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert (drawn[0] != drawn[1]).mean() > 0.5
    assert len(np.unique(drawn[0].reshape(500, 30), axis=0)) == 500  # chunks go on in the stream
    below = (drawn[0] == 0).mean(), (drawn[0] == 255).mean()  # P(z < -1), but for rounding; the same above 1
    np.testing.assert_allclose(below, (0.159, 0.159), atol=0.01)


class Labelled(nn.Module):
    """Its images are one pixel: the class, brighter where z is positive."""

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return ((labels + 0.5 * (z[:, 0] > 0)) / 5 - 1).view(-1, 1, 1, 1)


@pytest.mark.parametrize("count", [3, CHUNK, CHUNK + 9])
def test_draws_each_image_of_its_class_from_noise_that_classes_leave_alone(count: int) -> None:
    labels = torch.arange(count) % 7
    pixels = in_chunks(Labelled(), noise(4, count, seed=2), labels).reshape(-1).astype(float)
    expected = labels.numpy() + 0.5 * (noise(4, count, seed=2)[:, 0] > 0).numpy()
    np.testing.assert_allclose(pixels / 25.5, expected, atol=0.02)
    assert len(pixels) == count


def test_a_walk_begins_at_what_is_drawn_and_closes(make_trainer: Callable[..., Trainer]) -> None:
    generator = make_trainer().generator
    frames = list(walk(5, 3, seed=1, frames=12, places=3))
    assert [tuple(z.shape) for z in frames] == [(3, 5)] * 12
    np.testing.assert_array_equal(in_chunks(generator, frames[0]), in_chunks(generator, noise(5, 3, seed=1)))
    steps = [float((b - a).norm()) for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert max(steps) < 2.5 * min(steps)  # no jumps, the last one back to the first included
    places = frames[::4]
    assert min(float((a - b).norm()) for a, b in zip(places, [*places[1:], places[0]], strict=True)) > 1
    again, other = (list(walk(5, 3, seed, 12, 3)) for seed in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(frames, again, strict=True))
    assert not torch.equal(frames[5], other[5])
    fewer = list(walk(5, 2, seed=1, frames=12, places=3))
    assert all(torch.equal(a[:2], b) for a, b in zip(frames, fewer, strict=True))


def test_between_two_places_lie_arcs() -> None:
    """Steps have equal length, on the sphere if both ends are on it (Shoemake 1985)."""
    p, q = torch.eye(4)[:2]
    p, q = torch.stack([p, 3 * p, p]), torch.stack([q, 3 * q, -p])
    for share in (0.0, 0.25, 0.5, 1.0):
        found = slerp(p, q, share)
        angle = share * torch.pi / 2
        expected = torch.cos(torch.tensor(angle)) * p[0] + torch.sin(torch.tensor(angle)) * q[0]
        torch.testing.assert_close(found[:2], torch.stack([expected, 3 * expected]))
        torch.testing.assert_close(found[2], (1 - 2 * share) * p[2])  # opposite ends have no arc
    torch.testing.assert_close(slerp(p, p, 0.3), p)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (9, 3, 3), (64, 8, 8)])
def test_a_grid_shows_every_image_row_by_row(channels: int, n: int, columns: int, rows: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, (n, channels, 5, 4), np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(grid_png(images))))
    assert sheet.shape[:2] == (rows * (5 + GAP) - GAP, columns * (4 + GAP) - GAP)
    white = np.ones(sheet.shape[:2], bool)
    for i, image in enumerate(images):
        top, left = i // columns * (5 + GAP), i % columns * (4 + GAP)
        shown = sheet[top : top + 5, left : left + 4].reshape(5, 4, channels).transpose(2, 0, 1)
        np.testing.assert_array_equal(shown, image)
        white[top : top + 5, left : left + 4] = False
    assert (sheet[white] == 255).all()


@pytest.mark.parametrize("columns", [1, 3, 7])
def test_a_grid_has_the_columns_that_it_was_asked_for(columns: int) -> None:
    images = np.zeros((7, 1, 5, 4), np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(grid_png(images, columns))))
    assert sheet.shape == (-(-7 // columns) * (5 + GAP) - GAP, columns * (4 + GAP) - GAP)
    assert (sheet == 0).sum() == 7 * 5 * 4


@pytest.mark.parametrize(
    ("size", "classes", "side"),
    [
        (28, 0, 28),
        (64, 62, 64),
        (128, 0, 128),
        (256, 0, 256),
        (256, 8, 256),
        (256, 10, 128),
        (128, 62, 64),
        (96, 40, 48),
    ],
)
def test_images_of_a_large_grid_are_halved_until_it_fits(size: int, classes: int, side: int) -> None:
    assert grid_side(size, classes) == side
    assert side <= 64 or max(8, classes) * side <= GRID_PIXELS


def test_reduced_images_are_means_of_squares() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8)
    found = reduced(images, 2)
    assert found.shape == (3, 3, 2, 2)
    assert found[1, 2, 0, 1] == round(float(images[1, 2, :4, 4:].mean()))
    assert reduced(images, 8) is images


@pytest.mark.parametrize("conditional", [False, True])
def test_large_images_are_generated_in_parts(conditional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Counting(Labelled):
        def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
            sizes.append(len(z))
            return super().forward(z, torch.zeros(len(z)) if labels is None else labels)

    monkeypatch.setattr(sampling, "MOST_PIXELS", 3 * 128**2)
    z, labels = noise(5, 8, seed=0), torch.arange(8) if conditional else None
    at_once, parts = (sampling.sample_on_device(Counting(), z, labels, size) for size in (64, 128))
    assert sizes == [8, 3, 3, 2]
    assert torch.equal(at_once, parts)
