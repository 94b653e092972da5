"""Losses are known by the registry alone; one that is registered from outside is complete."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gansweep.losses.loss import Loss, option
from gansweep.losses.margins import Hinge
from gansweep.losses.registry import LOSSES, create, is_critic, options, register, unit
from gansweep.losses.wasserstein import WassersteinClip

OUTSIDE = r"""
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from gansweep.losses.cross_entropy import NonSaturating
from gansweep.losses.loss import option
from gansweep.losses.registry import register


@register
@dataclass(frozen=True)
class Outside(NonSaturating):
    name = "outside"
    penalises = "images"
    outside_weight: float = option(1.0, "weight of the R1 penalty", gt=0, le=100)

    def penalty(self, discriminator, real, fake, rng):
        import torch

        x = real.detach().requires_grad_()
        (gradients,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        return self.outside_weight / 2 * gradients.square().sum((1, 2, 3)).mean()


from gansweep.errors import SweepFileError
from gansweep.sweepfile.loader import sweep_of
from gansweep.sweepfile.schema import Sweep
from gansweep.sweepfile.template import template


def load(training, model="discriminator: {norm: layer}, latent_dim: 8, feature_maps: 2"):
    try:
        return sweep_of(f"name: s\ndataset: {{image_size: 16}}\nmodel: {{{model}}}\ntraining: {{{training}}}", "s.yaml")
    except SweepFileError as error:
        print(*error.problems, sep="\n")


load("steps: 1, loss: hinged")
load("steps: 1, loss: outside, outside_weight: 101")
load("steps: 1, outside_weight: 5")
load("steps: 1, loss: outside", "latent_dim: 8")
print([line.strip() for line in template().splitlines() if "outside_weight" in line])
print("outside" in Sweep.model_json_schema()["$defs"]["Training"]["properties"]["loss"]["anyOf"][0]["enum"])
sweep = load("steps: 1, loss: outside, outside_weight: 5, batch_size: 4")
print("torch" in sys.modules)

import torch
from gansweep.config import LossConfig
from gansweep.gan.training import Trainer
from gansweep.records.layout import Home
from gansweep.planning.plan import make_plan

(planned,) = make_plan(sweep, Home(Path(sys.argv[1]))).trials
trainer = Trainer.on(planned.images, planned.training, torch.device("cpu"))
print(trainer.loss, "penalty_rng" in trainer.state())
losses = []
for weight in (1.0, 2.0, 3.0):
    config = replace(planned.training, loss=LossConfig("outside", {"outside_weight": weight}))
    other = Trainer.on(planned.images, config, torch.device("cpu"))
    other.train_step()
    losses.append(float(other.read()[0, 0]))
print(losses[1] > losses[0], round((losses[2] - losses[1]) / (losses[1] - losses[0]), 2))
"""


def test_a_loss_with_a_penalty_and_an_option_from_outside_is_checked_described_and_trained(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, str(tmp_path / "home")], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    names = f"{', '.join(map(repr, LOSSES))} or 'outside'"
    assert done.stdout.splitlines() == [
        f"s.yaml:4:28: training.loss: must be {names}, got 'hinged'; did you mean hinge?",
        "s.yaml:4:53: training.outside_weight: must be at most 100.0, got 101",
        "s.yaml:4:38: training.outside_weight: goes with loss: outside, not non_saturating",
        "s.yaml:3:8: model.discriminator.norm: the gradient penalty treats each image by itself, and batch norm"
        " mixes them; set model.discriminator.norm: layer, or none",
        "['# outside_weight: 1         # outside: weight of the R1 penalty']",
        "True",
        "False",
        "Outside(label_smoothing=0.0, outside_weight=5.0) True",
        "True 1.0",
    ]


def test_a_name_and_an_option_mean_one_thing() -> None:
    class Again(Hinge): ...

    with pytest.raises(ValueError, match="a loss 'hinge' already exists"):
        register(Again)

    @dataclass(frozen=True)
    class OtherClip(Loss):
        name = "other"
        clip: float = option(0.5, "something else", gt=0)

    with pytest.raises(ValueError, match="option 'clip' of 'other' differs from that of 'wasserstein_clip'"):
        register(OtherClip)
    assert "other" not in LOSSES


def test_a_loss_is_created_from_its_name_and_its_options() -> None:
    assert create("wasserstein_clip", {"clip": 0.3}) == WassersteinClip(0.3) != create("wasserstein_clip", {})
    assert {name for name, option in options().items() if "saturating" in option.losses} == {"label_smoothing"}
    with pytest.raises(KeyError):
        create("nothing", {})
    with pytest.raises(TypeError):
        create("hinge", {"clip": 0.3})


def test_what_is_unknown_here_has_a_scale_of_its_own_and_no_critic() -> None:
    assert [unit(name) for name in ("saturating", "wasserstein_gp", "of_another_package")] == [
        "nats", "wasserstein gp", "of another package",
    ]  # fmt: skip
    assert [is_critic(name) for name in ("wasserstein_gp", "hinge", "of_another_package", None)] == [
        True, False, False, False,
    ]  # fmt: skip
