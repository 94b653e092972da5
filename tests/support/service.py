"""Drives the real command line from tests: sweep files, subprocesses, and what they left behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from prepared import Prepared

from gansweep.cli.main import main
from gansweep.gan import checkpoint
from gansweep.health.metrics import MACHINE
from gansweep.records import journal
from gansweep.records.layout import Home, SweepFolder, TrialFolder

COMMAND = [sys.executable, "-m", "gansweep"]
SMALL = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: {maps}}}
training: {{steps: {steps}, batch_size: 16}}
evaluation: {{per_run: {evaluations}, samples: 64}}
stop: {stop}
cadence: {{metrics: 5, samples: 20, checkpoints: 10}}
search:
  method: grid
  over:
    training.learning_rate: {rates}
replicates: {seeds}
resources: {{cpus: 1, gpus: 0}}
"""


class _Captured(io.TextIOWrapper):
    """A stream in memory, for text and bytes."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, "utf-8", write_through=True)

    def text(self) -> str:
        return self._bytes.getvalue().decode()


@dataclass(frozen=True)
class Service:
    """A home folder, a sweep file, and an environment to call gansweep in.

    `fresh`: whether each process begins with an interpreter of its own, instead of as a fork of one (prepared.py).
    """

    root: Path
    environment: dict[str, str]
    fresh: bool = False

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    def write(
        self,
        name: str = "small",
        steps: int = 30,
        rates: str = "[1e-4, 1e-3]",
        seeds: int = 1,
        maps: int = 4,
        evaluations: int = 0,
        stop: str = "{on: [divergence]}",
    ) -> Path:
        path = self.root / f"{name}.yaml"
        values = {"name": name, "steps": steps, "rates": rates, "seeds": seeds, "maps": maps}
        path.write_text(SMALL.format(**values, evaluations=evaluations, stop=stop))
        return path

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """In a process group of its own, with signals as a shell leaves them: the tests may run under nohup."""
        words = ["gansweep", *map(str, arguments)]
        given: dict[str, Any] = {
            "env": {**os.environ, "GANSWEEP_HOME": str(self.home.path), **self.environment},
            "cwd": self.root,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        if self.fresh:
            command = [sys.executable, "-m", *words]
            return subprocess.Popen(command, start_new_session=True, preexec_fn=_default_signals, **given)
        return Prepared(words, **given)

    def call(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        """(stdout, stderr) of a call that must exit with `code`."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return out, err

    def ask(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        """(stdout, stderr) of the same call in this process, where MLflow and torch are imported already.

        Not for commands that start Ray or whose process, signals or imports are the point.
        """
        out, err = _Captured(), _Captured()
        with (
            mock.patch.dict(os.environ, {"GANSWEEP_HOME": str(self.home.path), **self.environment}),
            mock.patch.object(sys, "argv", ["gansweep", *map(str, arguments)]),
            contextlib.chdir(self.root),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as caught,
        ):
            main()
        assert caught.value.code == code, f"exit {caught.value.code}\n{out.text()}\n{err.text()}"
        return out.text(), err.text()

    def status(self, sweep: str = "small") -> list[dict[str, Any]]:
        out, _ = self.ask("status", sweep, "--json")
        trials: list[dict[str, Any]] = json.loads(out)["trials"]
        return trials

    def folder(self, sweep: str = "small") -> SweepFolder:
        return self.home.sweep(sweep)

    def wait_for(self, condition: object, timeout_s: float = 60) -> None:
        assert callable(condition)
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)

    def training_began(self, sweep: str = "small") -> bool:
        return any(t.journal.exists() and t.journal.stat().st_size for t in self.folder(sweep).all_trials())


def histories(folder: SweepFolder) -> dict[str, list[tuple[int, dict[str, str]]]]:
    """Trial → what its journal holds, timings aside. NaN as text, so that equal is equal."""
    return {
        trial.id: [
            (r.step, {k: repr(v) for k, v in r.values.items() if k not in MACHINE}) for r in journal.read(trial.journal)
        ]
        for trial in folder.all_trials()
    }


def final_weights(folder: SweepFolder) -> dict[str, dict[str, torch.Tensor]]:
    """Trial → every tensor of its last checkpoint."""
    return {t.id: checkpoint.load(t.all_checkpoints()[-1])[0] for t in folder.all_trials()}


def assert_equal_weights(a: SweepFolder, b: SweepFolder) -> None:
    left, right = final_weights(a), final_weights(b)
    assert left.keys() == right.keys()
    for trial in left:
        assert left[trial].keys() == right[trial].keys()
        for name, tensor in left[trial].items():
            # nan-safe, bit by bit
            same = torch.equal(tensor.reshape(-1).view(torch.uint8), right[trial][name].reshape(-1).view(torch.uint8))
            assert same, (trial, name)


def assert_checkpointed(trial: TrialFolder) -> None:
    """Assert that an interrupted trial has a checkpoint of where it was, not of its last cadence."""
    checkpoints = trial.all_checkpoints()
    assert checkpoints
    assert int(checkpoints[-1].stem) >= max([record.step for record in journal.read(trial.journal)], default=0)


def assert_tracked_once(service: Service, sweep: str = "small") -> None:
    """One run a trial and one parent; each (metric, step) of the journals in the store exactly once."""
    from mlflow import MlflowClient

    from gansweep.tracking import store

    client = MlflowClient(store.local_uri(service.home))
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    ids = Counter(run.data.tags.get("gansweep.trial_id", "parent") for run in runs)
    assert ids == Counter(["parent", *(t.id for t in service.folder(sweep).all_trials())])
    for run in runs:
        if "gansweep.trial_id" not in run.data.tags:
            continue
        records = journal.read(service.folder(sweep).trial(run.data.tags["gansweep.trial_id"]).journal)
        expected = Counter((name, r.step) for r in records for name in r.values)
        stored = Counter(
            (name, m.step) for name in run.data.metrics for m in client.get_metric_history(run.info.run_id, name)
        )
        assert stored == expected, run.info.run_name


def cpu_s() -> float:
    """CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def leftovers(group: int) -> list[str]:
    """Command lines of processes still alive that belong to a driver's group or descend from it."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.info["cmdline"])[:100])
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT, *, group: bool = False) -> float:
    """Send a signal and wait for the end; the seconds that it took."""
    began = time.monotonic()
    (os.killpg if group else os.kill)(process.pid, number)
    process.wait(30)
    return time.monotonic() - began


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
