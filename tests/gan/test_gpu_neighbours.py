"""Trials that share a real GPU under a real MPS while others are killed or fault: all end as one that ran by itself."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from gansweep.engine import incidents, mps
from gansweep.engine.incidents import Incidents, Place
from gansweep.gan import checkpoint
from gansweep.health.metrics import MACHINE
from gansweep.planning.dispatch import job_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan
from gansweep.records import journal
from gansweep.records.layout import TrialFolder
from gansweep.records.withdrawal import withdraw

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,  # each death costs three new processes
    pytest.mark.skipif(not shutil.which(mps.CONTROL), reason=f"{mps.CONTROL} is not on the PATH"),
]

TRIALS, STEPS, KILLS = 3, 6000, 10
FAULT = KILLS // 2  # number of the death that is a fault of the device
AHEAD = 400  # steps that all trials train before the next death; 11 times this number and a few are less than STEPS
PATIENCE_S = 60
MOST_UNEXPECTED = 5  # deaths that nobody ordered: a new process met a server that was about to end

# What a trial and this process tell each other: step of its first message, last step, time of the message, whether it
# is ready, how many steps it may train, and whether it shall cause a fault.
BEGAN, STEP, HEARD, READY, MAY, FAULTS = range(6)

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "gansweep.gan.run", "gansweep.gan.training", "gansweep.planning.job"])


def train(config: dict[str, Any], folder: Path, environment: Mapping[str, str], signs: Any = None) -> None:
    """Train a trial in a process of its own. signs: what it tells and is told, see Client."""
    os.environ.update(environment)
    import torch

    run = Job.from_config(config).open(TrialFolder(folder))
    while run.advance(0.02) is None:
        if signs is not None:
            if not signs[READY]:
                signs[BEGAN] = run.step
            signs[STEP], signs[HEARD], signs[READY] = run.step, time.time(), 1  # its step is captured by now
            while run.step - signs[BEGAN] >= signs[MAY]:
                time.sleep(0.002)
            if signs[FAULTS]:
                torch.arange(4, device="cuda")[torch.tensor([2**20], device="cuda")].cpu()  # a device-side assert
    run.close()


class Client:
    """A process that trains a trial, together with the others."""

    def __init__(self, config: dict[str, Any], folder: Path, environment: Mapping[str, str]) -> None:
        self.signs = CONTEXT.RawArray("d", 6)
        self.process = CONTEXT.Process(target=train, args=(config, folder, environment, self.signs))
        self.process.start()

    @property
    def steps(self) -> int:
        """Steps since its first message."""
        return int(self.signs[STEP] - self.signs[BEGAN])


class Gpu:
    """Trials that share a GPU, driven like those of engine/queue.py."""

    def __init__(self, start: Callable[[int], Client], folders: list[TrialFolder]) -> None:
        self._start, self._folders = start, folders
        self._incidents = Incidents()
        self.clients: dict[str, Client] = {}
        self.deaths: Counter[str] = Counter()
        for number in range(len(folders)):
            self._begin(number)

    def _begin(self, number: int) -> None:
        client = self._start(number)
        assert client.process.pid is not None
        name = f"{number} {client.process.pid}"
        self.clients[name] = client
        self._incidents.started(name, str(number), Place(psutil.Process(client.process.pid), "0"), time.time())

    def look(self) -> None:
        """Note messages and deaths, and act on them."""
        time.sleep(0.005)
        for name, client in [*self.clients.items()]:
            if client.signs[HEARD]:
                self._incidents.heard(name, client.signs[HEARD])
            if client.process.exitcode is None:
                continue
            del self.clients[name]
            number = int(name.split()[0])
            since = self._incidents.ended(name)
            if since is None and client.process.exitcode != 0:
                self.deaths["killed" if client.process.exitcode < 0 else "failed"] += 1
                incident = self._incidents.died(name)
                assert incident is not None
                for process in incident.processes:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                since = incident.since
            elif since is not None:
                self.deaths["restarted" if client.process.exitcode < 0 else "failed as well"] += 1
            if since is not None:
                withdraw(self._folders[number], since)
                self._begin(number)

    def all_are_ahead(self) -> bool:
        clients = self.clients.values()
        if len(clients) < TRIALS or not all(client.signs[READY] for client in clients):
            return False
        self._allow(AHEAD)
        return all(client.steps >= AHEAD for client in clients)

    def release(self) -> None:
        """Let all trials train on: those that are ahead have waited for the others, so that none ends too early."""
        self._allow(STEPS)

    def _allow(self, steps: int) -> None:
        for client in self.clients.values():
            client.signs[MAY] = steps

    def has_ended(self, client: Client) -> bool:
        return client not in self.clients.values()

    def all_have_ended(self) -> bool:
        self.release()
        return not self.clients

    def __str__(self) -> str:
        clients = {name: [*client.signs] for name, client in self.clients.items()}
        return f"{dict(self.deaths)}, {clients}"

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {self}"
            assert self.deaths["killed"] + self.deaths["failed"] <= KILLS + 1 + MOST_UNEXPECTED
            self.look()


def records(folder: TrialFolder) -> list[Any]:
    return [
        (r.step, {k: repr(v) for k, v in r.values.items() if k not in MACHINE}) for r in journal.read(folder.journal)
    ]


def differing(folder: TrialFolder, whole: TrialFolder) -> set[str]:
    """Tensors of the last checkpoint that differ in a bit."""
    found, expected = (checkpoint.load(one.checkpoint(STEPS))[0] for one in (folder, whole))
    assert found.keys() == expected.keys()
    return {name for name in found if found[name].numpy().tobytes() != expected[name].numpy().tobytes()}


def test_ten_kills_and_a_fault_of_the_device_change_no_bit_of_any_trial(
    tmp_path: Path, plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "DOUBT_S", 0.1)  # messages come fifty times a second
    plan = plan_of(
        f"training.steps={STEPS}", "cadence={metrics: 20, samples: 3000, checkpoints: 100}", "evaluation={per_run: 0}",
        "training.batch_size=16", "stop=none", "retention.checkpoints=9",
    )  # fmt: skip
    config = job_of(plan, plan.trials[0], 1 / 4).to_config()
    whole, *folders = [TrialFolder(tmp_path / name) for name in ("whole", *map(str, range(TRIALS)))]
    for folder in (whole, *folders):
        folder.path.mkdir()
    alone = CONTEXT.Process(target=train, args=(config, whole.path, {}))
    alone.start()
    alone.join(PATIENCE_S)
    assert alone.exitcode == 0

    began, rng = time.monotonic(), random.Random(0)
    with TemporaryDirectory(prefix="gansweep-", dir="/tmp") as short, mps.sharing(Path(short), True) as settled:
        sharing = settled()
        assert sharing.active, sharing.refused
        environment = {name: os.environ[name] for name in (mps.PIPES, mps.LOGS)}
        gpu = Gpu(lambda number: Client(config, folders[number].path, environment), folders)
        for death in range(KILLS + 1):
            gpu.wait(gpu.all_are_ahead)
            gpu.release()
            time.sleep(rng.uniform(0.01, 0.05))
            victim = rng.choice([*gpu.clients.values()])
            if death == FAULT:
                victim.signs[FAULTS] = 1
            else:
                victim.process.kill()
            gpu.wait(partial(gpu.has_ended, victim))
        gpu.wait(gpu.all_have_ended)
    print(json.dumps(gpu.deaths), f"{time.monotonic() - began:.1f} s")
    assert gpu.deaths["killed"] >= KILLS
    assert [differing(folder, whole) for folder in folders] == [set()] * TRIALS
    assert [records(folder) == records(whole) for folder in folders] == [True] * TRIALS
    assert [p.name for p in folders[0].all_samples()] == [p.name for p in whole.all_samples()]
