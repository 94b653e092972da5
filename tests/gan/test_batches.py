from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gansweep.config import AugmentationConfig
from gansweep.gan.batches import Batches, augment, generator, stream_seed
from gansweep.gan.data import Pixels

CPU = torch.device("cpu")


def numbered(images: int) -> Pixels:
    """Image i is filled with i."""
    return np.full((images, 1, 2, 2), np.arange(images, dtype=np.uint8)[:, None, None, None])


def batches(images: int = 20, size: int = 4, seed: int = 0, **more: Any) -> Batches:
    return Batches(numbered(images), size, seed, CPU, more.pop("augmentation", AugmentationConfig()), **more)


def numbers(batch: Tensor) -> list[int]:
    return ((batch[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def epoch(of: Batches) -> list[int]:
    return [i for _ in range(of.per_epoch) for i in numbers(of.next()[0])]


@given(st.integers(2, 60), st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_visits_each_image_at_most_once(images: int, size: int, seed: int) -> None:
    size = min(size, images)
    ours = batches(images, size, seed)
    for _ in range(2):
        visited = epoch(ours)
        assert len(visited) == len(set(visited)) == images // size * size


def test_a_full_epoch_visits_each_image_once_in_an_order_of_its_own() -> None:
    ours = batches()
    first, second = epoch(ours), epoch(ours)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != list(range(20))
    assert epoch(batches(seed=1)) != first
    assert epoch(batches()) == first


@given(st.integers(0, 30))
def test_a_position_restores_the_order(position: int) -> None:
    passed, restored = batches(), batches()
    for _ in range(position):
        passed.next()
    restored.position = position
    for _ in range(7):
        assert torch.equal(passed.next()[0], restored.next()[0])


def test_pixels_become_floats_between_minus_one_and_one() -> None:
    pixels = np.array([0, 255, 51], np.uint8).reshape(3, 1, 1, 1)
    batch = Batches(pixels, 3, 0, CPU, AugmentationConfig()).next()[0]
    assert (batch.dtype, batch.shape) == (torch.float32, (3, 1, 1, 1))
    assert sorted(batch.flatten().tolist()) == pytest.approx([-1.0, -0.6, 1.0])


def test_the_held_out_images_are_never_trained_on_and_the_same_for_every_seed() -> None:
    held_out = set()
    for seed in range(3):
        ours = batches(size=7, seed=seed, validation=0.3)
        validation = ours.validation()
        assert validation is not None
        images, _ = validation
        held_out.add(tuple(numbers(images)))
        assert sorted({*epoch(ours), *epoch(ours), *numbers(images)}) == list(range(20))
        assert not {*epoch(ours)} & {*numbers(images)}
    assert len(held_out) == 1


def test_validation_images_are_neither_augmented_nor_moved_on() -> None:
    ours = batches(size=4, validation=0.3, augmentation=AugmentationConfig(flip=True, scale=0.5))
    state, first = ours.augmentation_rng.get_state(), ours.validation()
    assert first is not None
    assert first[0].shape == (4, 1, 2, 2)
    again = ours.validation()
    assert again is not None
    assert torch.equal(first[0], again[0])
    assert torch.equal(ours.augmentation_rng.get_state(), state)
    assert ours.position == 0


@pytest.mark.parametrize(("images", "share"), [(20, 0.0), (10, 0.1)])
def test_no_validation_batch_without_two_images(images: int, share: float) -> None:
    assert batches(images, validation=share).validation() is None


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^3 training images do not fill a batch of 4$"):
        batches(4, 4, validation=0.25)


def test_streams_are_apart() -> None:
    seeds = {stream_seed(seed, stream) for seed in range(20) for stream in ("noise", "weights", "epoch 0", "epoch 1")}
    assert len(seeds) == 80
    assert torch.equal(torch.rand(3, generator=generator(1, "a")), torch.rand(3, generator=generator(1, "a")))


IMAGES = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
SETTINGS: dict[str, AugmentationConfig] = {
    "flip": AugmentationConfig(flip=True),
    "rotate": AugmentationConfig(rotate=180),
    "translate": AugmentationConfig(translate=0.5),
    "scale": AugmentationConfig(scale=0.9),
    "all": AugmentationConfig(True, 30, 0.2, 0.2),
}
EVERY = pytest.mark.parametrize("augmentation", SETTINGS.values(), ids=SETTINGS)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@EVERY
def test_augmentation_keeps_shape_and_range_and_obeys_its_stream(augmentation: AugmentationConfig) -> None:
    before = torch.get_rng_state()
    images = augment(IMAGES, augmentation, rng())
    assert (images.shape, images.dtype) == (IMAGES.shape, IMAGES.dtype)
    assert images.abs().max() <= 1
    assert not torch.equal(images, IMAGES)
    assert torch.equal(images, augment(IMAGES, augmentation, rng()))
    assert not torch.equal(images, augment(IMAGES, augmentation, rng(1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_augmentation_changes_and_draws_nothing() -> None:
    stream = rng()
    assert augment(IMAGES, AugmentationConfig(), stream) is IMAGES
    assert torch.equal(stream.get_state(), rng().get_state())


@EVERY
def test_augmentation_leaves_a_uniform_image_as_it_is(augmentation: AugmentationConfig) -> None:
    uniform = torch.full((8, 1, 16, 16), 0.5)
    torch.testing.assert_close(augment(uniform, augmentation, rng()), uniform)


def test_flip_mirrors_half_of_the_images_whole() -> None:
    images = augment(IMAGES, AugmentationConfig(flip=True), rng())
    mirrored = (images == IMAGES.flip(3)).flatten(1).all(1)
    assert torch.equal(images[~mirrored], IMAGES[~mirrored])
    assert 16 < int(mirrored.sum()) < 48


def centres(images: Tensor) -> Tensor:
    """(N, 2): x and y of the brightness's centre, in pixels from the middle."""
    at = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    mass = images.sum((1, 2, 3))
    return torch.stack([(images.sum((1, 2)) * at).sum(1), (images.sum((1, 3)) * at).sum(1)], 1) / mass[:, None]


def dot(x: int, y: int) -> Tensor:
    """200 images of 33×33 with a bright square of 3×3 around (x, y) from the middle."""
    images = torch.zeros(200, 1, 33, 33)
    images[:, :, 15 + y : 18 + y, 15 + x : 18 + x] = 1
    return images


def test_translate_moves_by_at_most_its_share_of_the_side() -> None:
    moved = centres(augment(dot(0, 0), AugmentationConfig(translate=0.25), rng())).abs()
    assert 0.9 * 0.25 * 33 < float(moved.max()) <= 0.25 * 33 + 1e-3
    assert abs(float(moved.mean()) - 0.125 * 33) < 1


def test_rotate_turns_about_the_middle_by_at_most_its_degrees() -> None:
    x, y = centres(augment(dot(10, 0), AugmentationConfig(rotate=30), rng())).unbind(1)
    angles = torch.rad2deg(torch.atan2(y, x))
    torch.testing.assert_close(torch.hypot(x, y), torch.full((200,), 10.0), rtol=0, atol=0.3)
    assert angles.min() < -27
    assert angles.max() > 27
    assert angles.abs().max() < 31


def test_scale_enlarges_and_shrinks_by_at_most_its_share() -> None:
    distance = centres(augment(dot(10, 0), AugmentationConfig(scale=0.2), rng()))[:, 0] / 10
    assert 0.78 < float(distance.min()) < 0.83
    assert 1.17 < float(distance.max()) < 1.22


def test_batches_are_augmented_from_their_own_stream(make_pixels: Callable[..., Pixels]) -> None:
    plain = Batches(make_pixels(), 8, 0, CPU, AugmentationConfig())
    turned = Batches(make_pixels(), 8, 0, CPU, SETTINGS["all"])
    expected = augment(plain.next()[0], SETTINGS["all"], generator(0, "augmentation"))
    assert torch.equal(turned.next()[0], expected)
