"""An optuna sweep with ASHA's rungs, killed half-way and run again, ends as an undisturbed one does."""

from __future__ import annotations

import signal
import subprocess
from collections import deque
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from facts import assert_states
from service import Service, assert_equal_weights, histories

from gansweep.engine.board import Board
from gansweep.engine.events import Events
from gansweep.engine.search import Search
from gansweep.engine.trainable import GanTrial
from gansweep.planning.packing import ON_CPU
from gansweep.planning.plan import make_plan, write_trials
from gansweep.records import outcome
from gansweep.records.layout import Home, SweepFolder
from gansweep.records.outcome import Outcome
from gansweep.sweepfile.loader import load

# One at a time: which trial comes to a rung first is then no matter of speed.
SWEEP = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: 4}}
training: {{steps: 60, batch_size: 16}}
evaluation: {{per_run: 3, samples: 40}}
stop: none
cadence: {{metrics: 5, samples: 60, checkpoints: 10}}
search:
  method: optuna
  trials: 14
  parallel: 2
  over:
    training.learning_rate: {{log_uniform: [1e-6, 1e-1]}}
    training.beta1: {{uniform: [0.0, 0.9]}}
scheduler: {{method: asha, grace: 0.2, reduction: 3}}
resources: {{max_concurrent: 1}}
"""
ENOUGH = 5  # trials that have ended before the kill


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


def train_in_turn(home: Home, file: Path) -> SweepFolder:
    """Train a sweep with an adaptive search and rungs in this process, without Ray, one trial after the other."""
    plan = make_plan(load(file), home)
    write_trials(plan, "gansweep run", ())
    search = Search(plan, home)
    search.suggest()
    events = Events(search, ON_CPU, Board.of(search.plan, 1, 0.0), Mock(), None)
    waiting = deque(events.jobs())
    while waiting:
        job = waiting.popleft()
        trial = GanTrial(job)
        while not (result := trial.step())["done"]:
            events.stepped(job["id"], result["step"])
        waiting.extend(events.ended(job))
    return plan.folder


@pytest.fixture
def calm_and_killed(service: Service) -> tuple[SweepFolder, SweepFolder]:
    """The sweep uninterrupted, and the same sweep on Ray, killed when ENOUGH trials have ended, and run again."""
    files: dict[str, Path] = {}
    for name in ("calm", "killed"):
        files[name] = service.root / f"{name}.yaml"
        files[name].write_text(SWEEP.format(name=name))
    victim = service.start("run", files["killed"])
    service.wait_for(lambda: len(ended(service.folder("killed"))) >= ENOUGH, 120)
    assert victim.poll() is None
    kill(victim)
    left = len(ended(service.folder("killed")))
    service.call("run", files["killed"])
    calm = train_in_turn(service.home, files["calm"])
    assert ENOUGH <= left < len(ended(calm)), "the kill came too late: nothing was left to do"
    return calm, service.folder("killed")


@pytest.mark.slow
def test_an_optuna_sweep_with_rungs(calm_and_killed: tuple[SweepFolder, SweepFolder], service: Service) -> None:
    calm, killed = calm_and_killed
    assert [trial.id for trial in killed.planned()] == [trial.id for trial in calm.planned()]
    ends = [[(found.kind, found.step, found.rule) for found in ended(folder)] for folder in (calm, killed)]
    assert ends[0] == ends[1]
    assert histories(killed) == histories(calm)
    assert_equal_weights(killed, calm)

    assert len(calm.planned()) == 14, "more than those that are drawn at random"
    assert len(calm.suggestions.read_text().splitlines()) == 14
    assert killed.suggestions.read_bytes() == calm.suggestions.read_bytes()

    first, *others = ended(calm)
    assert (first.kind, first.step) == ("completed", 60), "the first to come goes on"
    stopped = [found for found in others if found.kind == "stopped"]
    assert stopped
    assert {found.step for found in stopped} <= {20, 40}, "the evaluations after a fifth and three fifths"
    assert {(found.reason, found.verdicts) for found in stopped} == {("asha", ())}
    _, err = service.ask("run", service.root / "killed.yaml")
    assert_states(err, "killed: nothing to train", "14 trials")
