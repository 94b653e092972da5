"""What was measured of a trial on many samples: `fid.json`, an entry for each network, number of samples and step."""

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
    """An entry.

    Attributes:
        step: Step of the generator.
        samples: Number of samples.
        weights: SHA-256 of the network's file.
        images: Number of real images.
        channels: Channels of the images. A network sees grey ones as three equal channels.
        metrics: Name → value; NaN and infinities as in records.
    """

    step: int
    samples: int
    weights: str
    images: int
    channels: int
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the entry for JSON, which has neither NaN nor infinity: None in their place."""
        metrics = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        return {**asdict(self), "metrics": metrics}


def known(folder: TrialFolder, step: int, samples: int, weights: str) -> Measured | None:
    """Return the entry of a trial for a step, number of samples and network."""
    found = (one for one in read(folder) if (one.step, one.samples, one.weights) == (step, samples, weights))
    return next(found, None)


def read(folder: TrialFolder) -> list[Measured]:
    """Return all entries of a trial, in the order in which they were measured."""
    found = (Measured(**one) for one in read_json(folder.fid).get("measured", []))
    return [replace(one, metrics={k: math.nan if v is None else v for k, v in one.metrics.items()}) for one in found]


def add(folder: TrialFolder, measured: Measured) -> None:
    """Add an entry durably."""
    write_json(folder.fid, {"measured": [one.to_json() for one in (*read(folder), measured)]}, durable=True)


def add_to_journal(folder: TrialFolder, measured: Measured) -> bool:
    """Record the metrics of an entry at the last step of a trial that has ended, so that they are sent and tabled.

    Metrics that are recorded there already keep their values.

    Returns:
        Whether the metrics are recorded. They are not if the generator is not that of the last step.

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
    """Return the record of an entry to append to records that end at its step; None if its metrics are there.

    Its time is that of the step, so that the time of training does not depend on it.
    """
    there = {name for record in records if record.step == measured.step for name in record.values}
    new = {name: value for name, value in measured.metrics.items() if name not in there}
    return Record(measured.step, records[-1].time, new) if new else None
