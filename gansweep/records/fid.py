"""Measurements of a trial on many samples, such as FID, in the file `fid.json` of its folder.

The file has one entry for each combination of network, number of samples and step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gansweep.records import journal, lock
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder, read_json, write_json

LOCK_WAIT_S = 20.0


@dataclass(frozen=True)
class Measured:
    """An entry of `fid.json`.

    Attributes:
        step: Step of the generator.
        samples: Number of samples.
        weights: SHA-256 of the file of the network that computes the features.
        images: Number of real images.
        channels: Channels of the images. The network sees grey images as three equal channels.
        metrics: Name → value. Values may be NaN or infinite.
    """

    step: int
    samples: int
    weights: str
    images: int
    channels: int
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the entry as data for JSON, which has neither NaN nor infinity: such values are None."""
        metrics = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        return {**asdict(self), "metrics": metrics}


def known(folder: TrialFolder, step: int, samples: int, weights: str) -> Measured | None:
    """Return the entry of a trial for a step, number of samples and network (SHA-256 of its file); None without one."""
    found = (one for one in read(folder) if (one.step, one.samples, one.weights) == (step, samples, weights))
    return next(found, None)


def read(folder: TrialFolder) -> list[Measured]:
    """Return all entries of a trial, in the order in which they were measured."""
    found = (Measured(**one) for one in read_json(folder.fid).get("measured", []))
    return [replace(one, metrics={k: math.nan if v is None else v for k, v in one.metrics.items()}) for one in found]


def add(folder: TrialFolder, measured: Measured) -> None:
    """Append an entry to a trial's `fid.json`, so that it survives a power cut."""
    write_json(folder.fid, {"measured": [one.to_json() for one in (*read(folder), measured)]}, durable=True)


def add_to_journal(folder: TrialFolder, measured: Measured) -> bool:
    """Append the metrics of an entry to the journal of an ended trial, at the last recorded step.

    They are then shown in tables and sent to the tracking store. Metrics that the journal already has at this step keep
    their values.

    Returns:
        Whether the journal has the metrics. It does not if the entry's step is not the last recorded step.

    Raises:
        Locked: A process trains the trial.
    """
    with lock.acquire(folder.lock, wait_s=LOCK_WAIT_S):
        records = journal.read(folder.journal)
        if not records or records[-1].step != measured.step:
            return False
        if (new := at_end_of(records, measured)) is not None:
            with Journal(folder.journal) as opened:
                opened.append_more(new)
                opened.sync()
        return True


def at_end_of(records: list[Record], measured: Measured) -> Record | None:
    """Return the record with the metrics of an entry that `records` lack; None if they lack none.

    Its time is that of the last record, so that the trial's recorded training time stays the same.

    Args:
        records: All records of the trial. The last one is at the entry's step.
        measured: The entry.
    """
    there = {name for record in records if record.step == measured.step for name in record.values}
    new = {name: value for name, value in measured.metrics.items() if name not in there}
    return Record(measured.step, records[-1].time, new) if new else None
