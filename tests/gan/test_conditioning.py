"""Classes reach both networks, are asked for as often as they come, and a kill makes no difference."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gansweep.config import NetworkConfig, OptimizerConfig, RunConfig, TrainingConfig
from gansweep.gan import checkpoint
from gansweep.gan.data import A_CLASS, Pixels
from gansweep.gan.restore import description, generator_of
from gansweep.gan.run import Run
from gansweep.gan.sampling import GAP, grid_png, sample
from gansweep.gan.training import Trainer
from gansweep.networks.registry import ARCHITECTURES
from gansweep.records.layout import TrialFolder

CPU = torch.device("cpu")
ABC = ("a", "b", "c")
MakeTrainer = Callable[..., Trainer]
HOW = pytest.mark.parametrize("how", ["concat", "two_stream"])


@pytest.fixture
def conditional(make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]) -> MakeTrainer:
    """(how, labels=…, pixels=…) → a tiny conditional trainer; keywords change its settings."""

    def make(how: str = "concat", labels: Any = None, pixels: Pixels | None = None, **changes: Any) -> Trainer:
        networks = NetworkConfig(changes.pop("architecture", "dcgan"), how, ABC)
        settings = make_settings(networks=networks, **changes)
        pixels = make_pixels(20, settings.image_size) if pixels is None else pixels
        labels = np.arange(len(pixels)) % len(ABC) if labels is None else np.asarray(labels)
        return Trainer(settings, pixels, CPU, labels)

    return make


@HOW
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_class_makes_another_image_and_another_judgement(
    conditional: MakeTrainer, how: str, architecture: str
) -> None:
    trainer = conditional(how, architecture=architecture, image_size=28)
    z, images = torch.randn(6, 5), torch.rand(6, 1, 28, 28)
    for network, x in ((trainer.generator, z), (trainer.discriminator, images)):
        outputs = [network.eval()(x, torch.full((6,), c)) for c in range(3)]
        assert not any(torch.equal(outputs[0][i], outputs[1][i]) for i in range(6))
        assert not torch.allclose(outputs[1], outputs[2])


def test_classes_are_asked_for_as_often_as_they_come_among_the_images(conditional: MakeTrainer) -> None:
    trainer = conditional(labels=[0] * 4 + [1] * 16)
    asked = torch.cat([labels for _ in range(500) if (labels := trainer.labels()) is not None])
    assert asked.shape == (500 * trainer.config.batch_size,)
    shares = torch.bincount(asked, minlength=3) / len(asked)
    np.testing.assert_allclose(shares, [0.2, 0.8, 0], atol=4 * (0.2 * 0.8 / len(asked)) ** 0.5)


def test_asking_has_a_random_stream_of_its_own(conditional: MakeTrainer) -> None:
    one, other, different = conditional(), conditional(), conditional(seed=1)
    other.noise()
    torch.manual_seed(9)
    found = [torch.stack([trainer.labels() for _ in range(4)]) for trainer in (one, other, different)]  # type: ignore[misc]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(one.noise(), conditional().noise())


def test_real_images_come_with_their_own_classes(conditional: MakeTrainer) -> None:
    pixels = np.arange(20, dtype=np.uint8).repeat(256).reshape(20, 1, 16, 16)
    trainer = conditional(pixels=pixels, validation=0.4)
    batches = trainer.batches
    held_out = batches.validation()
    assert held_out is not None
    for images, labels in (batches.next(), held_out, batches.next()):
        assert labels is not None
        numbers = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert torch.equal(numbers % len(ABC), labels)


def test_an_unconditional_trainer_is_told_no_classes(
    make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]
) -> None:
    trainer = Trainer(make_settings(), make_pixels(), CPU, np.zeros(20, np.int64))
    assert trainer.labels() is None
    assert trainer.batches.next()[1] is None
    assert trainer.grid() == (trainer.fixed_noise, None)


@HOW
def test_g_learns_what_each_class_looks_like(conditional: MakeTrainer, how: str) -> None:
    """Class a is white on the left, b on the right."""
    labels = np.arange(60) % 2
    pixels = np.full((60, 1, 16, 2, 8), 10, np.uint8)
    pixels[np.arange(60), :, :, labels] = 245
    adam, pixels = OptimizerConfig(4e-3, 0.5, 0.99), pixels.reshape(60, 1, 16, 16)
    trainer = conditional(how, labels, pixels, batch_size=20, generator=adam, discriminator=adam)
    for _ in range(200):
        trainer.train_step()
    z, asked = trainer.grid()
    sides = sample(trainer.sampler, z, asked).reshape(len(ABC), A_CLASS, 16, 2, 8).mean(axis=(1, 2, 4))
    np.testing.assert_allclose(sides[:2], [[245, 10], [10, 245]], atol=60)


@HOW
def test_a_grid_has_a_row_a_class_and_the_same_noise_in_each_column(
    tmp_path: Path, conditional: MakeTrainer, make_pixels: Callable[..., Pixels], how: str
) -> None:
    trainer = conditional(how)
    z, classes = trainer.grid()
    assert classes is not None
    assert classes.tolist() == [0] * A_CLASS + [1] * A_CLASS + [2] * A_CLASS
    for row in z.view(len(ABC), A_CLASS, -1):
        assert torch.equal(row, trainer.fixed_noise[:A_CLASS])
    assert len({tuple(column) for column in z[:A_CLASS].tolist()}) == A_CLASS
    folder = TrialFolder(tmp_path / "t")
    make_trainer = partial(Trainer, trainer.config, make_pixels(), CPU, np.arange(20) % len(ABC))
    run = Run(folder, RunConfig(2, 2, 2, 2, 1), make_trainer)
    run.advance(60)
    run.close()
    for _ in range(2):
        trainer.train_step()
    png = folder.sample(2).read_bytes()
    assert png == grid_png(sample(trainer.sampler, z, classes), A_CLASS)
    assert Image.open(io.BytesIO(png)).size == (A_CLASS * (16 + GAP) - GAP, len(ABC) * (16 + GAP) - GAP)


@HOW
def test_a_restored_trainer_asks_for_the_same_classes_and_goes_on_bit_for_bit(
    conditional: MakeTrainer, how: str
) -> None:
    changes = {
        "generator": OptimizerConfig(2e-3, 0.5, 0.9, 2),
        "discriminator": OptimizerConfig(1e-3, 0.0, 0.999, 3),
        "ema": 0.5,
    }
    whole, half, rest = (conditional(how, **changes) for _ in range(3))
    for _ in range(5):
        whole.train_step()
    for _ in range(2):
        half.train_step()
    rest.train_step()
    rest.load_state(half.state(), half.step, half.batches.position)
    for _ in range(3):
        rest.train_step()
    expected = whole.state()
    assert rest.state().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in rest.state().items())
    assert torch.equal(rest.labels(), whole.labels())  # type: ignore[arg-type]


@HOW
def test_a_checkpoint_knows_its_classes(tmp_path: Path, conditional: MakeTrainer, how: str) -> None:
    trainer, file = conditional(how), tmp_path / "c.safetensors"
    trainer.train_step()
    checkpoint.save(file, trainer.state(), {"step": 1, **description(trainer.config)})
    found = generator_of(file)
    assert found.classes == ABC
    z, asked = trainer.grid()
    np.testing.assert_array_equal(sample(found.generator, z, asked), sample(trainer.sampler, z, asked))


@HOW
def test_validation_losses_are_of_held_out_images_with_their_classes(conditional: MakeTrainer, how: str) -> None:
    trainer = conditional(how, validation=0.4)
    losses = trainer.measure().read().validation
    assert losses.keys() == {"val_loss_d", "val_loss_g"}
    batch = trainer.batches.validation()
    assert batch is not None
    real, labels = batch
    z, asked = trainer.grid()
    with torch.no_grad():
        real_outputs = trainer.discriminator(real, labels)
        fake_outputs = trainer.discriminator(trainer.generator(z, asked), asked)
        of_d = trainer.loss.discriminator(real_outputs, fake_outputs)
    assert losses == pytest.approx(
        {"val_loss_d": float(of_d), "val_loss_g": float(trainer.loss.generator(fake_outputs, lambda: real_outputs))}
    )
