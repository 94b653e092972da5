from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gansweep.gan.batches import Augmentation
from gansweep.gan.data import ImageSet
from gansweep.gan.networks import Discriminator, Generator
from gansweep.gan.optimizer import Adam
from gansweep.gan.training import Settings, Trainer, Updates
from gansweep.gan.version import TRAINING_VERSION
from gansweep.health.metrics import TRAINING

CPU = torch.device("cpu")
MakeTrainer = Callable[..., Trainer]
Pair = tuple[Tensor, Tensor]


def plain_generator(latent_dim: int, widths: list[int], channels: int) -> nn.Sequential:
    """As the DCGAN tutorial writes it. widths: maps from the 4×4 base upwards."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], 4, 1, 0, bias=False)]
    for inputs, outputs in zip(widths, [*widths[1:], channels], strict=True):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
    return nn.Sequential(*layers, nn.Tanh())


def plain_discriminator(widths: list[int], channels: int) -> nn.Sequential:
    """As the DCGAN tutorial writes it, without the sigmoid. widths: maps from the image downwards."""
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Flatten(0))


def paired(ours: Generator | Discriminator, plain: nn.Sequential) -> list[Pair]:
    """Every tensor of ours with its counterpart."""
    pairs: list[Pair] = []
    weights, norms = iter(ours.weights), iter(ours.norms)
    for module in plain:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            pairs.append((next(weights), module.weight))
        elif isinstance(module, nn.BatchNorm2d):
            norm = next(norms)
            pairs += [(norm.state_dict()[name], tensor) for name, tensor in module.state_dict().items()]
    assert list(weights) == list(norms) == []
    return pairs


def in_double(trainer: Trainer, patch: pytest.MonkeyPatch) -> Trainer:
    """The same trainer, weights, batches and noise in float64: what differs then is arithmetic, not rounding.

    In float32 an activation within rounding of a ReLU's kink takes the other slope, and Adam's first steps make
    whole learning rates of it: two plain DCGANs whose weights differ by an ulp are 1e-2 apart after 50 steps.
    """
    batch, noise, rates = trainer.batches.next, trainer.noise, trainer.settings
    patch.setattr(trainer.batches, "next", lambda: batch().double())
    patch.setattr(trainer, "noise", lambda: noise().double())
    patch.setattr(Tensor, "float", Tensor.double)
    for name, network, of in (
        ("adam_g", trainer.generator, rates.generator),
        ("adam_d", trainer.discriminator, rates.discriminator),
    ):
        patch.setattr(trainer, name, Adam(list(network.double().parameters()), of.learning_rate, of.beta1, of.beta2))
    return trainer


def train_beside_a_plain_dcgan(trainer: Trainer, source: Trainer, steps: int) -> tuple[Tensor, Tensor, list[Pair]]:
    """Losses of ours and of the plain one, (steps, 2), and every tensor of both; source gives batches and noise."""
    settings, dtype = trainer.settings, trainer.generator.weights[0].dtype
    widths = [settings.generator_maps * 2**i for i in range({16: 2, 32: 3}[settings.image_size])]
    g = plain_generator(settings.latent_dim, widths[::-1], settings.channels).to(dtype)
    d = plain_discriminator(widths, settings.channels).to(dtype)
    pairs = paired(trainer.generator, g) + paired(trainer.discriminator, d)
    with torch.no_grad():
        for ours, plain in pairs:
            plain.copy_(ours)
    rates = {"lr": settings.generator.learning_rate, "betas": (settings.generator.beta1, settings.generator.beta2)}
    adam_g, adam_d = torch.optim.Adam(g.parameters(), **rates), torch.optim.Adam(d.parameters(), **rates)
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(settings.batch_size, dtype=dtype), torch.zeros(settings.batch_size, dtype=dtype)
    losses = []
    for _ in range(steps):
        trainer.train_step()
        fakes = g(source.noise()[:, :, None, None])
        d.zero_grad()
        loss_d = criterion(d(source.batches.next()), ones) + criterion(d(fakes.detach()), zeros)
        loss_d.backward()
        adam_d.step()
        g.zero_grad()
        loss_g = criterion(d(fakes), ones)
        loss_g.backward()
        adam_g.step()
        losses.append([loss_d.item(), loss_g.item()])
    return torch.from_numpy(trainer.read()[:, :2]).double(), torch.tensor(losses, dtype=torch.float64), pairs


def of_the_tutorial(digits: ImageSet) -> Trainer:
    adam = Updates(learning_rate=2e-4, beta1=0.5, beta2=0.999)
    return Trainer(Settings(100, 16, 16, 32, 1, 64, generator=adam, discriminator=adam), digits.load(), CPU)


@pytest.mark.slow
def test_first_50_steps_equal_a_plain_dcgan(digits: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, source = (in_double(of_the_tutorial(digits), monkeypatch) for _ in range(2))
    ours, plain, pairs = train_beside_a_plain_dcgan(trainer, source, 50)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-4)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_small_networks_equal_a_plain_dcgan(
    make_trainer: MakeTrainer, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, source = (in_double(make_trainer(channels=channels), monkeypatch) for _ in range(2))
    ours, plain, pairs = train_beside_a_plain_dcgan(trainer, source, 20)
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_in_float32_the_losses_stay_beside_a_plain_dcgan(make_trainer: MakeTrainer, channels: int) -> None:
    ours, plain, _ = train_beside_a_plain_dcgan(make_trainer(channels=channels), make_trainer(channels=channels), 10)
    torch.testing.assert_close(ours[0], plain[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, plain, rtol=0, atol=0.05)  # as far as one flipped ReLU may lead


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "colour": {"channels": 3},
    "validation": {"validation": 0.2},
    "augmentation": {"augmentation": Augmentation(flip=True, rotate=20, translate=0.1, scale=0.1)},
    "more updates": {"generator": Updates(2e-3, 0.5, 0.9, 2), "discriminator": Updates(1e-3, 0.0, 0.999, 3)},
}


def assert_same_state(one: Trainer, other: Trainer) -> None:
    assert (one.step, one.batches.position) == (other.step, other.batches.position)
    expected = other.state()
    assert one.state().keys() == expected.keys()
    for name, tensor in one.state().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_restored_trainer_goes_on_bit_for_bit(make_trainer: MakeTrainer, changes: dict[str, Any]) -> None:
    whole, half, rest = (make_trainer(**changes) for _ in range(3))
    for _ in range(5):
        whole.train_step()
    for _ in range(2):
        half.train_step()
    rest.train_step()  # what it did before does not matter
    rest.load_state(half.state(), half.step, half.batches.position)
    for _ in range(3):
        rest.train_step()
    assert_same_state(rest, whole)


def test_load_state_refuses_other_networks(make_trainer: MakeTrainer) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        make_trainer().load_state(make_trainer(generator_maps=8).state(), 0, 0)


def test_the_seed_decides_everything_and_global_random_numbers_nothing(make_trainer: MakeTrainer) -> None:
    torch.manual_seed(1)
    one = make_trainer(seed=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other, different = make_trainer(seed=3), make_trainer(seed=4)
    for trainer in (one, other, different):
        trainer.train_step()
    assert_same_state(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    for name in ("generator.weights.0", "discriminator.weights.0", "noise_rng", "fixed_noise"):
        assert not torch.equal(one.state()[name], different.state()[name])


def test_validation_losses_touch_nothing(make_trainer: MakeTrainer) -> None:
    trainer, untouched = make_trainer(validation=0.4), make_trainer(validation=0.4)
    trainer.train_step()
    untouched.train_step()
    before = torch.get_rng_state()
    losses = trainer.validation_losses()
    assert sorted(losses) == ["val_loss_d", "val_loss_g"]
    assert all(0 < loss < 10 for loss in losses.values())
    assert trainer.validation_losses() == losses
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_state(trainer, untouched)
    assert make_trainer().validation_losses() == {}


def test_more_updates_train_on_more_batches_and_noise(make_trainer: MakeTrainer) -> None:
    trainer, reference = make_trainer(**VARIANTS["more updates"]), make_trainer()
    trainer.train_step()
    assert trainer.batches.position == 3
    assert [float(t) for t in (trainer.adam_d.steps[0], trainer.adam_g.steps[0])] == [3, 2]
    for _ in range(3 + 1):  # one z for each update of D; the first of G reuses the last
        reference.noise()
    assert torch.equal(trainer.noise(), reference.noise())


def test_clear_begins_a_new_interval(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    rate = trainer.clear()
    assert rate != rate
    assert trainer.read().shape == (0, len(TRAINING))
    trainer.train_step()
    assert trainer.read().shape == (1, len(TRAINING))
    assert trainer.clear() > 0
    assert trainer.read().shape == (0, len(TRAINING))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["generator.weights.0", "discriminator.norms.0.running_var"])
def test_weights_finite_sees_parameters_and_running_statistics(
    make_trainer: MakeTrainer, place: str, value: float
) -> None:
    trainer = make_trainer()
    assert trainer.weights_finite()
    with torch.no_grad():
        trainer.state()[place][0] = value
    assert not trainer.weights_finite()


GOLDEN = {  # metrics of the third step, in TRAINING's order
    "plain": [1.340205, 0.6816183, 0.5284654, 0.5041338, 2.061423, 0.4440722],
    "colour": [1.278783, 0.6650583, 0.5795865, 0.5190801, 2.610188, 0.8942542],
    "validation": [1.310071, 0.6800565, 0.5458963, 0.5048965, 1.942648, 0.4401825],
    "augmentation": [1.323355, 0.6836127, 0.536766, 0.5035673, 1.786765, 0.4009537],
    "more updates": [1.265402, 0.6588494, 0.5839869, 0.5166334, 1.718735, 0.5751421],
}


@pytest.mark.parametrize("variant", GOLDEN)
def test_the_same_seed_still_gives_the_same_numbers(make_trainer: MakeTrainer, variant: str) -> None:
    trainer = make_trainer(**VARIANTS[variant])
    for _ in range(3):
        trainer.train_step()
    assert trainer.read()[-1].tolist() == pytest.approx(GOLDEN[variant], rel=1e-4), (
        f"the same configuration and seed give other numbers than before: raise TRAINING_VERSION in"
        f" gansweep/gan/version.py (it is {TRAINING_VERSION}) and update GOLDEN"
    )
