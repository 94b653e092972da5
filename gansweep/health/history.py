"""What a run's records say, as one series a metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gansweep.health.metrics import CRITIC_LOSSES, D_AUC, QUALITY

LARGEST = np.finfo(np.float64).max  # what MLflow makes of inf


@dataclass(frozen=True)
class Series:
    """steps: (n,) ascending. values: (n,); NaN means that the value was NaN, never that there was none."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.steps.tolist(), self.values.tolist(), strict=True)


EMPTY = Series(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class History:
    """series: metric → values. budget: steps that the run is to have; burn-in is a share of it.

    critic: D is a Wasserstein critic, whose sign means nothing. growth: the step after which D was a larger one.
    """

    series: Mapping[str, Series]
    budget: int
    critic: bool = False
    growth: int | None = None

    @classmethod
    def of(
        cls,
        points: Iterable[tuple[int, Mapping[str, float]]],
        budget: int,
        critic: bool = False,
        growth: int | None = None,
    ) -> History:
        """From (step, metric → value) pairs, in the order of steps. Where a step comes twice, the first one holds."""
        columns: dict[str, dict[int, float]] = {}
        for step, values in points:
            for name, value in values.items():
                columns.setdefault(name, {}).setdefault(step, value)
        return cls({name: _series(column) for name, column in columns.items()}, budget, critic, growth)

    def __getitem__(self, metric: str) -> Series:
        """EMPTY for one that was not recorded."""
        return self.series.get(metric, EMPTY)

    def until(self, step: int) -> History:
        """What was known then, this step included."""
        cut = {}
        for name, series in self.series.items():
            n = int(np.searchsorted(series.steps, step, "right"))
            cut[name] = Series(series.steps[:n], series.values[:n])
        return replace(self, series=cut)

    def evaluations(self) -> NDArray[np.int64]:
        """(n,) the steps of all evaluations."""
        recorded = [self[name].steps for name in (*QUALITY, D_AUC) if len(self[name])]
        return np.unique(np.concatenate(recorded)) if recorded else EMPTY.steps

    def at(self, steps: NDArray[np.int64], metric: str) -> NDArray[np.float64]:
        """(len(steps),) the metric at those steps, NaN where it was not recorded: no detector fires on a NaN."""
        found = np.full(len(steps), np.nan)
        series = self[metric]
        _, there, here = np.intersect1d(steps, series.steps, assume_unique=True, return_indices=True)
        found[there] = series.values[here]
        return found


class Traits(NamedTuple):
    """What a history says of its run beside numbers, in the order in which `History` takes it."""

    critic: bool
    growth: int | None


def traits(config: Mapping[str, Any]) -> Traits:
    """Of a trial's settings, nested or dotted, text or not. Settings from before there were such keys have neither."""
    grown = _setting(config, "model.discriminator.growth.at")
    return Traits(_setting(config, "training.loss") in CRITIC_LOSSES, None if grown is None else int(grown))


def _setting(config: Mapping[str, Any], key: str) -> Any:
    """None where it is not set."""
    head, _, rest = key.partition(".")
    inner = config.get(head)
    return _setting(inner, rest) if rest and isinstance(inner, Mapping) else config.get(key)


def _series(column: Mapping[int, float]) -> Series:
    values = np.fromiter(column.values(), np.float64, len(column))
    values[np.abs(values) >= LARGEST] *= np.inf  # keeps the sign
    return Series(np.fromiter(column.keys(), np.int64, len(column)), values)
