"""The names of all files of a home folder, in one place.

home/
  mlflow.db, artifacts/          the local tracking store
  mlflow.lock                    held while that is made
  mlflow.unmade                  there as long as it is not whole
  cache/                         decoded images
  logs/                          tracebacks of our own bugs
  sweeps/NAME/
    sweep.yaml                   the file as it was last run
    identity.json                the sweep's id, and the folder that it was written for
    plan.json                    ids of its trials, in order, and how it was called
    suggestions.jsonl            what optuna suggested, in order
    lock                         held while the sweep runs
    publish.lock                 held while its records are sent
    stop                         asks the running driver to end in good order
    tracking.json                the parent run
    log.txt                      what was said while it ran
    trials/ID/
      trial.json                 resolved config, varied values, seed, steps
      journal.jsonl              metrics: one line a record
      evaluator.json             what judged its samples: the classifier's accuracy, classes, samples
      owner.json                 where the sweep lies in a storage: host and process that train it, or did last
      samples/00000600.png
      checkpoints/00000600.safetensors
      outcome.json               how it ended; absent while it has not
      deaths                     one line for each time its process died
      lock                       held by the process that trains it
      stop                       asks that process to end in good order
      traceback.txt              of a crash
      published.json             how much of this MLflow has
    storage                      URI of the storage that the sweep lies in, where it does; this is its copy
  runs/NAME-YYYYMMDD-HHMMSS/     a single run: what a trial's folder holds, and
    sweep.yaml                   the file as it was read
    log.txt                      what was said while it trained
    plots/losses.png
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansweep.errors import UserError
from gansweep.records.disk import writing

TRIAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # a plan may come from anywhere: no path, one name


@dataclass(frozen=True)
class TrialFolder:
    """One trial's files."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def trial(self) -> Path:
        return self.path / "trial.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def evaluator(self) -> Path:
        return self.path / "evaluator.json"

    @property
    def owner(self) -> Path:
        return self.path / "owner.json"

    @property
    def outcome(self) -> Path:
        return self.path / "outcome.json"

    @property
    def deaths(self) -> Path:
        return self.path / "deaths"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    @property
    def traceback(self) -> Path:
        return self.path / "traceback.txt"

    @property
    def published(self) -> Path:
        return self.path / "published.json"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def sample(self, step: int) -> Path:
        return self.samples / f"{step:08d}.png"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"{step:08d}.safetensors"

    def all_samples(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.samples.glob("*.png"))

    def all_checkpoints(self) -> list[Path]:
        """Oldest first, trusted or not."""
        return sorted(self.checkpoints.glob("*.safetensors"))


@dataclass(frozen=True)
class RunFolder(TrialFolder):
    """A single run's files: those of a trial, and these."""

    @property
    def source(self) -> Path:
        return self.path / "sweep.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def plots(self) -> Path:
        return self.path / "plots"


@dataclass(frozen=True)
class SweepFolder:
    """One sweep's files."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def source(self) -> Path:
        return self.path / "sweep.yaml"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def identity(self) -> Path:
        return self.path / "identity.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    @property
    def suggestions(self) -> Path:
        return self.path / "suggestions.jsonl"

    @property
    def publish_lock(self) -> Path:
        return self.path / "publish.lock"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def tracking(self) -> Path:
        return self.path / "tracking.json"

    @property
    def storage(self) -> Path:
        return self.path / "storage"

    def trial(self, trial_id: str) -> TrialFolder:
        """Raises UserError for what is no id of a trial: it might lead out of the folder."""
        if not isinstance(trial_id, str) or not TRIAL_ID.fullmatch(trial_id):
            raise UserError(f"{self.path}: {trial_id!r} is no id of a trial; its plan.json is damaged or forged")
        return TrialFolder(self.path / "trials" / trial_id)

    def planned(self) -> list[TrialFolder]:
        """The trials of the last plan, in its order; empty where the sweep was never run."""
        return [self.trial(i) for i in read_json(self.plan).get("trials", [])]

    def earlier(self) -> list[TrialFolder]:
        """The trials of earlier plans that have begun, and that the last plan no longer has."""
        planned = {trial.id for trial in self.planned()}
        others = (trial for trial in self.all_trials() if trial.id not in planned and trial.trial.exists())
        return [trial for trial in others if trial.lock.exists() or trial.outcome.exists()]

    def all_trials(self) -> list[TrialFolder]:
        """Every trial ever begun here, those of earlier plans included."""
        return [TrialFolder(p) for p in sorted((self.path / "trials").glob("*")) if p.is_dir()]


@dataclass(frozen=True)
class Home:
    """The folder that holds all sweeps."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "mlflow.db"

    @property
    def making(self) -> Path:
        return self.path / "mlflow.lock"

    @property
    def unmade(self) -> Path:
        return self.path / "mlflow.unmade"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def new_run(self, name: str) -> RunFolder:
        """Made here, stamped with the time, so that nobody else's run takes it."""
        stamped = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        for number in itertools.count(1):
            folder = RunFolder(self.runs / (stamped if number == 1 else f"{stamped}-{number}"))
            with contextlib.suppress(FileExistsError):
                folder.path.mkdir(parents=True)
                break
        return folder

    def sweep(self, name: str) -> SweepFolder:
        return SweepFolder(self.path / "sweeps" / name)

    def sweeps(self) -> list[SweepFolder]:
        """Every sweep that was planned here, by name."""
        return [SweepFolder(p.parent) for p in sorted((self.path / "sweeps").glob("*/plan.json"))]


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """All of it or nothing, whenever we are killed; durable: also when the power goes."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.{threading.get_ident()}"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames and new files in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, data: Any, *, durable: bool = False) -> None:
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode(), durable=durable)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file, or {} where there is no file. Raises UserError where it holds something else."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        if not isinstance(data, dict):
            raise ValueError(f"a {type(data).__name__} instead of an object")
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from a copy") from None
    return data


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested → dotted, leaving out what is not set."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[prefix + key] = value
    return found
