"""D grows on the way: what was there goes on as it was, what is new starts fresh, and a kill makes no difference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gansweep.config import DiffAugmentConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig, TrainingConfig
from gansweep.gan import checkpoint
from gansweep.gan.data import Pixels
from gansweep.gan.run import Run
from gansweep.gan.training import Trainer
from gansweep.health.metrics import MACHINE
from gansweep.losses.regularizer import Regularizer
from gansweep.networks.registry import discriminator_design
from gansweep.records import journal
from gansweep.records.layout import TrialFolder

AT = 3
ABC = ("a", "b", "c")
LABELS = np.arange(20) % 7 % len(ABC)
MakeTrainer = Callable[..., Trainer]


def growing(architecture: str = "dcgan", **changes: Any) -> NetworkConfig:
    return NetworkConfig(architecture, **{"growth_at": AT, **changes})


VARIANTS: dict[str, dict[str, Any]] = {
    "a block": {"networks": growing()},
    "a head": {"networks": growing(growth_adds="head")},
    "three blocks": {"networks": growing(), "image_size": 32},
    "depth 2": {"networks": growing(discriminator_depth=2)},
    "spectral norm": {"networks": growing(spectral_norm=True)},
    "separable, layer norm": {"networks": growing(discriminator_separable=True, norm="layer", discriminator_depth=2)},
    "a head with a bias": {"networks": growing("projected")},
    "such a head alone": {"networks": growing("projected", growth_adds="head")},
    "mnist28": {"networks": growing("dcgan_mnist28"), "image_size": 28},
    "two streams": {"networks": growing(conditioning="two_stream", classes=ABC)},
    "penalty": {"networks": growing(norm="none"), "loss": LossConfig("wasserstein_gp")},
    "lazy penalties, adaptive augmentation": {
        "networks": growing(norm="none"),
        "regularizer": Regularizer(r1=1.0, interval=2),
        "augment": DiffAugmentConfig(("translation", "color"), adaptive=True, ramp_images=100),
    },
    "clipping, noise, more updates": {
        "networks": growing(),
        "loss": LossConfig("wasserstein_clip", {"clip": 0.05}, instance_noise=0.1),
        "discriminator": OptimizerConfig(2e-3, 0.5, 0.999, 2),
        "ema": 0.5,
    },
}
EACH = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture
def grown_after(make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]) -> MakeTrainer:
    """A tiny trainer after `steps` steps; keywords change its settings."""

    def make(steps: int = 0, **changes: Any) -> Trainer:
        settings = make_settings(**changes)
        labels = LABELS if settings.networks.classes else None
        trainer = Trainer(settings, make_pixels(20, settings.image_size), torch.device("cpu"), labels)
        for _ in range(steps):
            trainer.train_step()
        return trainer

    return make


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def moments(trainer: Trainer) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Adam's state by the names of D's parameters."""
    adam = trainer.adam_d
    state = zip(adam.means, adam.squares, map(float, adam.steps), strict=True)
    names = (name for name, _ in trainer.discriminator.named_parameters())
    return {name: (mean.clone(), square.clone(), step) for name, (mean, square, step) in zip(names, state, strict=True)}


@EACH
def test_d_grows_after_the_given_step_and_not_before(grown_after: MakeTrainer, changes: dict[str, Any]) -> None:
    trainer = grown_after(**changes)
    s, c = trainer.config, trainer.config.networks
    before, after = (discriminator_design(s.discriminator_maps, s.image_size, 1, c, grown=g) for g in (False, True))
    found = [trainer.discriminator.layout]
    for _ in range(AT + 2):
        trainer.train_step()
        found.append(trainer.discriminator.layout)
    assert found == [before] * (AT + 1) + [after] * 2
    assert (before == after) == (c.growth_adds == "head")


@EACH
def test_what_stays_is_carried_over_and_what_is_new_begins_anew(
    grown_after: MakeTrainer, changes: dict[str, Any]
) -> None:
    trainer, depth = grown_after(AT, **changes), changes["networks"].discriminator_depth
    small, layout = copied(trainer.discriminator.state_dict()), trainer.discriminator.layout
    others, adams = copied(trainer.state()), moments(trainer)
    randomness = torch.get_rng_state()
    trainer._grow()
    assert torch.equal(torch.get_rng_state(), randomness)
    grown, grown_adams = trainer.discriminator.state_dict(), moments(trainer)
    head = {f"weights.{sum(len(b.weights) for b in layout.blocks) - 1}"}  # type: ignore[misc]
    head |= {"u" + name.removeprefix("weights.") for name in head}
    if layout.blocks[-1].bias:
        head.add(f"biases.{sum(b.bias for b in layout.blocks) - 1}")
    kept = small.keys() - head
    assert kept
    for name in kept:
        assert torch.equal(grown[name], small[name]), name
    for name, (mean, square, step) in grown_adams.items():
        if name in kept:
            assert torch.equal(mean, adams[name][0]), name
            assert torch.equal(square, adams[name][1]), name
            assert (step, bool(mean.any())) == (AT * trainer.config.discriminator.updates, True)
        else:
            assert not mean.any()
            assert not square.any()
            assert step == 0
            assert name not in small or not torch.equal(grown[name], small[name]), f"{name}: that of the first head"
    new_blocks = 0 if changes["networks"].growth_adds == "head" else depth
    assert len(trainer.discriminator.layout.blocks) == len(layout.blocks) + new_blocks
    now = trainer.state()
    for name, tensor in others.items():
        if not name.startswith(("discriminator.", "adam_d.")):
            assert torch.equal(now[name], tensor), name


@EACH
def test_all_of_it_is_trained_afterwards(grown_after: MakeTrainer, changes: dict[str, Any]) -> None:
    at_growth, later = grown_after(AT, **changes), grown_after(AT + 2, **changes)
    at_growth._grow()
    before, updates = moments(at_growth), later.config.discriminator.updates
    grown = dict(at_growth.discriminator.named_parameters())
    for name, parameter in later.discriminator.named_parameters():
        mean, _, step = moments(later)[name]
        assert mean.any(), name
        assert step == before[name][2] + 2 * updates
        assert not torch.equal(parameter, grown[name]), name
    assert {float(step) for step in later.adam_g.steps} == {AT + 2}


@EACH
def test_the_same_seed_gives_the_same(grown_after: MakeTrainer, changes: dict[str, Any]) -> None:
    torch.manual_seed(1)
    one = grown_after(AT + 2, **changes)
    torch.manual_seed(2)
    other, different = grown_after(AT + 2, **changes), grown_after(AT + 2, **changes, seed=1)
    theirs = other.state()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.state().items())
    assert not torch.equal(one.discriminator.weights[-1], different.discriminator.weights[-1])


def test_the_new_head_hangs_on_the_seed_alone_and_is_no_copy_of_the_first(grown_after: MakeTrainer) -> None:
    networks = growing(growth_adds="head")
    early, late = grown_after(1, networks=networks), grown_after(AT, networks=networks)
    for trainer in (early, late):
        trainer._grow()
    assert torch.equal(early.discriminator.weights[-1], late.discriminator.weights[-1])
    assert not torch.equal(early.discriminator.weights[-1], grown_after(networks=networks).discriminator.weights[-1])
    assert float(late.discriminator.weights[-1].detach().std()) == pytest.approx(0.02, rel=0.3)


def test_until_it_grows_g_is_trained_as_against_the_smaller_d(grown_after: MakeTrainer) -> None:
    never, later = grown_after(AT, networks=growing(growth_at=99)), grown_after(AT, networks=growing())
    for one, other in zip(never.state().values(), later.state().values(), strict=True):
        assert torch.equal(one, other)


@EACH
def test_a_trainer_restored_after_any_step_goes_on_bit_for_bit(
    grown_after: MakeTrainer, changes: dict[str, Any]
) -> None:
    whole = grown_after(**changes)
    states: dict[int, tuple[dict[str, Tensor], int, Any]] = {}
    for _ in range(AT + 3):
        whole.train_step()
        states[whole.step] = copied(whole.state()), whole.batches.position, whole.discriminator.layout
    expected = states[AT + 3][0]
    for at in range(1, AT + 3):
        rest = grown_after(**changes)
        state, position, layout = states[at]
        rest.load_state(state, at, position)
        assert rest.discriminator.layout == layout
        for _ in range(AT + 3 - at):
            rest.train_step()
        assert rest.state().keys() == expected.keys()
        for name, tensor in rest.state().items():
            assert torch.equal(tensor, expected[name]), (at, name)


CONFIG = RunConfig(steps=7, metrics=2, samples=3, checkpoints=1, keep=2)


@pytest.fixture
def opened(make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]) -> Callable[..., Any]:
    """A run in a folder, closed at the end of its block; keywords change settings."""

    @contextmanager
    def open_run(folder: TrialFolder, config: RunConfig = CONFIG, **changes: Any) -> Iterator[Run]:
        settings = make_settings(**changes)
        labels = LABELS if settings.networks.classes else None
        pixels = make_pixels(20, settings.image_size)
        run = Run(folder, config, partial(Trainer, settings, pixels, torch.device("cpu"), labels))
        try:
            yield run
        finally:
            run.close()

    return open_run


def kept(folder: TrialFolder) -> dict[str, Any]:
    """Everything that must not depend on how often a run was interrupted."""
    tensors, meta = checkpoint.load(folder.all_checkpoints()[-1])
    records = [(r.step, {k: v for k, v in r.values.items() if k not in MACHINE}) for r in journal.read(folder.journal)]
    return {
        "meta": meta,
        "tensors": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        "journal": records,
        "samples": {path.name: path.read_bytes() for path in folder.all_samples()},
    }


RUN = ("a block", "a head with a bias", "depth 2", "spectral norm", "two streams")
# Each variant with each number of steps between checkpoints, every second one asked to end and the others killed.
INTERRUPTED = [(*pair, number % 2 == 0) for number, pair in enumerate(itertools.product(RUN, (1, 2, 3)))]


@pytest.mark.parametrize(("variant", "cadence", "asked"), INTERRUPTED)
def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, opened: Callable[..., Any], variant: str, cadence: int, asked: bool
) -> None:
    config = RunConfig(steps=7, metrics=2, samples=3, checkpoints=cadence, keep=2)
    whole, folder = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "t")
    with opened(whole, config, **VARIANTS[variant]) as run:
        run.advance(60)
    for steps in (AT, 1, 1):  # before the growth, in its first step, after it
        with opened(folder, config, **VARIANTS[variant]) as run:
            for _ in range(steps):
                run.advance(0)
            if asked:
                run.suspend("asked")
    with opened(folder, config, **VARIANTS[variant]) as run:
        ended = run.advance(60)
    assert (ended.kind, ended.step) == ("completed", 7)
    assert kept(folder) == kept(whole)


def test_a_checkpoint_at_the_growth_holds_the_smaller_d(tmp_path: Path, opened: Callable[..., Any]) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder, RunConfig(AT + 1, 1, 9, 1, 9), **VARIANTS["a block"]) as run:
        run.advance(60)
    sizes = [
        sum(name.startswith("discriminator.weights.") for name in checkpoint.load(folder.checkpoint(step))[0])
        for step in range(1, AT + 2)
    ]
    assert sizes == [2] * AT + [3]
