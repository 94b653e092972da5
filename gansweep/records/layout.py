"""The paths of all files in a home folder.

home/
  mlflow.db, artifacts/          the local tracking store
  mlflow.lock                    held while the store is created
  mlflow.unmade                  exists until the store is complete
  cache/                         decoded images
  logs/                          tracebacks of bugs in gansweep
  sweeps/NAME/
    sweep.yaml                   the file as it was last run
    code/HASH/                   copies of users' code that its trials import
    weights/HASH.safetensors     copies of weights that its trials start from
    identity.json                the sweep's id, and the folder that it was written for
    plan.json                    ids of its trials, in order, and the command that was called
    environment.json             machine, versions and commit of the last run
    suggestions.jsonl            optuna's suggestions, in order
    lock                         held while the sweep runs
    publish.lock                 held while its records are sent
    stop                         asks the running driver to end gracefully
    tracking.json                the parent run
    log.txt                      the sweep's log
    trials/ID/
      trial.json                 resolved config, varied values, seed, steps
      journal.jsonl              metrics, one record per line
      doubted.jsonl              withdrawn records, until the trial reaches their steps again
      cadence.json               intervals between its records, as set when it began
      evaluator.json             the evaluator: accuracy of its classifier, classes, samples
      fid.json                   FID, KID and inception score, or those of other networks, on many samples
      devices.json               the devices that it was trained on, their driver and torch
      owner.json                 for a sweep in a storage: host and process that train the trial, or trained it last
      samples/00000600.png
      checkpoints/00000600.safetensors
      outcome.json               how the trial ended; absent until then
      deaths                     one line for each time its process died
      lock                       held by the process that trains it
      stop                       asks that process to end gracefully
      traceback.txt              traceback of a crash
      published.json             which of these records have been sent to MLflow
    storage                      URI of the storage that the sweep is in, if any; this folder is then a copy
  runs/NAME-YYYYMMDD-HHMMSS/     a single run: the files of a trial's folder, and
    sweep.yaml                   the file as it was read
    code/HASH/                   copy of the user's code
    log.txt                      the log of the training
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
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansweep.errors import UserError
from gansweep.records.disk import writing

TRIAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # one name, not a path: a plan may be untrusted


@dataclass(frozen=True)
class TrialFolder:
    """The files of a trial."""

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
    def has_records(self) -> bool:
        """Whether the journal has records."""
        try:
            return self.journal.stat().st_size > 0
        except FileNotFoundError:
            return False

    @property
    def doubted(self) -> Path:
        return self.path / "doubted.jsonl"

    @property
    def cadence(self) -> Path:
        return self.path / "cadence.json"

    @property
    def evaluator(self) -> Path:
        return self.path / "evaluator.json"

    @property
    def fid(self) -> Path:
        return self.path / "fid.json"

    @property
    def devices(self) -> Path:
        return self.path / "devices.json"

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
        """Return the sample grids, oldest first."""
        return sorted(self.samples.glob("*.png"))

    def all_checkpoints(self) -> list[Path]:
        """Return all checkpoints, intact or not, oldest first."""
        return sorted(self.checkpoints.glob("*.safetensors"))


@dataclass(frozen=True)
class RunFolder(TrialFolder):
    """The files of a single run: those of a trial, and a few more."""

    @property
    def source(self) -> Path:
        return self.path / "sweep.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def code(self) -> Path:
        return self.path / "code"

    @property
    def plots(self) -> Path:
        return self.path / "plots"


@dataclass(frozen=True)
class SweepFolder:
    """The files of a sweep."""

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
    def code(self) -> Path:
        return self.path / "code"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

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
        """Return the folder of a trial.

        Raises:
            UserError: The id is not valid. Its path could be outside the sweep's folder.
        """
        if not isinstance(trial_id, str) or not TRIAL_ID.fullmatch(trial_id):
            raise UserError(f"{self.path}: {trial_id!r} is not a trial id; its plan.json is damaged or forged")
        return TrialFolder(self.path / "trials" / trial_id)

    def planned(self) -> list[TrialFolder]:
        """Return the trials of the last plan, in its order; empty if the sweep was never run."""
        return [self.trial(i) for i in read_json(self.plan).get("trials", [])]

    def earlier(self) -> list[TrialFolder]:
        """Return the trials that have begun and belong to earlier plans only."""
        return self.begun({trial.id for trial in self.planned()})

    def begun(self, but: Collection[str] = ()) -> list[TrialFolder]:
        """Return the trials of all plans that have begun, except those whose id is in `but`."""
        others = (trial for trial in self.all_trials() if trial.id not in but)
        recorded = (trial for trial in others if trial.trial.exists())
        return [trial for trial in recorded if trial.lock.exists() or trial.outcome.exists()]

    def all_trials(self) -> list[TrialFolder]:
        """Return every trial with a folder, including those of earlier plans."""
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
        """Create the folder of a new single run, named after the time and, if needed to be unique, a number."""
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
        """Return every planned sweep, in the order of their names."""
        return [SweepFolder(p.parent) for p in sorted((self.path / "sweeps").glob("*/plan.json"))]


def home_at(path: str | os.PathLike[str] | None) -> Home:
    """Return the home folder at a path, made absolute. Without a path, it is at GANSWEEP_HOME, or ./gansweep-home."""
    return Home(Path(path or os.environ.get("GANSWEEP_HOME", "gansweep-home")).absolute())


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file completely or not at all, even if the process is killed.

    Args:
        path: The file.
        content: Its content.
        durable: Whether it must also survive a power cut.
    """
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
    """Return the JSON object in a file; {} if the file does not exist.

    Raises:
        UserError: The file does not contain a JSON object.
    """
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
    """Flatten nested mappings to one dict with dotted keys. Values that are None are left out."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[prefix + key] = value
    return found
