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
    """Series of the values of one metric of one run.

    Args:
        steps: (n,) ascending.
        values: (n,) the value at each step. NaN means that the value was NaN, never that none was recorded.
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
        budget: Number of steps that the run is planned to train. The burn-in is a share of the budget.
        critic: Whether D is a Wasserstein critic, whose outputs have no meaningful sign.
        growth: Step after which D was a larger network; None for a D that does not grow.
        logits: Whether D's outputs are logits of a cross-entropy, so that σ(D) is a probability.
        compared: Whether quality metrics in the embedding of the evaluations were compared with blind looks at sample
            grids (see docs/verdicts.md), so that good samples can be told from their values.
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
        """Build a history from (step, metric → value) pairs in the order of steps.

        If a metric is given twice for a step, its first value counts. The other arguments are those of `History`.
        """
        columns: dict[str, dict[int, float]] = {}
        for step, values in points:
            for name, value in values.items():
                columns.setdefault(name, {}).setdefault(step, value)
        return cls(
            {name: _series(column) for name, column in columns.items()}, budget, critic, growth, logits, compared
        )

    def __getitem__(self, metric: str) -> MetricValues:
        """Return the series of a metric; EMPTY if it was not recorded."""
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
        """Return (len(steps),) the values of a metric at these steps, NaN where it was not recorded."""
        found = np.full(len(steps), np.nan)
        series = self[metric]
        if len(series):
            here = np.minimum(np.searchsorted(series.steps, steps), len(series) - 1)
            there = series.steps[here] == steps
            found[there] = series.values[here[there]]
        return found

    def evaluated(self) -> Evaluations:
        """Return the history's values at its evaluations. They are collected once and shared by all detectors."""
        return self._evaluated

    @cached_property
    def _evaluated(self) -> Evaluations:
        return Evaluations(self)


class Evaluations:
    """A history's values at its evaluations.

    Once a grown D has been evaluated, all values of D's metrics from before its growth are NaN, because they say
    nothing about the grown D. For these metrics, windows of evaluations thus start again after the growth.

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
        """Return (n,) the values of a metric, read-only; NaN where none was recorded. No detector fires on NaN."""
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
        """Return the value of a metric at the first evaluation; NaN if there are no evaluations."""
        return float(self[metric][0]) if len(self) else math.nan

    def last(self, metric: str) -> float:
        """Return the value of a metric at the last evaluation, which must exist."""
        return float(self[metric][-1])

    def rolling(self, metric: str, window: int, what: Literal["min", "max", "median"]) -> NDArray[np.float64]:
        """Return (n,) a statistic of a metric over the last `window` evaluations up to each one.

        It is NaN for the first window − 1 evaluations, and where one of the values is NaN.
        """
        return rolling(self[metric], window, what)

    def best_before(self, metric: str, lag: int) -> NDArray[np.float64]:
        """Return (n,) the least value of a metric among those at least `lag` evaluations before each evaluation.

        NaN is ignored. The result is NaN where there is no such value.
        """
        values = self[metric]
        found = np.full(len(values), np.nan)
        if len(values) > lag:
            found[lag:] = np.fmin.accumulate(values[: len(values) - lag])
        return found


def rolling(values: NDArray[np.float64], window: int, what: Literal["min", "max", "median"]) -> NDArray[np.float64]:
    """Return (n,) a statistic of the last `window` values up to each value; NaN for the first window − 1."""
    functions: Mapping[str, Callable[..., Any]] = {"min": np.min, "max": np.max, "median": np.median}
    found = np.full(len(values), np.nan)
    if len(values) >= window:
        windows = np.lib.stride_tricks.sliding_window_view(values, window)
        found[window - 1 :] = functions[what](windows, axis=1)
    return found


class Traits(NamedTuple):
    """Properties of a run that follow from its settings and that `History` takes, in the order of its arguments."""

    critic: bool
    growth: int | None
    logits: bool


def traits(config: Mapping[str, Any]) -> Traits:
    """Return the traits of a run with these settings.

    `config`: A trial's settings, with nested or dotted keys. Values may be text. Old settings may lack the keys.
    """
    grown = _setting(config, "model.discriminator.growth.at")
    return Traits(
        is_critic(_setting(config, "training.loss"), _setting(config, "training.critic")),
        None if grown is None else int(grown),
        has_logits(_setting(config, "training.loss")),
    )


def _setting(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key in settings that are nested or have dotted keys; None if it is not set."""
    head, _, rest = key.partition(".")
    inner = config.get(head)
    return _setting(inner, rest) if rest and isinstance(inner, Mapping) else config.get(key)


def _series(column: Mapping[int, float]) -> MetricValues:
    values = np.fromiter(column.values(), np.float64, len(column))
    values[np.abs(values) >= LARGEST] *= np.inf  # keeps the sign
    return MetricValues(np.fromiter(column.keys(), np.int64, len(column)), values)
