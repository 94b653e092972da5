"""Sending of a trial's folder to its run in MLflow. Records sent twice are stored once.

MLflow's stores identify a metric by (key, timestamp, step, value); sending the timestamp of the journal makes repeated
sending harmless. Files have the same names at every attempt.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gansweep.records import journal
from gansweep.records.layout import TrialFolder, flat, read_json
from gansweep.records.outcome import Outcome
from gansweep.sweeps.folder import began_ms
from gansweep.sweeps.points import at_ms
from gansweep.tracking import journal_copies, limits, notes
from gansweep.tracking.comparison import CHECKPOINT, IMAGES
from gansweep.tracking.published import Published
from gansweep.tracking.summary import STATUS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1_000  # metrics per request, MLflow's limit
PARAMS = 100  # parameters per request, MLflow's limit
GRID_PIXELS = 512  # sample grids are enlarged by a whole factor to about this size: the UI would blur them


@dataclass(frozen=True)
class Sender:
    """Sender of trials to runs of an experiment. `labels`: tags that all runs share.

    All methods raise the errors of MLflow, and UserError for a damaged file of the trial.
    """

    client: MlflowClient
    experiment: str
    labels: Mapping[str, str]

    def tags(self, folder: TrialFolder, now: str, ended: Outcome | None, note: Published) -> dict[str, str]:
        """Return all tags of a trial's run, with the values that they should have in the store."""
        trial = read_json(folder.trial)
        return {
            **self.labels,
            "gansweep.trial_id": folder.id,
            "gansweep.seed": str(trial["config"]["seed"]),
            "gansweep.data_fingerprint": trial["data"]["fingerprint"],
            **notes.tags(folder, now, ended),
            journal_copies.TAG: note.journal,
        }

    def create(self, folder: TrialFolder, tags: Mapping[str, str]) -> Run:
        """Create a trial's run with its parameters and return it."""
        trial = read_json(folder.trial)
        # Values only: the UI's column is narrow, and names of settings are in the parameters.
        name = " · ".join([*(_short(v) for v in trial["varied"].values()), f"seed {trial['config']['seed']}"])
        made: Run = self.client.create_run(
            self.experiment,
            start_time=began_ms(folder),
            tags={"mlflow.user": "gansweep", **tags},
            run_name=limits.run_name(name),
        )
        self.send_params(made.info.run_id, params(folder))
        return made

    def send(self, folder: TrialFolder, now: str, ended: Outcome | None, note: Published) -> None:
        """Send the records of a trial that the store lacks.

        Args:
            folder: The trial's folder.
            now: The trial's state.
            ended: Its outcome; None if it has not ended.
            note: What the store has; updated after each request that succeeds.
        """
        ended_s = ended.time if ended else 0.0
        news = (note.state, note.ended_s) != (now, ended_s)
        if news:
            note.journal = ""
        tags = self.tags(folder, now, ended, note)
        if not note.run_id:
            note.run_id, note.tags = self.create(folder, tags).info.run_id, tags
        self._send_tags(note, tags)
        if now == "running" and note.state != now:
            self.client.update_run(note.run_id, status=STATUS[now])
        before = note.offset
        self._send_metrics(folder, note)
        if note.offset != before:  # such as what was measured after the end
            note.journal = ""
        self._send_samples(folder, note)
        if now in journal_copies.ENDED:
            self._send_checkpoint(folder, note)
        if news:
            self._send_status(note.run_id, now, ended)
            note.state, note.ended_s = now, ended_s
        if now in journal_copies.ENDED and not note.journal:
            self._attach_journal(folder, note)

    def send_params(self, run_id: str, values: Mapping[str, str]) -> None:
        """Send parameters that the run lacks."""
        from mlflow.entities import Param

        listed = iter([Param(key, value) for key, value in values.items()])
        while some := [*islice(listed, PARAMS)]:
            self.client.log_batch(run_id, params=some)

    def set_aside(self, run_id: str) -> None:
        """Delete a run with wrong values, which MLflow cannot correct, and detach it from its trial.

        May be repeated after a kill.
        """
        self.client.set_tag(run_id, "gansweep.set_aside", "its values differed from the trial's; see its successor")
        if "gansweep.trial_id" in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, "gansweep.trial_id")
        self.client.delete_run(run_id)

    def _send_tags(self, note: Published, wanted: dict[str, str]) -> None:
        """Send the tags that differ from the store's, in at most one request."""
        from mlflow.entities import RunTag

        new = [RunTag(key, value) for key, value in wanted.items() if note.tags.get(key) != value]
        if new:
            self.client.log_batch(note.run_id, tags=new)
            note.tags = wanted

    def _send_metrics(self, folder: TrialFolder, note: Published) -> None:
        from mlflow.entities import Metric

        def flush() -> None:
            digest = journal_copies.digest(sent_journal(folder, offset))  # first: the request may take long
            self.client.log_batch(note.run_id, metrics=pending)
            note.offset, note.digest = offset, digest
            pending.clear()

        pending: list[Metric] = []
        offset = note.offset
        for record, end in journal.read_from(folder.journal, note.offset):
            if len(pending) + len(record.values) > BATCH:
                flush()
            at = at_ms(record)
            pending += [
                Metric(limits.metric_key(name), value, at, record.step) for name, value in record.values.items()
            ]
            offset = end
        if pending:
            flush()

    def _send_samples(self, folder: TrialFolder, note: Published) -> None:
        new = [path for path in folder.all_samples() if path.name not in note.samples]
        if not new:
            return
        with TemporaryDirectory(prefix="gansweep-") as scratch:
            for path in new:
                _image_files(path, Path(scratch))
            self.client.log_artifacts(note.run_id, scratch, IMAGES)
        if not note.samples:
            self.client.set_tag(note.run_id, "mlflow.loggedImages", "true")
        note.samples += [path.name for path in new]

    def _send_checkpoint(self, folder: TrialFolder, note: Published) -> None:
        """Send the last checkpoint if the store lacks it."""
        checkpoints = folder.all_checkpoints()
        if checkpoints and note.checkpoint != checkpoints[-1].name:
            self._attach(note.run_id, CHECKPOINT, checkpoints[-1].read_bytes())
            note.checkpoint = checkpoints[-1].name

    def _send_status(self, run_id: str, now: str, ended: Outcome | None) -> None:
        if ended and now != "interrupted":
            self.client.set_terminated(run_id, STATUS[now], int(ended.time * 1000))
        else:
            self.client.update_run(run_id, status=STATUS[now])

    def _attach_journal(self, folder: TrialFolder, note: Published) -> None:
        """Send a copy of the part of the journal whose metrics were sent, then set the tag with the copy's digest."""
        content = sent_journal(folder, note.offset)
        self._attach(note.run_id, journal_copies.NAME, journal_copies.pack(content))
        note.journal = journal_copies.digest(content)
        self._send_tags(note, {**note.tags, journal_copies.TAG: note.journal})

    def _attach(self, run_id: str, path: str, content: bytes) -> None:
        """Add an artifact. `path`: its path among the run's artifacts."""
        place = PurePosixPath(path)
        with TemporaryDirectory(prefix="gansweep-") as scratch:
            copy = Path(scratch, place.name)
            copy.write_bytes(content)
            self.client.log_artifact(run_id, str(copy), None if place.parent == PurePosixPath() else str(place.parent))


def params(folder: TrialFolder) -> dict[str, str]:
    """Return the parameters of a trial's run: the trial's settings, and its networks' numbers of parameters."""
    trial = read_json(folder.trial)
    values = {**flat(trial["config"]), **flat({"parameters": trial["parameters"]})}
    return {key: str(value)[: limits.LONGEST_PARAM] for key, value in values.items()}


def sent_journal(folder: TrialFolder, offset: int) -> bytes:
    """Return the first `offset` bytes of a journal, whose metrics were sent; fewer if the journal is now shorter."""
    return folder.journal.read_bytes()[:offset] if offset else b""


def is_superseded(folder: TrialFolder, note: Published, state: str) -> bool:
    """Whether the journal no longer has the records that were sent, so that the run has wrong values.

    This happens if records were withdrawn (see records/withdrawal.py), or lost in a power cut, and others were recorded
    instead. A trial that continues with a shorter journal does not count: it may record the same records again.
    """
    content = sent_journal(folder, note.offset)
    if len(content) < note.offset:
        return state in journal_copies.ENDED
    if not note.digest:
        return bool(content) and not content.endswith(b"\n")
    return note.offset > 0 and journal_copies.digest(content) != note.digest


def grid_name(path: Path) -> str:
    """Return the stem of the names of a sample grid's artifacts.

    Names have the form of MLflow's log_image, but are the same at every attempt to send the grid.
    """
    step, at = int(path.stem), int(path.stat().st_mtime * 1000)
    return f"samples+step+{step}+timestamp+{at}+{step:08d}"


def _image_files(path: Path, scratch: Path) -> None:
    """Write the two files that MLflow's UI needs to show a sample grid into a temporary folder.

    They are the grid itself and a lossless copy, enlarged by a whole factor so that the browser does not blur it.

    Args:
        path: File of the grid.
        scratch: The temporary folder.
    """
    from PIL import Image

    stem, content = scratch / grid_name(path), path.read_bytes()
    Path(f"{stem}.png").write_bytes(content)
    with Image.open(io.BytesIO(content)) as grid:
        factor = max(1, round(GRID_PIXELS / max(grid.size)))
        large = grid.resize((grid.width * factor, grid.height * factor), Image.Resampling.NEAREST)
    # method 0, the fastest: encoding is half of the time that publishing takes from training.
    large.convert("RGB").save(f"{stem}+compressed.webp", lossless=True, quality=0, method=0)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
