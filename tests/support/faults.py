"""Faults across machines: what goes away in a lab while sweeps run, and what that did to them."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tracked
from lab import Lab, LabHome, ended, wait_for
from mlflow import MlflowClient
from scenes import train, warm_home
from service import final_weights, histories

from gansweep.records import outcome
from gansweep.records.layout import SweepFolder, read_json
from gansweep.tracking import store

SWEEP = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: 4}}
training: {{steps: {steps}, batch_size: 16}}
evaluation: {{per_run: 0}}
stop: none
cadence: {{metrics: 5, samples: 25, checkpoints: 10}}
search: {{method: grid, over: {{training.learning_rate: [1e-4, 1e-3]}}}}
replicates: 2
resources: {{cpus: 1, gpus: 0, max_concurrent: {parallel}}}
"""
TRIALS, STEPS = 4, 50
AWAY_S = 60  # of MLflow's server, in the fault that says so
LONG_STEP_S = 2.0
NO_RECORDS = "the tracking store does not accept records"


@dataclass
class Sweep:
    """One that a fault hits.

    Attributes:
        messages: What its drivers have written to stderr, once they have ended.
        killed: Whether its driver was killed.
    """

    name: str
    home: LabHome
    file: Path
    process: subprocess.Popen[str]
    messages: str = ""
    killed: bool = False

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
        parallel = self.lab.cores * 2 // len(names)  # of both nodes
        for name in names:
            home = self.lab.home(name)
            home.home.path.mkdir()
            file = self.lab.common / f"{name}.yaml"
            file.write_text(SWEEP.format(name=name, steps=STEPS, parallel=parallel))
            self.sweeps.append(Sweep(name, home, file, home.run(file)))

    def wait(self, condition: Callable[[SweepFolder], bool], longest_s: float) -> None:
        """Until it holds for all sweeps, and at random so much longer."""
        wait_for(lambda: self._check_alive() and all(condition(sweep.folder) for sweep in self.sweeps), 120)
        self.after_s = round(self.rng.uniform(0, longest_s), 1)
        time.sleep(self.after_s)

    def finish(self) -> None:
        for sweep in self.sweeps:
            sweep.messages += ended(sweep.process)[1]

    def _check_alive(self) -> bool:
        for sweep in self.sweeps:
            assert sweep.process.poll() is None, ended(sweep.process)
        return True


@dataclass(frozen=True)
class Fault:
    """strike: hits the sweeps of a round while they train; at the end of the block it is over, if it is ever to be.

    hit: whether a sweep that has ended was hit at all. group: sweeps in a round, which share the lab's cores. step_s:
    how long a step takes, at least. mend: when all sweeps have ended.
    """

    title: str
    strike: Callable[[Round], AbstractContextManager[None]]
    hit: Callable[[Sweep], bool]
    group: int
    step_s: float
    mend: Callable[[Round], None] = lambda at: None


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


@contextmanager
def node_lost(at: Round) -> Iterator[None]:
    at.wait(lambda folder: _trains_at(folder, at.lab.second.name), 5)
    at.lab.lose_second()
    yield


@contextmanager
def tracking_away(at: Round) -> Iterator[None]:
    at.wait(_trains, 5)
    at.lab.tracking.kill()
    at.lab.pace(LONG_STEP_S)  # training outlasts the outage, however slowly the server starts
    yield
    time.sleep(AWAY_S)
    _tracking_again(at)
    at.lab.pace(0)


@contextmanager
def tracking_never_there(at: Round) -> Iterator[None]:
    at.wait(lambda folder: folder.plan.exists(), 1)  # it is asked for once, when the command begins
    at.lab.tracking.kill()
    yield


@contextmanager
def database_restarts(at: Round) -> Iterator[None]:
    at.wait(_trains, 8)
    at.lab.database.stop(crash=at.rng.random() < 0.5)
    over = time.monotonic() + at.rng.uniform(6, 10)  # records are sent every five seconds
    yield
    _sleep_until(over)
    at.lab.database.start()


@contextmanager
def store_refuses(at: Round) -> Iterator[None]:
    at.wait(_trains, 5)
    at.lab.store.close()
    over = time.monotonic() + at.rng.uniform(10, 20)
    yield
    _sleep_until(over)
    at.lab.store.open()


@contextmanager
def driver_dies(at: Round) -> Iterator[None]:
    at.wait(_trains, 8)
    for sweep in at.sweeps:
        sweep.killed = sweep.process.poll() is None
        os.killpg(sweep.process.pid, signal.SIGKILL)
    for sweep in at.sweeps:
        sweep.process.communicate()
        shutil.rmtree(sweep.home.home.path)
        sweep.home = at.lab.home(f"{sweep.name}-again")
        sweep.process = sweep.home.run(sweep.file)
    yield


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _tracking_again(at: Round) -> None:
    at.lab.tracking.start()
    at.lab.tracking.wait()


def _send_the_rest(at: Round) -> None:
    _tracking_again(at)
    for process in [s.home.start("sync", s.name, "--tracking-uri", at.lab.tracking.uri) for s in at.sweeps]:
        ended(process)


FAULTS = {
    "node": Fault(
        "a node is lost: its raylet is killed",
        node_lost,
        lambda sweep: any(outcome.deaths(trial) for trial in sweep.folder.all_trials()),
        2,
        0.2,
        lambda at: at.lab.renew_second(),
    ),
    "driver": Fault("the driver's machine dies, with its home", driver_dies, lambda sweep: sweep.killed, 4, 0.1),
    "store": Fault(
        "the object store refuses for 10 to 20 s",
        store_refuses,
        lambda sweep: "the storage does not answer" in sweep.messages,
        4,
        0.15,
    ),
    "database": Fault(
        "PostgreSQL restarts after 6 to 10 s", database_restarts, lambda sweep: NO_RECORDS in sweep.messages, 4, 0.1
    ),
    "tracking": Fault(
        "the MLflow server is away for 60 s",
        tracking_away,
        lambda sweep: NO_RECORDS in sweep.messages and "`gansweep sync" not in sweep.messages,
        4,
        0.4,
    ),
    "unrecorded": Fault(
        "the MLflow server is away for the whole sweep",
        tracking_never_there,
        lambda sweep: (
            f"`gansweep sync {sweep.name} --tracking-uri {sweep.home.lab.tracking.uri}` sends the rest"
            in sweep.messages
        ),
        4,
        0.05,
        _send_the_rest,
    ),
}


class Trial:
    """Brings faults over sweeps in a lab, and compares these with one that was trained in calm, without the lab."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab, self._seed = lab, seed
        with TemporaryDirectory() as folder:
            file = Path(folder) / "calm.yaml"
            file.write_text(SWEEP.format(name="calm", steps=STEPS, parallel=1))
            home = warm_home(Path(folder) / "home")
            calm = train(home, file)
            self._points = tracked.points(MlflowClient(store.local_uri(home)), "calm")
            self._histories, self._weights = histories(calm), final_weights(calm)
        assert len(self._weights) == TRIALS, "the calm sweep is not whole"

    def repeat(self, fault: str, repetitions: int, group: int | None = None) -> Iterator[Result]:
        """Yield results of `repetitions` sweeps that the fault hit; a sweep that it missed is known only at the end."""
        kind, done, number = FAULTS[fault], 0, 0
        while done < repetitions:
            assert number < 3 * repetitions, f"{fault}: comes too late, again and again"
            size = min(group or kind.group, repetitions - done)
            names = [f"{fault}-{number + n}" for n in range(size)]
            for result, hits in self._round(f"{fault} {number}", names, [[kind]], kind.step_s):
                if all(hits):
                    done += 1
                    yield result
            number += size

    def endure(self, waves: Sequence[Sequence[str]], step_s: float) -> tuple[Result, dict[str, bool]]:
        """Bring faults over one sweep, those of a wave at once, and return which of them hit it as well."""
        kinds = [[FAULTS[fault] for fault in wave] for wave in waves]
        names = [*itertools.chain(*waves)]
        ((result, hits),) = self._round("all", ["-".join(names)], kinds, step_s)
        return result, dict(zip(names, hits, strict=True))

    def _round(
        self, seed: str, names: Sequence[str], waves: Sequence[Sequence[Fault]], step_s: float
    ) -> Iterator[tuple[Result, list[bool]]]:
        """Yield the result of each sweep, and of each fault whether it hit the sweep."""
        faults = [*itertools.chain(*waves)]
        self._lab.pace(step_s)
        at = Round(self._lab, random.Random(f"{self._seed} {seed}"))
        at.begin(names)
        for wave in waves:
            with ExitStack() as stack:
                for fault in wave:
                    stack.enter_context(fault.strike(at))
        self._lab.pace(0)
        at.finish()
        for fault in faults:
            fault.mend(at)
        for sweep in at.sweeps:
            yield self._compare(faults, at, sweep), [fault.hit(sweep) for fault in faults]

    def _compare(self, faults: Sequence[Fault], at: Round, sweep: Sweep) -> Result:
        assert histories(sweep.folder) == self._histories, sweep.name
        points = tracked.points(self._lab.client, sweep.name)
        return Result(
            fault="; ".join(fault.title for fault in faults),
            after_s=at.after_s,
            sweeps=len(at.sweeps),
            lost=(self._points - points).total(),
            doubled=(points - self._points).total(),
            weights=differing(final_weights(sweep.folder), self._weights),
            twice=self._lab.trained(sweep.name) - TRIALS * STEPS,
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
