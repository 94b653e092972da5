"""The values of one metric of one trial over its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansweep.health.history import LARGEST
from gansweep.records.journal import Record

Row = tuple[int, int, float]  # step, ms since the epoch, value
Wanted = Callable[[str], bool]  # takes a metric's name


@dataclass(frozen=True)
class Points:
    """Values of one metric of one trial, in ascending order of steps. Each step occurs once.

    Args:
        steps: (n,) ascending.
        times_ms: (n,) times at which the values were recorded, in milliseconds since the epoch.
        values: (n,) recorded values, including NaN and infinite ones.
    """

    steps: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Points:
        """Build points from rows in any order, at least one.

        If several rows have the same step, the one with the earliest time is taken; of rows with the same time as well,
        the first one given. The largest float, which MLflow stores in place of inf, becomes inf again.
        """
        steps, times, values = np.array([*rows], np.float64).T  # times are whole, and far below 2**53
        order = np.lexsort((times, steps))  # stable
        order = order[np.diff(steps[order], prepend=-np.inf) > 0]
        values = values[order] + 0.0  # SQLite knows no -0.0
        values[np.abs(values) >= LARGEST] *= np.inf  # keeps the sign
        return cls(steps[order].astype(np.int64), times[order].astype(np.int64), values)


def joined(first: Points, second: Points) -> Points:
    """Merge two series of the same metric of a trial. Where both have a step, the earlier value is taken."""
    parts = [(one.steps, one.times_ms, one.values) for one in (first, second)]
    return Points.of(zip(*map(np.concatenate, zip(*parts, strict=True)), strict=True))


def at_ms(record: Record) -> int:
    """Return the time of a record in whole milliseconds since the epoch, as MLflow stores it."""
    return int(record.time * 1000)


def of_records(records: Iterable[Record], wanted: Wanted) -> dict[str, Points]:
    """Return metric → points for the metrics in a journal's records that `wanted` accepts, sorted by name."""
    rows: dict[str, list[Row]] = {}
    for record in records:
        for name in filter(wanted, record.values):
            rows.setdefault(name, []).append((record.step, at_ms(record), record.values[name]))
    return {name: Points.of(rows[name]) for name in sorted(rows)}
