"""Comparison of the store with the records of a trial.

The note `published.json` is reduced to the records that the store has, so that all others are sent again.

Runs are deleted and tags edited in MLflow's UI; databases and artifacts are removed or restored from old copies. The
comparison needs only the list of the sweep's runs and, for a store whose artifacts are not on this machine, one list of
the runs that have artifacts. `thorough.Thorough` reads all values instead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gansweep.health.metrics import current
from gansweep.records import journal
from gansweep.records.layout import TrialFolder
from gansweep.tracking import artifacts, journal_copies
from gansweep.tracking.limits import metric_key
from gansweep.tracking.notes import NOTE
from gansweep.tracking.ownership import PARENT
from gansweep.tracking.published import Published
from gansweep.tracking.summary import STATUS

if TYPE_CHECKING:
    from mlflow.entities import Run

CHECKPOINT = "checkpoints/last.safetensors"  # artifact: the last checkpoint
IMAGES = "images"  # folder of a run's sample grids
GRID = re.compile(rf"{IMAGES}/samples\+step\+(?P<step>\d+)\+timestamp\+\d+\+\d+\.png")
# Kinds of missing records, as reported.
RUNS, TAGS, METRICS, SAMPLES, CHECKPOINTS, JOURNALS, STATUSES, PARAMETERS = (
    "deleted runs", "tags", "metrics", "samples", "checkpoints", "copies of journals", "statuses", "parameters",
)  # fmt: skip


class Files:
    """Artifacts of the runs of an experiment, as far as they can be listed in one request."""

    def __init__(self, uri: str, location: str) -> None:
        """Initialise the list.

        Args:
            uri: URI of the tracking store.
            location: URI of the experiment's artifacts.
        """
        self._uri, self._location = uri, location

    def of(self, run: Run) -> Collection[str] | None:
        """Return the paths of a run's artifacts; None if they are unknown.

        If the artifacts are not on this machine, paths are known only for a run that has no artifacts: there are none.
        """
        where = artifacts.repository(self._uri, run.info.artifact_uri)
        if folder := artifacts.folder_of(where):
            return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        return () if self._runs is not None and run.info.run_id not in self._runs else None

    @cached_property
    def _runs(self) -> set[str] | None:
        """Ids of runs that have artifacts; None if artifacts cannot be listed, as in a bucket without credentials."""
        with suppress(Exception):  # error types differ between repositories
            return {Path(file.path).name for file in artifacts.repository(self._uri, self._location).list_artifacts()}
        return None


def cut_down(folder: TrialFolder, note: Published, run: Run, files: Collection[str] | None) -> list[str]:
    """Remove what the tracking store lacks from the note of what was sent, so that it is sent again.

    Args:
        folder: Folder of the trial.
        note: What was sent of the trial, as noted in its folder.
        run: MLflow run of the trial.
        files: Paths of the run's artifacts; None if they are unknown.

    Returns:
        Kinds of missing records: RUNS, TAGS and so on.
    """
    lost = []
    if run.info.lifecycle_stage != "active":
        lost.append(RUNS)
    if _cut_tags(note, run.data.tags):
        lost.append(TAGS)
    if _lacks_metrics(folder, note, run):
        note.offset = 0
        lost.append(METRICS)
    if note.state and run.info.status != STATUS[note.state]:
        note.state = ""
        lost.append(STATUSES)
    return lost if files is None else lost + _cut_files(note, files)


def missing_params(wanted: Mapping[str, str], run: Run) -> dict[str, str]:
    """Return the parameters that a run lacks. Existing ones cannot be changed."""
    return {key: value for key, value in wanted.items() if key not in run.data.params}


def grid_steps(files: Collection[str]) -> set[int]:
    """Return the steps of the sample grids among the artifacts with these paths."""
    return {int(match["step"]) for match in map(GRID.fullmatch, files) if match}


def _cut_tags(note: Published, there: Mapping[str, str]) -> bool:
    """Set the note's tags to those of the run in the store. Return whether a tag that was sent has another value there.

    A description of the run that a user wrote counts as the one that was sent, so that it is kept.
    """
    sent = note.tags
    note.tags = {key: value for key, value in there.items() if key.startswith("gansweep.") or key == PARENT}
    if there.get(NOTE):
        note.tags[NOTE] = sent.get(NOTE, "")
    return any(note.tags.get(key, "") != value for key, value in sent.items())


def _lacks_metrics(folder: TrialFolder, note: Published, run: Run) -> bool:
    """Whether the store lacks values of any metric that were sent according to the note."""
    steps: dict[str, int] = {}
    for record, end in journal.read_from(folder.journal, 0):
        if end > note.offset:
            break
        for name in record.values:
            steps[name] = max(record.step, steps.get(name, 0))
    there: dict[str, int] = {}
    for point in run.data.to_proto().metrics:  # of a metric that version 0.1.0 sent under its former name, both
        there[current(point.key)] = max(point.step, there.get(current(point.key), -1))
    return any(there.get(metric_key(name), -1) < step for name, step in steps.items())


def _cut_files(note: Published, files: Collection[str]) -> list[str]:
    lost = []
    grids = grid_steps(files)
    kept = [name for name in note.samples if int(Path(name).stem) in grids]
    if kept != note.samples:
        note.samples = kept
        lost.append(SAMPLES)
    if note.checkpoint and CHECKPOINT not in files:
        note.checkpoint = ""
        lost.append(CHECKPOINTS)
    if note.journal and journal_copies.NAME not in files:
        note.journal = ""
        lost.append(JOURNALS)
    return lost
