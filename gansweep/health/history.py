"""A run's records as one series per metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gansweep.health.metrics import D_AUC, DISCRIMINATOR, QUALITY
from gansweep.losses.registry import has_logits, is_critic

LARGEST = np.finfo(np.float64).max  # stored by MLflow in place of inf


@dataclass(frozen=True)
class MetricValues:
    """One metric of one run.

    Args:
        steps: (n,) ascending.
        values: (n,). NaN means that the value was NaN, never that none was recorded.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.steps.tolist(), self.values.tolist(), strict=True)


EMPTY = MetricValues(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class History:
    """All metrics of one run.

    Args:
        series: Metric → values.
        budget: PlannedTrial length of the run in steps. The burn-in is a share of the budget.
        critic: Whether D is a Wasserstein critic, whose outputs have no meaningful sign.
        growth: The step after which D was a larger network, None for a D that did not grow.
        logits: Whether D's outputs are logits of a cross-entropy, so that σ(D) is a probability.
        compared: Whether quality in the embedding of the evaluations was compared with blind looks at grids.
    """

    series: Mapping[str, MetricValues]
    budget: int
    critic: bool = False
    growth: int | None = None
    logits: bool = True
    compared: bool = False

    @classmethod
    def of(
        cls,
        points: Iterable[tuple[int, Mapping[str, float]]],
        budget: int,
        critic: bool = False,
        growth: int | None = None,
        logits: bool = True,
        compared: bool = False,
    ) -> History:
        """Build a history from (step, metric → value) pairs in the order of steps. The first record of a step holds."""
        columns: dict[str, dict[int, float]] = {}
        for step, values in points:
            for name, value in values.items():
                columns.setdefault(name, {}).setdefault(step, value)
        return cls(
            {name: _series(column) for name, column in columns.items()}, budget, critic, growth, logits, compared
        )

    def __getitem__(self, metric: str) -> MetricValues:
        """Return the series of a metric, EMPTY for one that was not recorded."""
        return self.series.get(metric, EMPTY)

    def until(self, step: int) -> History:
        """Return the history up to and including a step."""
        cut = {}
        for name, series in self.series.items():
            n = int(np.searchsorted(series.steps, step, "right"))
            cut[name] = MetricValues(series.steps[:n], series.values[:n])
        return replace(self, series=cut)

    def evaluations(self) -> NDArray[np.int64]:
        """Return (n,) the steps of all evaluations."""
        recorded = [self[name].steps for name in (*QUALITY, D_AUC) if len(self[name])]
        return np.unique(np.concatenate(recorded)) if recorded else EMPTY.steps

    def at(self, steps: NDArray[np.int64], metric: str) -> NDArray[np.float64]:
        """Return (len(steps),) a metric at steps, NaN where it was not recorded."""
        found = np.full(len(steps), np.nan)
        series = self[metric]
        if len(series):
            here = np.minimum(np.searchsorted(series.steps, steps), len(series) - 1)
            there = series.steps[here] == steps
            found[there] = series.values[here[there]]
        return found

    def evaluated(self) -> Evaluations:
        """Return the values at evaluations, collected once for all detectors."""
        return self._evaluated

    @cached_property
    def _evaluated(self) -> Evaluations:
        return Evaluations(self)


class Evaluations:
    """A history's values at its evaluations.

    After D has grown, the values of metrics of the smaller D are NaN, because they say nothing about the grown one.
    Windows of evaluations start again there.

    Attributes:
        history: The history.
        steps: (n,) the steps of the evaluations.
    """

    def __init__(self, history: History) -> None:
        self.history, self.steps = history, history.evaluations()
        smaller = self.steps <= (-1 if history.growth is None else history.growth)
        self._forgotten = smaller & (not smaller.all())
        self._values: dict[str, NDArray[np.float64]] = {}

    def __getitem__(self, metric: str) -> NDArray[np.float64]:
        """Return (n,) a metric, read-only, NaN where it was not recorded: no detector fires on a NaN."""
        if metric not in self._values:
            values = self.history.at(self.steps, metric)
            if metric in DISCRIMINATOR:
                values[self._forgotten] = np.nan
            values.setflags(write=False)
            self._values[metric] = values
        return self._values[metric]

    def __len__(self) -> int:
        return len(self.steps)

    def first(self, metric: str) -> float:
        """Return a metric at the first evaluation, NaN without one."""
        return float(self[metric][0]) if len(self) else math.nan

    def last(self, metric: str) -> float:
        """Return a metric at the last evaluation."""
        return float(self[metric][-1])

    def rolling(self, metric: str, window: int, what: Literal["min", "max", "median"]) -> NDArray[np.float64]:
        """Return (n,) a statistic of each `window` values that end at an evaluation, NaN for the first window − 1."""
        return rolling(self[metric], window, what)

    def best_before(self, metric: str, lag: int) -> NDArray[np.float64]:
        """Return (n,) the least value up to `lag` evaluations ago, ignoring NaN; NaN if there is none."""
        values = self[metric]
        found = np.full(len(values), np.nan)
        if len(values) > lag:
            found[lag:] = np.fmin.accumulate(values[: len(values) - lag])
        return found


def rolling(values: NDArray[np.float64], window: int, what: Literal["min", "max", "median"]) -> NDArray[np.float64]:
    """Return (n,) a statistic of each `window` values that end at a place, NaN for the first window − 1."""
    functions: Mapping[str, Callable[..., Any]] = {"min": np.min, "max": np.max, "median": np.median}
    found = np.full(len(values), np.nan)
    if len(values) >= window:
        windows = np.lib.stride_tricks.sliding_window_view(values, window)
        found[window - 1 :] = functions[what](windows, axis=1)
    return found


class Traits(NamedTuple):
    """Properties of a run that its history depends on, in the order of the arguments of `History`."""

    critic: bool
    growth: int | None
    logits: bool


def traits(config: Mapping[str, Any]) -> Traits:
    """Return the traits in a trial's settings, nested or dotted, as text or not. Old settings may lack the keys."""
    grown = _setting(config, "model.discriminator.growth.at")
    return Traits(
        is_critic(_setting(config, "training.loss"), _setting(config, "training.critic")),
        None if grown is None else int(grown),
        has_logits(_setting(config, "training.loss")),
    )


def _setting(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, None where it is not set."""
    head, _, rest = key.partition(".")
    inner = config.get(head)
    return _setting(inner, rest) if rest and isinstance(inner, Mapping) else config.get(key)


def _series(column: Mapping[int, float]) -> MetricValues:
    values = np.fromiter(column.values(), np.float64, len(column))
    values[np.abs(values) >= LARGEST] *= np.inf  # keeps the sign
    return MetricValues(np.fromiter(column.keys(), np.int64, len(column)), values)
