"""Event files of TensorBoard: the metrics, sample grids and settings of recorded trials.

Each trial is a run of TensorBoard in the folder DIR/SWEEP/TRIAL. It has one event file, which a later export replaces.
The protocol buffers and checksums are those of tensorboardX, a dependency of Ray Tune. No experiment summary is
written. TensorBoard therefore derives the columns of its HParams tab from all runs in DIR, settings that differ first.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from gansweep.errors import UserError
from gansweep.records.layout import TRIAL_ID, write_atomically
from gansweep.sweeps.sweep import RecordedSweep, RecordedTrial

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event

FILE = "events.out.tfevents.0.gansweep"
SAMPLES = "samples"  # tag of the sample grids
VERSION = "brain.Event:2"
STATUS = {"completed": "SUCCESS", "stopped": "SUCCESS", "crashed": "FAILURE", "running": "RUNNING"}


def write_runs(sweep: RecordedSweep, folder: Path) -> Path:
    """Write the event file of each trial to `folder`/SWEEP/TRIAL, and return `folder`/SWEEP.

    Raises:
        OSError: A file cannot be written.
        UserError: The sample grids cannot be reached, or the sweep or a trial has a name that cannot be a folder's.
    """
    for name in (sweep.name, *(trial.id for trial in sweep.trials)):
        if not TRIAL_ID.fullmatch(name):
            raise UserError(f"{sweep.name}: {name!r} in the tracking store cannot be the name of a folder")
    runs = folder / sweep.name
    grids: dict[str, list[tuple[int, str]]] = {trial.id: [] for trial in sweep.trials}
    for trial, step, name in sweep.files.samples(sweep.trials):
        grids[trial.id].append((step, name))
    for trial in sweep.trials:
        events = [*_hyperparameters(trial), *_scalars(trial), *_images(sweep, trial, grids[trial.id])]
        write_atomically(runs / trial.id / FILE, b"".join(map(_record, [_version(trial), *events])))
    return runs


def _event(time_ms: int, step: int = 0, **content: Any) -> Event:
    from tensorboardX.proto.event_pb2 import Event

    return Event(wall_time=time_ms / 1000, step=step, **content)


def _version(trial: RecordedTrial) -> Event:
    return _event(trial.began_ms, file_version=VERSION)


def _scalars(trial: RecordedTrial) -> Iterator[Event]:
    """Yield one event per step and time with all values recorded then, in order. The format rounds them to 32 bits."""
    from tensorboardX.proto.summary_pb2 import Summary

    rows: dict[tuple[int, int], list[Summary.Value]] = {}
    for name, points in trial.metrics.items():
        for step, time, value in zip(points.steps, points.times_ms, points.values, strict=True):
            rows.setdefault((int(step), int(time)), []).append(Summary.Value(tag=name, simple_value=value))
    for step, time in sorted(rows):
        yield _event(time, step, summary=Summary(value=rows[step, time]))


def _images(sweep: RecordedSweep, trial: RecordedTrial, grids: Sequence[tuple[int, str]]) -> Iterator[Event]:
    """Yield one event per sample grid, with the time of the first record of its step. Unreadable grids are left out."""
    from tensorboardX.proto.summary_pb2 import Summary

    times: dict[int, int] = {}
    for points in trial.metrics.values():
        for step, time in zip(points.steps.tolist(), points.times_ms.tolist(), strict=True):
            times[step] = min(time, times.get(step, time))
    for step, name in grids:
        png = sweep.files.content(trial, name) or b""
        with contextlib.suppress(UnidentifiedImageError), Image.open(io.BytesIO(png)) as grid:
            size = {"height": grid.height, "width": grid.width, "colorspace": len(grid.getbands())}
            value = Summary.Value(tag=SAMPLES, image=Summary.Image(**size, encoded_image_string=png))
            yield _event(times.get(step, trial.began_ms), step, summary=Summary(value=[value]))


def _hyperparameters(trial: RecordedTrial) -> Iterator[Event]:
    """Yield two events for the HParams tab.

    The first has the start time of the trial, its settings and its seed; the second has its end time and how it ended.
    """
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    start = SessionStartInfo(start_time_secs=trial.began_ms / 1000)
    for key, value in {**trial.settings, "seed": trial.seed}.items():
        if isinstance(value, bool):
            start.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[key].number_value = value
        elif value is not None:
            start.hparams[key].string_value = value
    ended_ms = max((int(points.times_ms.max()) for points in trial.metrics.values()), default=trial.began_ms)
    status = Status.Value(f"STATUS_{STATUS.get(trial.outcome, 'UNKNOWN')}")
    end = SessionEndInfo(status=status, end_time_secs=ended_ms / 1000)
    for tag, time, data in (
        ("_hparams_/session_start_info", trial.began_ms, HParamsPluginData(session_start_info=start)),
        ("_hparams_/session_end_info", ended_ms, HParamsPluginData(session_end_info=end)),
    ):
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
        metadata = SummaryMetadata(plugin_data=plugin)
        yield _event(time, summary=Summary(value=[Summary.Value(tag=tag, metadata=metadata)]))


def _record(event: Event) -> bytes:
    """Encode an event as a record of a TFRecord file: length and its checksum, then content and its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    checked = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return b"".join([length, checked[0], content, checked[1]])
