"""The parent run of a sweep: its files, its status, and requests to end the sweep, which arrive as a tag."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gansweep.records import outcome
from gansweep.records.layout import SweepFolder, TrialFolder
from gansweep.records.ranking import ranking_of
from gansweep.sweeps.summary import Entry
from gansweep.tracking import notes, summary

if TYPE_CHECKING:
    from mlflow import MlflowClient

STOP = "gansweep.stop"  # the last request to end the sweep; another value is another request


class Parent:
    """The parent run of a sweep, as one publisher sees it.

    `asked`: Value of the run's tag STOP when the publisher connects. It is not passed on as a new request.
    """

    def __init__(self, client: MlflowClient, folder: SweepFolder, run_id: str, asked: str) -> None:
        self._client, self._folder, self.run_id, self._asked = client, folder, run_id, asked
        self._sent: dict[Path, int] = {}  # file → stamp of the sent version
        self._listed = b""
        self._says = ("", "")  # status and note in the store

    def heed_stop(self) -> None:
        """Pass a new request to end the sweep on to its driver."""
        asked = self._client.get_run(self.run_id).data.tags.get(STOP, "")
        if asked != self._asked:
            self._folder.stop.touch()
            self._asked = asked

    def send_files(self, planned: Sequence[Entry], earlier: Sequence[Entry]) -> None:
        """Send the list of trials, the plan (which grows during a search) and the log, if they have changed."""
        for path in (self._folder.plan, self._folder.log):
            at = stamp(path)  # before it is read, so that later changes are sent again
            if at not in (0, self._sent.get(path)):
                self._client.log_artifact(self.run_id, str(path))
                self._sent[path] = at
        listed = summary.pack(planned, earlier)
        if listed != self._listed:
            with TemporaryDirectory(prefix="gansweep-") as scratch:
                copy = Path(scratch, summary.NAME)
                copy.write_bytes(listed)
                self._client.log_artifact(self.run_id, str(copy))
            self._listed = listed

    def mark(
        self, states: Mapping[TrialFolder, str], running: bool, links: Mapping[str, str], unsent: Collection[str]
    ) -> None:
        """Set the parent run's status and note if they have changed. The note is empty while the sweep is running.

        Args:
            states: State of each trial of the plan whose run is up to date.
            running: Whether the sweep is running.
            links: Trial id → link to its run in the UI.
            unsent: Ids of the trials that could not be sent.
        """
        note = "" if running else self._note(states, links, unsent)
        says = (_status(states.values(), running, unsent), note)
        if says == self._says:
            return
        status = says[0]
        self._client.set_tag(self.run_id, notes.NOTE, note)
        if status in ("FINISHED", "FAILED"):
            ends = [ended.time for trial in states if (ended := outcome.read(trial))]
            self._client.set_terminated(self.run_id, status, int(max(ends, default=time.time()) * 1000))
        else:
            self._client.update_run(self.run_id, status=status)
        self._says = says

    def _note(self, states: Mapping[TrialFolder, str], links: Mapping[str, str], unsent: Collection[str]) -> str:
        folder = self._folder
        return notes.of_sweep(folder.name, states, links, ranking_of(folder), len(folder.earlier()), unsent)


def stamp(path: Path) -> int:
    """Return the time of a file's last change in nanoseconds; 0 if the file does not exist.

    The file of a trial's outcome is deleted when the trial is opened again, so its stamp becomes 0.
    """
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _status(states: Collection[str], running: bool, unsent: Collection[str]) -> str:
    if running:
        return "RUNNING"
    if unsent or any(s in ("pending", "interrupted", "running") for s in states):
        return "SCHEDULED"
    return "FAILED" if "crashed" in states else "FINISHED"
