"""An ASHA and an optuna sweep, each killed half-way and run again, end as an undisturbed one does."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from facts import assert_states
from service import Service, assert_equal_weights, histories

from gansweep.records import outcome
from gansweep.records.layout import SweepFolder
from gansweep.records.outcome import Outcome

HEAD = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: 4}}
cadence: {{metrics: 5, samples: 300, checkpoints: 10}}
"""
# One at a time: which trial comes to a rung first is then no matter of speed.
ASHA = """
training: {{steps: 240, batch_size: 16}}
evaluation: {{per_run: 3, samples: 40}}
stop: none
search:
  method: grid
  over:
    training.learning_rate: [3e-4, 1e-4, 1e-3, 1e-5, 3e-3, 1e-6, 1e-2, 3e-5]
scheduler: {{method: asha, grace: 0.2, reduction: 3}}
resources: {{max_concurrent: 1}}
"""
OPTUNA = """
training: {{steps: 60, batch_size: 16}}
evaluation: {{per_run: 0}}
search:
  method: optuna
  trials: 16
  parallel: 2
  objective: {{metric: loss_g, mode: min}}
  over:
    training.learning_rate: {{log_uniform: [1e-5, 1e-1]}}
    training.beta1: {{uniform: [0.0, 0.9]}}
"""


def ended(folder: SweepFolder) -> list[Outcome]:
    """Outcomes of the planned trials, in order."""
    return [found for trial in folder.planned() if (found := outcome.read(trial))]


def kill(process: subprocess.Popen[str]) -> None:
    """The driver and everything it began, at once."""
    victims = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    process.communicate()


def run_with_and_without_a_kill(service: Service, text: str, enough: int) -> tuple[SweepFolder, SweepFolder]:
    """The sweep uninterrupted, and the same sweep killed when `enough` trials have ended, and run again."""
    files: dict[str, Path] = {}
    for name in ("calm", "killed"):
        files[name] = service.root / f"{name}.yaml"
        files[name].write_text((HEAD + text).format(name=name))
    calm, victim = (service.start("run", file) for file in files.values())
    service.wait_for(lambda: len(ended(service.folder("killed"))) >= enough, 120)
    assert victim.poll() is None
    kill(victim)
    left = len(ended(service.folder("killed")))
    service.call("run", files["killed"])
    _, err = calm.communicate(timeout=120)
    assert calm.returncode == 0, err
    whole = ended(service.folder("calm"))
    assert enough <= left < len(whole), "the kill came too late: nothing was left to do"
    return service.folder("calm"), service.folder("killed")


def assert_the_same(calm: SweepFolder, killed: SweepFolder) -> None:
    assert [trial.id for trial in killed.planned()] == [trial.id for trial in calm.planned()]
    ends = [[(found.kind, found.step, found.rule) for found in ended(folder)] for folder in (calm, killed)]
    assert ends[0] == ends[1]
    assert histories(killed) == histories(calm)
    assert_equal_weights(killed, calm)


@pytest.mark.slow
def test_an_asha_sweep(service: Service) -> None:
    calm, killed = run_with_and_without_a_kill(service, ASHA, 3)
    assert_the_same(calm, killed)
    first, *others = ended(calm)
    assert (first.kind, first.step) == ("completed", 240), "the first to come goes on"
    stopped = [found for found in others if found.kind == "stopped"]
    assert stopped
    assert {found.step for found in stopped} <= {80, 160}, "the evaluations after a fifth and three fifths"
    assert {(found.reason, found.verdicts) for found in stopped} == {("asha", ())}
    _, err = service.call("run", service.root / "killed.yaml")
    assert_states(err, "killed: nothing to train", "8 trials")


@pytest.mark.slow
def test_an_optuna_sweep(service: Service) -> None:
    calm, killed = run_with_and_without_a_kill(service, OPTUNA, 8)
    assert_the_same(calm, killed)
    assert len(calm.planned()) == 16
    assert len(calm.suggestions.read_text().splitlines()) == 16
    assert killed.suggestions.read_bytes() == calm.suggestions.read_bytes()
