"""Event files of TensorBoard: the metrics, sample grids and settings of recorded trials.

Each trial is a run, DIR/SWEEP/TRIAL, with one event file, which a later export replaces. The protocol buffers and
checksums are those of tensorboardX, a dependency of Ray Tune. No experiment summary is written, so that TensorBoard
derives the settings and metrics of its HParams tab from all runs of the folder, settings that differ first.
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
    """Write one run per trial below a folder, and return the folder of the sweep's runs.

    Raises:
        OSError: A file cannot be written.
        UserError: The sample grids cannot be reached, or the tracking store has a name that is not one of a folder.
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
    """Yield every recorded value, rounded to 32 bits by the format, in the order of the steps."""
    from tensorboardX.proto.summary_pb2 import Summary

    rows: dict[tuple[int, int], list[Summary.Value]] = {}
    for name, points in trial.metrics.items():
        for step, time, value in zip(points.steps, points.times_ms, points.values, strict=True):
            rows.setdefault((int(step), int(time)), []).append(Summary.Value(tag=name, simple_value=value))
    for step, time in sorted(rows):
        yield _event(time, step, summary=Summary(value=rows[step, time]))


def _images(sweep: RecordedSweep, trial: RecordedTrial, grids: Sequence[tuple[int, str]]) -> Iterator[Event]:
    """Yield the sample grids that can be read, unchanged, with the time of the first record of their step."""
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
    """Yield start and end of the trial's session: its settings and seed, times in seconds, and how it ended."""
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
    """Return an event as a record of a TFRecord file: length, its checksum, content, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    checked = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return b"".join([length, checked[0], content, checked[1]])
