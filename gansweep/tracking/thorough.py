"""Complete comparison of a store with a trial's folder: metrics point by point, and artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gansweep.records.layout import TrialFolder
from gansweep.sweeps.points import Points
from gansweep.tracking import artifacts, bulk, journal_copies, sender
from gansweep.tracking.comparison import CHECKPOINT, CHECKPOINTS, IMAGES, JOURNALS, METRICS, SAMPLES
from gansweep.tracking.published import Published

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CHUNK = 100  # runs whose metrics are read at a time
WRONG = "values that differed"  # values of metrics, which the store cannot change


class Thorough:
    """Complete comparison of runs with their trials' folders.

    `runs`: The runs, in the order in which `cut_down` is called for them.
    """

    def __init__(self, client: MlflowClient, uri: str, runs: Sequence[Run]) -> None:
        self._client, self._uri = client, uri
        self._left = {run.info.run_id: run for run in runs}
        self._points: dict[str, dict[str, Points]] = {}

    def cut_down(self, folder: TrialFolder, note: Published, run: Run) -> list[str]:
        """Remove from a trial's note the records that the store lacks or has otherwise, and return their kinds.

        The kind WRONG means that the store has metrics with other values. MLflow cannot change them.
        """
        lost = []
        sent = journal_copies.points_of(sender.sent_journal(folder, note.offset), lambda _: True)
        match _compare(sent, self._metrics(run)):
            case "missing":
                note.offset = 0
                lost.append(METRICS)
            case "wrong":
                lost.append(WRONG)
        where = artifacts.repository(self._uri, run.info.artifact_uri)
        for path in folder.all_samples():
            grid = artifacts.content(where, f"{IMAGES}/{sender.grid_name(path)}.png")
            if path.name in note.samples and grid != path.read_bytes():
                note.samples.remove(path.name)
                lost.append(SAMPLES)
        checkpoint = folder.checkpoints / note.checkpoint
        if note.checkpoint and checkpoint.exists() and artifacts.content(where, CHECKPOINT) != checkpoint.read_bytes():
            note.checkpoint = ""
            lost.append(CHECKPOINTS)
        if note.journal and not journal_copies.is_intact(artifacts.content(where, journal_copies.NAME), note.journal):
            note.journal = ""
            lost.append(JOURNALS)
        return [*dict.fromkeys(lost)]

    def _metrics(self, run: Run) -> dict[str, Points]:
        run_id = run.info.run_id
        if run_id not in self._points:
            chunk = [run_id, *(other for other in self._left if other != run_id)][:CHUNK]
            self._points |= bulk.read(self._client, self._uri, [self._left[one] for one in chunk], lambda _: True)
            for one in chunk:  # after reading them: if it fails, each run meets the error
                del self._left[one]
        return self._points.pop(run_id)


def _compare(mine: dict[str, Points], there: dict[str, Points]) -> str:
    """Compare a trial's metrics with those in the store.

    Returns:
        "equal"; "missing" if the store has only some of the points, and has these correctly; "wrong" otherwise.
    """
    if not there.keys() <= mine.keys() or not all(_is_part(there[key], mine[key]) for key in there):
        return "wrong"
    whole = all(key in there and len(there[key].steps) == len(mine[key].steps) for key in mine)
    return "equal" if whole else "missing"


def _is_part(some: Points, whole: Points) -> bool:
    places = np.searchsorted(whole.steps, some.steps).clip(max=max(len(whole.steps) - 1, 0))
    return (
        np.array_equal(whole.steps[places], some.steps)
        and np.array_equal(whole.times_ms[places], some.times_ms)
        and np.allclose(whole.values[places], some.values, rtol=1e-9, atol=0, equal_nan=True)
    )
