from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds import ABC, MORE_UPDATES, RECIPES, VARIANTS, assert_same_state
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.config import LossConfig, NetworkConfig, OptimizerConfig, RunConfig, TrainingConfig
from gansweep.gan.batches import Batch, generator
from gansweep.gan.data import ImageSet, Pixels
from gansweep.gan.optimizer import Adam
from gansweep.gan.restore import generator_of
from gansweep.gan.run import Run
from gansweep.gan.sampling import grid_png, sample
from gansweep.gan.training import Trainer
from gansweep.gan.version import TRAINING_VERSION
from gansweep.health.metrics import CRITIC_TRAINING, TRAINING
from gansweep.losses.loss import Loss
from gansweep.losses.registry import LOSSES
from gansweep.losses.wasserstein import WassersteinClip, WassersteinGP, gradient_penalty
from gansweep.networks.network import Network
from gansweep.networks.registry import discriminator_design
from gansweep.records.layout import TrialFolder
from gansweep.usercode.code import write
from gansweep.usercode.find import find
from gansweep.usercode.path import ImportPath

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


def paired(ours: Network, plain: nn.Sequential) -> list[Pair]:
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
    batch, noise, rates = trainer.batches.get, trainer.noise, trainer.config

    def in_double(at: int) -> Batch:
        images, labels = batch(at)
        return images.double(), labels

    patch.setattr(trainer.batches, "get", in_double)
    for part, name in ((trainer, "_row"), (trainer, "_ema_weight"), (trainer.inputs, "_noise_deviation")):
        patch.setattr(part, name, getattr(part, name).double())
    patch.setattr(trainer, "noise", lambda: noise().double())
    patch.setattr(Tensor, "float", Tensor.double)
    for name, network, of in (
        ("adam_g", trainer.generator, rates.generator),
        ("adam_d", trainer.discriminator, rates.discriminator),
    ):
        patch.setattr(trainer, name, Adam(list(network.double().parameters()), of.learning_rate, of.beta1, of.beta2))
    if trainer.average:
        trainer.average.double()
    return trainer


def train_beside_a_plain_dcgan(trainer: Trainer, source: Trainer, steps: int) -> tuple[Tensor, Tensor, list[Pair]]:
    """Losses of ours and of the plain one, (steps, 2), and every tensor of both; source gives batches and noise."""
    settings, dtype = trainer.config, trainer.generator.weights[0].dtype
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
        loss_d = criterion(d(source.batches.next()[0]), ones) + criterion(d(fakes.detach()), zeros)
        loss_d.backward()
        adam_d.step()
        g.zero_grad()
        loss_g = criterion(d(fakes), ones)
        loss_g.backward()
        adam_g.step()
        losses.append([loss_d.item(), loss_g.item()])
    return torch.from_numpy(trainer.read()[:, :2]).double(), torch.tensor(losses, dtype=torch.float64), pairs


def of_the_tutorial(digits: ImageSet) -> Trainer:
    """Latent dimension and Adam of the tutorial; batches of 12, since a step in float64 takes long."""
    adam = OptimizerConfig(learning_rate=2e-4, beta1=0.5, beta2=0.999)
    return Trainer(TrainingConfig(100, 16, 16, 32, 1, 12, generator=adam, discriminator=adam), digits.load(), CPU)


def test_first_50_steps_equal_a_plain_dcgan(digits: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, source = (in_double(of_the_tutorial(digits), monkeypatch) for _ in range(2))
    ours, plain, pairs = train_beside_a_plain_dcgan(trainer, source, 50)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-4)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_first_50_steps_of_the_tutorials_classes_equal_its_loop(
    digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are imported by path, in the layout of the tutorial, with the adapter that the docs show."""
    users = Path(__file__).parents[1] / "users"
    code = write(find(ImportPath.parse("tutorial:G"), users, "model.generator.network"), tmp_path)
    networks = NetworkConfig(generator_network="tutorial:G", discriminator_network="tutorial:D")
    adam = OptimizerConfig(learning_rate=2e-4, beta1=0.5, beta2=0.999)
    config = TrainingConfig(16, 4, 4, 16, 1, 12, generator=adam, discriminator=adam, networks=networks, code=code)
    pixels = digits.load()[:, :, ::2, ::2]
    trainer, source = (in_double(Trainer(config, pixels, CPU), monkeypatch) for _ in range(2))
    g, d = (code.load(ImportPath.parse(f"tutorial:{name}"))().double() for name in "GD")
    g.load_state_dict(trainer.generator.network.state_dict())
    d.load_state_dict(trainer.discriminator.network.state_dict())
    adams = [torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in (g, d)]
    step, losses = code.load(ImportPath.parse("tutorial:tutorial_step")), []
    for _ in range(50):
        trainer.train_step()
        losses.append(step(g, d, *adams, source.batches.next()[0], source.noise()[:, :, None, None]))
    torch.testing.assert_close(
        torch.from_numpy(trainer.read()[:, :2]).double(), torch.tensor(losses).double(), rtol=0, atol=1e-4
    )
    for ours, plain in ((trainer.generator, g), (trainer.discriminator, d)):
        torch.testing.assert_close(dict(ours.network.state_dict()), dict(plain.state_dict()), rtol=0, atol=1e-4)


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


# Losses and options beside a step written plainly.


@pytest.fixture
def labelled(make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]) -> MakeTrainer:
    """A tiny trainer on noise, whose images have classes where it asks for them."""

    def make(**changes: Any) -> Trainer:
        settings = make_settings(**changes)
        labels = np.arange(20) % 7 % len(ABC)
        pixels = make_pixels(20, settings.image_size, settings.channels)
        return Trainer(settings, pixels, CPU, labels if settings.networks.classes else None)

    return make


def plain_losses(name: str, real: Tensor, fake: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Losses of D and of G on the same fakes, and the recorded values of real and of fake outputs."""
    bce, ones, zeros = F.binary_cross_entropy_with_logits, torch.ones_like(real), torch.zeros_like(real)
    match name:
        case "non_saturating" | "saturating":
            of_d = bce(real, ones - smoothing) + bce(fake, zeros)
            of_g = bce(fake, ones) if name == "non_saturating" else -bce(fake, zeros)
            return of_d, of_g, real.sigmoid().mean(), fake.sigmoid().mean()
        case "least_squares":
            of_d = (F.mse_loss(real, ones) + F.mse_loss(fake, -ones)) / 2
            of_g = F.mse_loss(fake, ones) / 2
        case "hinge":
            of_d, of_g = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(), -fake.mean()
        case "relativistic":
            of_d, of_g = bce(real - fake, ones), bce(fake - real, ones)
            return of_d, of_g, real.mean(), fake.mean()
        case _:
            return fake.mean() - real.mean(), -fake.mean(), real.mean(), fake.mean()
    d_real, d_fake = ((x / 2 + 0.5).clamp(0, 1).mean() for x in (real, fake))
    return of_d, of_g, d_real, d_fake


def plain_training(trainer: Trainer, source: Trainer, steps: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Each step's metrics, and the states of G, D and the average, by autograd's and torch's own means; source gives
    batches, noise and labels."""
    s = trainer.config
    g, d = copy.deepcopy(trainer.generator), copy.deepcopy(trainer.discriminator)
    average = {name: tensor.clone() for name, tensor in g.state_dict().items()}
    adam_g, adam_d = (
        torch.optim.Adam(network.parameters(), lr=of.learning_rate, betas=(of.beta1, of.beta2))
        for network, of in ((g, s.generator), (d, s.discriminator))
    )
    smoothing = s.loss.options.get("label_smoothing", 0.0)
    share, noise = generator(s.seed, "penalty_rng"), generator(s.seed, "instance_noise_rng")
    rows = []

    def norm(network: Network) -> Tensor:
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).norm()

    for step in range(steps):
        until = s.loss.instance_noise_until
        deviation = s.loss.instance_noise * (max(0, until - step) / until if until else 1)

        def seen(images: Tensor, deviation: float = deviation) -> Tensor:
            return images + deviation * torch.randn(images.shape, generator=noise) if deviation else images

        for _ in range(s.discriminator.updates):
            images, asked = source.batches.next()
            fakes = g(source.noise(), asked)
            real, shown = seen(images), seen(fakes.detach())
            both = torch.cat([asked, asked]) if asked is not None else None
            real_outputs, fake_outputs = d(torch.cat([real, shown]), both, groups=2).chunk(2)
            loss_d, _, d_real, d_fake = plain_losses(s.loss.name, real_outputs, fake_outputs, smoothing)
            if isinstance(trainer.loss, WassersteinGP):
                between = torch.rand(s.batch_size, generator=share)
                loss_d = loss_d + trainer.loss.gradient_penalty * gradient_penalty(
                    partial(d, labels=asked), real, shown, between
                )
            adam_d.zero_grad()
            penalised = loss_d
            for weight, points in ((s.regularizer.r1, real), (s.regularizer.r2, shown)):
                if weight and step % s.regularizer.interval == 0:
                    points = points.detach().requires_grad_()
                    (slopes,) = torch.autograd.grad(d(points, asked).sum(), points, create_graph=True)
                    lengths = slopes.flatten(1).square().sum(1)
                    penalised = penalised + s.regularizer.interval * weight / 2 * lengths.mean()
            penalised.backward()
            adam_d.step()
            if isinstance(trainer.loss, WassersteinClip):
                for p in d.parameters():
                    p.data.clamp_(-trainer.loss.clip, trainer.loss.clip)
            norm_d = norm(d)
        for again in range(s.generator.updates):
            if again:
                asked, z = source.labels(), source.noise()
                fakes = g(z, asked)
            outputs = d(seen(fakes), asked)
            with torch.no_grad():
                beside = d(seen(images), asked) if s.loss.name == "relativistic" else outputs
            loss_g = plain_losses(s.loss.name, beside, outputs, 0)[1]
            adam_g.zero_grad()
            loss_g.backward()
            adam_g.step()
            norm_g = norm(g)
            for name, tensor in g.state_dict().items():
                learned = name in dict(g.named_parameters())
                decay = min(s.ema, (1 + step) / (10 + step))
                average[name] = decay * average[name] + (1 - decay) * tensor if learned else tensor.clone()
        rows.append(torch.stack([loss_d, loss_g, d_real, d_fake, norm_d, norm_g]).detach())
    return torch.stack(rows), [g.state_dict(), d.state_dict(), average]


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_a_step_is_what_it_would_be_written_plainly(
    labelled: MakeTrainer, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, source = (in_double(labelled(**changes), monkeypatch) for _ in range(2))
    rows, (g, d, average) = plain_training(trainer, source, 5)
    for _ in range(5):
        trainer.train_step()
    torch.testing.assert_close(torch.from_numpy(trainer.read()), rows)
    for network, plain in ((trainer.generator, g), (trainer.discriminator, d), (trainer.average, average)):
        if network is not None:
            torch.testing.assert_close(dict(network.state_dict()), dict(plain), rtol=1e-8, atol=1e-8)
    assert trainer.metrics == (CRITIC_TRAINING if trainer.config.loss.critic else TRAINING)


class RelativisticAverage(Loss):
    """The relativistic average loss (Jolicoeur-Martineau 2019, eqs. 10 and 11, G's real term included)."""

    name = "relativistic_average"

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return self.discriminator(fake, real())

    def probability(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()


def test_a_loss_of_g_may_compare_fakes_with_the_real_images_that_d_was_updated_on(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "relativistic_average", RelativisticAverage)
    config = LossConfig("relativistic_average")
    trainer, source = (in_double(make_trainer(loss=config), monkeypatch) for _ in range(2))
    loss, (real, asked), fakes = RelativisticAverage(), source.batches.next(), source.generator(source.noise())
    s = source.config.discriminator
    adam = torch.optim.Adam(source.discriminator.parameters(), lr=s.learning_rate, betas=(s.beta1, s.beta2))
    of_d = loss.discriminator(*source.discriminator(torch.cat([real, fakes.detach()]), asked, groups=2).chunk(2))
    of_d.backward()
    adam.step()
    of_fakes = source.discriminator(fakes)
    of_g = loss.generator(of_fakes, lambda: source.discriminator(real).detach())
    norm = torch.cat([g.flatten() for g in torch.autograd.grad(of_g, list(source.generator.parameters()))]).norm()
    trainer.train_step()
    (row,) = torch.from_numpy(trainer.read())
    torch.testing.assert_close(row[[0, 1, 5]], torch.stack([of_d, of_g, norm]).detach())


def test_a_clipped_critics_weights_lie_within_the_clip_after_every_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(loss=LossConfig("wasserstein_clip", {"clip": 0.02}), **MORE_UPDATES)
    for _ in range(4):
        trainer.train_step()
        largest = max(float(p.detach().abs().max()) for p in trainer.discriminator.parameters())
        assert largest == pytest.approx(0.02)
    assert max(float(p.detach().abs().max()) for p in trainer.generator.parameters()) > 0.1


def test_instance_noise_is_on_all_that_d_sees_until_it_has_fallen(make_trainer: MakeTrainer) -> None:
    noisy, clean = make_trainer(loss=LossConfig(instance_noise=0.5, instance_noise_until=2)), make_trainer()
    with_noise: list[Tensor] = []
    without: list[Tensor] = []
    for trainer, seen in ((noisy, with_noise), (clean, without)):
        trainer.discriminator.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0].detach()))
    deviations = []
    for _ in range(4):
        of_its_own = {"instance_noise_rng": noisy.state()["instance_noise_rng"]}
        noisy.load_state({**clean.state(), **of_its_own}, clean.step, clean.batches.position)
        noisy.train_step()
        clean.train_step()
        real, fakes = (with_noise[-2] - without[-2]).chunk(2)  # what D learns from; the last is what G learns from
        deviations.append([float(real.std()), float(fakes.std())])
    np.testing.assert_allclose(deviations, [[0.5] * 2, [0.25] * 2, [0, 0], [0, 0]], rtol=0.05, atol=1e-6)


# The average of G over time.


def test_without_an_average_samples_come_from_g(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    assert trainer.sampler is trainer.generator
    assert not any(name.startswith("average.") for name in trainer.state())


def test_samples_come_from_the_average(
    tmp_path: Path,
    make_settings: Callable[..., TrainingConfig],
    make_pixels: Callable[..., Pixels],
    make_trainer: MakeTrainer,
) -> None:
    settings = make_settings(ema=0.5)
    trainer = make_trainer(ema=0.5)
    for _ in range(3):
        trainer.train_step()
    folder = TrialFolder(tmp_path / "t")
    run = Run(folder, RunConfig(3, 3, 3, 3, 1), partial(Trainer, settings, make_pixels(), CPU))
    run.advance(60)
    run.close()
    averaged, plain = (sample(network, trainer.fixed_noise) for network in (trainer.sampler, trainer.generator))
    assert not np.array_equal(averaged, plain)
    assert folder.sample(3).read_bytes() == grid_png(averaged)
    restored = generator_of(folder.checkpoint(3))
    np.testing.assert_array_equal(sample(restored.generator, trainer.fixed_noise), averaged)


def test_the_average_of_a_short_run_has_left_the_untrained_weights(make_trainer: MakeTrainer) -> None:
    """At a constant .999 it would still be 96 % of them after 40 steps."""
    trainer = make_trainer(ema=0.999)
    began = trainer.generator.weights[0].detach().clone()
    for _ in range(40):
        trainer.train_step()
    assert trainer.average is not None
    behind = (trainer.average.weights[0] - trainer.generator.weights[0]).norm()
    assert behind < 0.5 * (trainer.generator.weights[0] - began).norm()


def test_an_average_changes_nothing_of_training(make_trainer: MakeTrainer) -> None:
    averaged, plain = make_trainer(ema=0.9), make_trainer()
    for _ in range(3):
        averaged.train_step()
        plain.train_step()
    ours, theirs = averaged.state(), plain.state()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_restored_trainer_goes_on_bit_for_bit(labelled: MakeTrainer, changes: dict[str, Any]) -> None:
    whole, half, rest = (labelled(**changes) for _ in range(3))
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
    losses = trainer.measure().read().validation
    assert sorted(losses) == ["val_loss_d", "val_loss_g"]
    assert all(0 < loss < 10 for loss in losses.values())
    assert trainer.measure().read().validation == losses
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_state(trainer, untouched)
    assert make_trainer().measure().read().validation == {}


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
    before = trainer.measure().read()
    assert before.rows.shape == (0, len(TRAINING))
    assert before.steps_per_s != before.steps_per_s
    trainer.train_step()
    measured = trainer.measure()
    trainer.clear()
    trainer.train_step()
    assert measured.read().rows.shape == (1, len(TRAINING))
    assert measured.read().steps_per_s > 0
    assert trainer.read().shape == (1, len(TRAINING))


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
    "least_squares": [0.9295648, 0.4185159, 0.5912967, 0.5442229, 4.537507, 1.36015],
    "a small penalty": [0.4948701, -0.002520388, 0.003965107, 0.001535535, 0.05997838, 0.04166796],
    "clipping": [-0.002141696, -0.001156461, 0.003010789, 0.0008690935, 0.1344222, 0.01352733],
    "instance noise": [1.313297, 0.6757543, 0.5399116, 0.5012583, 2.132183, 0.3402612],
    "spectral norm": [1.156408, 0.8526468, 0.6073274, 0.4676099, 16.49409, 20.77213],
    "two streams": [1.122338, 1.093407, 0.5326995, 0.3865044, 15.14496, 0.6226497],
}


@pytest.mark.parametrize("variant", GOLDEN)
def test_the_same_seed_still_gives_the_same_numbers(labelled: MakeTrainer, variant: str) -> None:
    trainer = labelled(**VARIANTS[variant])
    for _ in range(3):
        trainer.train_step()
    assert trainer.read()[-1].tolist() == pytest.approx(GOLDEN[variant], rel=1e-4, abs=1e-6), (
        f"the same configuration and seed give other numbers than before: raise TRAINING_VERSION in"
        f" gansweep/gan/version.py (it is {TRAINING_VERSION}) and update GOLDEN"
    )


@pytest.mark.parametrize("loss", ["non_saturating", "hinge", "wasserstein_clip"])
def test_bfloat16_is_that_of_the_passes_and_of_nothing_else(make_trainer: MakeTrainer, loss: str) -> None:
    exact = make_trainer(loss=LossConfig(name=loss), networks=NetworkConfig(norm="layer"))
    half = make_trainer(loss=LossConfig(name=loss), networks=NetworkConfig(norm="layer"), precision="bfloat16")
    assert half._make(None).dtype == torch.bfloat16
    assert exact._make(None).dtype == torch.float32
    seen: list[torch.dtype] = []
    original = half.discriminator.forward

    def forward(*arguments: Any, **keywords: Any) -> Tensor:
        outputs: Tensor = original(*arguments, **keywords)
        seen.append(outputs.dtype)
        return outputs

    half.discriminator.forward = forward  # type: ignore[method-assign]
    for trainer in (exact, half):
        trainer.train_step()
    assert seen == [torch.bfloat16] * 2
    tensors = {name: t for name, t in half.state().items() if t.is_floating_point()}
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    difference = np.abs(half.read() - exact.read())
    assert 0 < difference[:, :4].max() < 0.01  # losses and outputs, of about 1: a bfloat16 has 8 bits


def test_the_largest_singular_value_is_not_rounded_to_bfloat16() -> None:
    network = Network(discriminator_design(4, 16, 1, NetworkConfig(spectral_norm=True)))
    exact = list(network.eval().effective_weights())
    with torch.autocast("cpu", torch.bfloat16):
        half = list(network.effective_weights())
    assert all(torch.equal(one, other) for one, other in zip(exact, half, strict=True))
