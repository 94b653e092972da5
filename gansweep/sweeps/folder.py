"""Reads a sweep from its folder, without a tracking store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from gansweep.errors import UserError
from gansweep.records import journal, outcome
from gansweep.records.layout import Home, TrialFolder, read_json
from gansweep.records.ranking import ranking_in
from gansweep.sweepfile import settings
from gansweep.sweeps import points, summary
from gansweep.sweeps.provenance import provenance_of
from gansweep.sweeps.sweep import METRICS, RecordedSweep, RecordedTrial
from gansweep.words import names_like


class FolderReader:
    """Reads a sweep, and the files of its trials, from the sweep's folder."""

    def __init__(self, home: Home, name: str) -> None:
        """Find a sweep in a home folder. Raises UserError if there is no sweep of this name."""
        known = {folder.name: folder for folder in home.sweeps()}
        if name not in known:
            raise UserError(f"{home.path}: no sweep named {name!r}; {names_like(name, known)}")
        self._folder = known[name]

    def read(self, *, all_plans: bool = False, verdicts_only: bool = False) -> RecordedSweep:
        """Read the sweep from its folder. The arguments are those of `SweepReader.read`."""
        folder = self._folder
        earlier, sent = folder.earlier(), read_json(folder.tracking)
        plan = read_json(folder.plan)
        wanted = {*METRICS, ranking_in(plan).metric}.__contains__ if verdicts_only else lambda _: True
        found = [(one, True) for one in folder.planned()] + [(one, False) for one in earlier if all_plans]
        trials = [trial for one, planned in found if (trial := _trial(one, planned, wanted))]
        return RecordedSweep(
            folder.name,
            self,
            folder.source.read_text(errors="replace") if folder.source.exists() else "",
            plan,
            provenance_of(folder),
            sorted(trials, key=lambda trial: (trial.began_ms, trial.id)),
            experiment_id=sent.get("experiment_id", ""),
            parent_run_id=sent.get("parent_run_id", ""),
            earlier=len(earlier),
        )

    def samples(self, trials: Sequence[RecordedTrial]) -> list[tuple[RecordedTrial, int, str]]:
        """List the sample grids of trials (see `Files.samples`). Names are paths relative to the trial's folder."""
        return [
            (trial, int(path.stem), f"{path.parent.name}/{path.name}")
            for trial in trials
            for path in self._folder.trial(trial.id).all_samples()
        ]

    def content(self, trial: RecordedTrial, name: str) -> bytes | None:
        """Return the bytes of a file in the trial's folder; None if it does not exist."""
        path = self._folder.trial(trial.id).path / name
        return path.read_bytes() if path.is_file() else None


def began_ms(folder: TrialFolder) -> int:
    """Return the start time of a trial, in milliseconds since the epoch.

    This is the earlier of the modification time of its lock file and the time of its first record; the current time if
    it has neither.
    """
    times = [record.time for record, _ in islice(journal.read_from(folder.journal, 0), 1)]
    if folder.lock.exists():
        times.append(folder.lock.stat().st_mtime)
    return int(1000 * min(times, default=time.time()))


def _trial(folder: TrialFolder, planned: bool, wanted: Callable[[str], bool]) -> RecordedTrial | None:
    """Read a trial with the metrics that `wanted` accepts. Return None if the trial has not started."""
    document = read_json(folder.trial)
    now = outcome.state(folder, document["steps"])
    if now == "pending":
        return None
    entry = summary.entry(folder, now, outcome.ended_as(folder, now), "")
    told = summary.of_entry({**entry, "evaluator": summary.evaluator(folder)})
    return RecordedTrial(
        read_json(folder.published).get("run_id", ""),
        told,
        _settings(document, told.device),
        document["parameters"],
        points.of_records(journal.read(folder.journal), wanted),
        began_ms(folder),
        str(folder.path),
        planned,
    )


def _settings(document: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return the settings of a trial as the tracking store has them: lists as text, without `training_version`."""
    found = {**settings.of_trial(document, device), **document["varied"]}
    found.pop(settings.VERSION, None)
    return {k: v if isinstance(v, bool | int | float | None) else str(v) for k, v in found.items()}
