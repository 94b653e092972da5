"""The parent run of a sweep: its files, how the sweep stands, and requests to end it, which arrive there as a tag."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.records import outcome
from gansweep.records.layout import SweepFolder, TrialFolder, read_json
from gansweep.records.ranking import ranking_of
from gansweep.tracking import notes

if TYPE_CHECKING:
    from mlflow import MlflowClient

STOP = "gansweep.stop"  # the last request to end the sweep; another value is another request
TRIALS = "trials.json"  # artifact: what the plan says of each trial, those included that have not begun


class Parent:
    """Of one publisher. asked: the value of its tag STOP by now, which is answered or of an earlier run."""

    def __init__(self, client: MlflowClient, folder: SweepFolder, run_id: str, asked: str) -> None:
        self._client, self._folder, self.run_id, self._asked = client, folder, run_id, asked
        self._sent: dict[Path, int] = {}  # file → its stamp when it was sent
        self._trials: dict[str, dict[str, Any]] = {}
        self._says = ("", "")  # status and note, as the store has them

    def heed_stop(self) -> None:
        """Hand a new request to end on to the driver."""
        asked = self._client.get_run(self.run_id).data.tags.get(STOP, "")
        if asked != self._asked:
            self._folder.stop.touch()
            self._asked = asked

    def send_files(self) -> None:
        """The plan, which grows while a search goes on, and the log, where they changed."""
        for path in (self._folder.plan, self._folder.log):
            at = stamp(path)  # before it is read: what is written meanwhile makes it new again
            if at in (0, self._sent.get(path)):
                continue
            self._client.log_artifact(self.run_id, str(path))
            if path == self._folder.plan:
                self._client.log_dict(self.run_id, {"trials": self._planned()}, TRIALS)
            self._sent[path] = at

    def mark(self, states: Mapping[TrialFolder, str], running: bool, links: Mapping[str, str]) -> None:
        """Its status, and where the sweep does not go on, its note, if they are others than were sent. links: as
        `notes.of_sweep` has them."""
        note = "" if running else self._note(states, links)
        says = (_status(states.values(), running), note)
        if says == self._says:
            return
        status = says[0]
        self._client.set_tag(self.run_id, notes.NOTE, note)
        if status in ("FINISHED", "FAILED"):
            ends = [ended.time for trial in self._folder.planned() if (ended := outcome.read(trial))]
            self._client.set_terminated(self.run_id, status, int(max(ends) * 1000))
        else:
            self._client.update_run(self.run_id, status=status)
        self._says = says

    def _note(self, states: Mapping[TrialFolder, str], links: Mapping[str, str]) -> str:
        folder = self._folder
        return notes.of_sweep(folder.name, states, links, ranking_of(folder), len(folder.earlier()))

    def _planned(self) -> list[dict[str, Any]]:
        """What TRIALS holds: id, varied settings, seed and budget, in the order of the plan."""
        for folder in self._folder.planned():
            if folder.id not in self._trials:
                trial = read_json(folder.trial)
                seed = trial["config"]["seed"]
                told = {"id": folder.id, "varied": trial["varied"], "seed": seed, "steps": trial["steps"]}
                self._trials[folder.id] = told
        return [self._trials[folder.id] for folder in self._folder.planned()]


def stamp(path: Path) -> int:
    """Changes when the file does: a trial that is opened again has no outcome any more. 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _status(states: Collection[str], running: bool) -> str:
    if running:
        return "RUNNING"
    if any(s in ("pending", "interrupted", "running") for s in states):
        return "SCHEDULED"
    return "FAILED" if "crashed" in states else "FINISHED"
