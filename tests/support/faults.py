"""Faults across machines: what goes away in a lab while sweeps run, and what that did to them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tracked
from lab import CORES, Lab, LabHome, ended, wait_for
from service import final_weights, histories

from gansweep.records import outcome
from gansweep.records.layout import SweepFolder, read_json

SWEEP = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: 4}}
training: {{steps: 50, batch_size: 16}}
evaluation: {{per_run: 0}}
stop: none
cadence: {{metrics: 5, samples: 25, checkpoints: 10}}
search: {{method: grid, over: {{training.learning_rate: [1e-4, 1e-3]}}}}
replicates: 2
resources: {{cpus: 1, gpus: 0, max_concurrent: {parallel}}}
"""
TRIALS = 4
AWAY_S = 60  # of MLflow's server, in the fault that says so
LONG_STEP_S = 2.0
NO_RECORDS = "the tracking store does not accept records"


@dataclass
class Sweep:
    """One that a fault hits. said: what its driver has written to stderr when it has ended."""

    name: str
    home: LabHome
    file: Path
    process: subprocess.Popen[str]
    said: str = ""

    @property
    def folder(self) -> SweepFolder:
        return self.home.folder(self.name)


@dataclass
class Round:
    """Sweeps that run side by side and are hit by one fault."""

    lab: Lab
    rng: random.Random
    sweeps: list[Sweep] = field(default_factory=list)
    after_s: float = 0.0

    def begin(self, names: Sequence[str]) -> None:
        parallel = CORES * 2 // len(names)  # of both nodes
        for name in names:
            home = self.lab.home(name)
            home.home.path.mkdir()
            file = self.lab.common / f"{name}.yaml"
            file.write_text(SWEEP.format(name=name, parallel=parallel))
            self.sweeps.append(Sweep(name, home, file, home.run(file)))

    def wait(self, condition: Callable[[SweepFolder], bool], longest_s: float) -> None:
        """Until it holds for all sweeps, and at random so much longer."""
        wait_for(lambda: self._check_alive() and all(condition(sweep.folder) for sweep in self.sweeps), 120)
        self.after_s = round(self.rng.uniform(0, longest_s), 1)
        time.sleep(self.after_s)

    def finish(self) -> None:
        for sweep in self.sweeps:
            sweep.said += ended(sweep.process)[1]

    def _check_alive(self) -> bool:
        for sweep in self.sweeps:
            assert sweep.process.poll() is None, ended(sweep.process)
        return True


@dataclass(frozen=True)
class Fault:
    """strike: hits the sweeps of a round and sees them end; returns of each whether it was hit at all.

    group: sweeps in a round, which share the lab's cores. step_s: how long a step takes, at least.
    """

    title: str
    strike: Callable[[Round], list[bool]]
    group: int
    step_s: float


@dataclass(frozen=True)
class Result:
    """Result of one repetition.

    Attributes:
        fault: Name of the fault.
        after_s: Time of the fault after training began, in seconds.
        sweeps: Number of sweeps that the same fault hit.
        lost: Points missing in MLflow, compared with the uninterrupted sweep (a wrong value counts as lost and
            doubled).
        doubled: Points recorded twice.
    """

    fault: str
    after_s: float
    sweeps: int
    lost: int
    doubled: int
    weights: int
    twice: int


def node_lost(at: Round) -> list[bool]:
    at.wait(lambda folder: _trains_at(folder, at.lab.second.name), 5)
    at.lab.lose_second()
    at.finish()
    at.lab.renew_second()
    return [any(outcome.deaths(trial) for trial in sweep.folder.all_trials()) for sweep in at.sweeps]


def tracking_away(at: Round) -> list[bool]:
    at.wait(_trains, 5)
    at.lab.tracking.kill()
    at.lab.pace(LONG_STEP_S)  # training outlasts the outage, however slowly the server starts
    time.sleep(AWAY_S)
    at.lab.tracking.start()
    at.lab.tracking.wait()
    at.lab.pace(0)
    at.finish()
    return [NO_RECORDS in sweep.said and "`gansweep sync" not in sweep.said for sweep in at.sweeps]


def tracking_never_there(at: Round) -> list[bool]:
    at.wait(lambda folder: folder.plan.exists(), 1)  # it is asked for once, when the command begins
    at.lab.tracking.kill()
    at.finish()
    at.lab.tracking.start()
    at.lab.tracking.wait()
    for process in [s.home.start("sync", s.name, "--tracking-uri", at.lab.tracking.uri) for s in at.sweeps]:
        ended(process)
    uri = at.lab.tracking.uri
    return [f"`gansweep sync {sweep.name} --tracking-uri {uri}` sends the rest" in sweep.said for sweep in at.sweeps]


def database_restarts(at: Round) -> list[bool]:
    at.wait(_trains, 8)
    at.lab.database.stop(crash=at.rng.random() < 0.5)
    time.sleep(at.rng.uniform(6, 10))  # records are sent every five seconds
    at.lab.database.start()
    at.finish()
    return [NO_RECORDS in sweep.said for sweep in at.sweeps]


def store_refuses(at: Round) -> list[bool]:
    at.wait(_trains, 5)
    at.lab.store.close()
    time.sleep(at.rng.uniform(10, 20))
    at.lab.store.open()
    at.finish()
    return ["the storage does not answer" in sweep.said for sweep in at.sweeps]


def driver_dies(at: Round) -> list[bool]:
    at.wait(_trains, 8)
    hit = [sweep.process.poll() is None for sweep in at.sweeps]
    for sweep in at.sweeps:
        os.killpg(sweep.process.pid, signal.SIGKILL)
    for sweep in at.sweeps:
        sweep.process.communicate()
        shutil.rmtree(sweep.home.home.path)
        sweep.home = at.lab.home(f"{sweep.name}-again")
        sweep.process = sweep.home.run(sweep.file)
    at.finish()
    return hit


FAULTS = {
    "node": Fault("a node is lost: its raylet is killed", node_lost, 2, 0.2),
    "driver": Fault("the driver's machine dies, with its home", driver_dies, 4, 0.1),
    "store": Fault("the object store refuses for 10 to 20 s", store_refuses, 4, 0.15),
    "database": Fault("PostgreSQL restarts after 6 to 10 s", database_restarts, 4, 0.1),
    "tracking": Fault("the MLflow server is away for 60 s", tracking_away, 4, 0.4),
    "unrecorded": Fault("the MLflow server is away for the whole sweep", tracking_never_there, 4, 0.05),
}


class Trial:
    """Brings faults over sweeps in a lab, and compares these with a calm one."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab, self._seed = lab, seed
        calm = self._round(random.Random(seed), FAULTS["unrecorded"], ["calm"])
        calm.finish()
        folder = calm.sweeps[0].folder
        self._points, self._steps = tracked.points(lab.client, "calm"), lab.trained("calm")
        self._histories, self._weights = histories(folder), final_weights(folder)
        assert len(self._weights) == TRIALS, "the calm sweep is not whole"

    def repeat(self, fault: str, repetitions: int, group: int | None = None) -> Iterator[Result]:
        """Yield results of `repetitions` sweeps that the fault hit; a sweep that it missed is known only at the end."""
        kind, done, number = FAULTS[fault], 0, 0
        while done < repetitions:
            assert number < 3 * repetitions, f"{fault}: comes too late, again and again"
            size = min(group or kind.group, repetitions - done)
            names = [f"{fault}-{number + n}" for n in range(size)]
            found = self._round(random.Random(f"{self._seed} {fault} {number}"), kind, names)
            hit = kind.strike(found)
            number += size
            for sweep, counts in zip(found.sweeps, hit, strict=True):
                result = self._compare(fault, found, sweep)
                if counts:
                    done += 1
                    yield result

    def _round(self, rng: random.Random, kind: Fault, names: Sequence[str]) -> Round:
        self._lab.pace(kind.step_s)
        made = Round(self._lab, rng)
        made.begin(names)
        return made

    def _compare(self, fault: str, at: Round, sweep: Sweep) -> Result:
        assert histories(sweep.folder) == self._histories, sweep.name
        points = tracked.points(self._lab.client, sweep.name)
        return Result(
            fault=FAULTS[fault].title,
            after_s=at.after_s,
            sweeps=len(at.sweeps),
            lost=(self._points - points).total(),
            doubled=(points - self._points).total(),
            weights=differing(final_weights(sweep.folder), self._weights),
            twice=self._lab.trained(sweep.name) - self._steps,
        )


def differing(a: dict[str, dict[str, torch.Tensor]], b: dict[str, dict[str, torch.Tensor]]) -> int:
    """Trials whose last checkpoints differ in a bit of a tensor."""
    return sum(
        a.get(trial, {}).keys() != b[trial].keys() or any(_differ(a[trial][n], b[trial][n]) for n in b[trial])
        for trial in b
    )


def _differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    return not torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _trains_at(folder: SweepFolder, host: str) -> bool:
    return any(trial.journal.exists() and read_json(trial.owner)["host"] == host for trial in folder.all_trials())


def _trains(folder: SweepFolder) -> bool:
    return any(trial.journal.exists() for trial in folder.all_trials())
