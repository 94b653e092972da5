"""What all detectors share: thresholds with ranges, and how signals at single evaluations become a verdict.

A detector is a frozen dataclass of thresholds. Called with a `History` it says whether its kind of failure holds at
the end of it; it looks at nothing later than that, so a live trial and a finished one are judged alike. A metric that
was not recorded, or is NaN or too short a history, is no signal: nobody is condemned for want of evidence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gansweep.health.history import History
from gansweep.health.metrics import CFD_RATIO, DISCRIMINATOR
from gansweep.health.verdict import Kind, Verdict, title

Signals = NDArray[np.bool_]
BURN_IN = 0.1  # share of the budget in which nothing counts but divergence: no G has learned anything yet
TAKEOFF = 1_000  # steps by which a G that learns at all has taken off: before, it cannot be told from one that will not
LATE = 0.7  # share of the budget after which it is too late to wait for that


def threshold(default: float, low: float, high: float) -> Any:
    """A field with a range, both ends included."""
    return field(default=default, metadata={"range": (low, high)})


class Evaluations:
    """A history's values at its evaluations: [metric] → (n,), NaN where it was not recorded. steps: (n,).

    Once D has grown, what the smaller one said is NaN as well: it says nothing of the grown one. Windows begin anew.
    """

    def __init__(self, history: History) -> None:
        self.history, self.steps = history, history.evaluations()
        smaller = self.steps <= (-1 if history.growth is None else history.growth)
        self._forgotten = smaller & (not smaller.all())

    def __getitem__(self, metric: str) -> NDArray[np.float64]:
        values = self.history.at(self.steps, metric)
        if metric in DISCRIMINATOR:
            values[self._forgotten] = np.nan
        return values

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class Detector(ABC):
    """need of the last `window` evaluations, the last one among them, must show the signal; nothing is said before
    `earliest`, a share of the budget."""

    kind: ClassVar[Kind]
    need: int = threshold(1, 1, 100)
    window: int = threshold(1, 1, 100)
    earliest: float = threshold(BURN_IN, 0, 1)

    def __post_init__(self) -> None:
        """Raises ValueError for a threshold out of its range."""
        for one in fields(self):
            value, (low, high) = getattr(self, one.name), one.metadata["range"]
            whole = isinstance(one.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise ValueError(f"must be a {'whole ' if whole else ''}number, got {value!r}", one.name)
            if not low <= value <= high:  # NaN lies nowhere
                raise ValueError(f"must lie between {low:g} and {high:g}, got {str(value)[:12]}", one.name)
        if self.need > self.window:
            raise ValueError(f"must be at most window, {self.window}, got {self.need}", "need")

    @abstractmethod
    def signals(self, at: Evaluations) -> Signals:
        """(n,) whether each evaluation shows it, from that evaluation and earlier ones alone."""

    @abstractmethod
    def reason(self, found: Mapping[str, float]) -> str:
        """What the figures say, in words."""

    @abstractmethod
    def figures(self, at: Evaluations) -> dict[str, float]:
        """The numbers that speak for it at the last evaluation."""

    def __call__(self, history: History) -> Verdict | None:
        at = Evaluations(history)
        if not len(at):
            return None
        with np.errstate(all="ignore"):
            signals = self.signals(at) & (at.steps >= BURN_IN * history.budget)
            since = _since(signals, self.need, self.window)
            if since is None or at.steps[-1] < self.begins(history.budget) or not self.admits(at)[-1]:
                return None
            figures = self.figures(at)
        step = int(at.steps[self._onset(since)])
        evidence = {
            "figures": {k: plain(v) for k, v in figures.items()},
            "thresholds": {f.name: getattr(self, f.name) for f in fields(self)},
            "evaluations": int(signals[-self.window :].sum()),
            "at_step": int(at.steps[-1]),
        }
        return Verdict(self.kind, step, f"{title(self.kind)} since step {step:,}: {self.reason(figures)}", evidence)

    def begins(self, budget: int) -> float:
        """The step before which nothing is said of a run of so many."""
        return self.earliest * budget

    def admits(self, at: Evaluations) -> Signals:
        """(n,) whether the verdict may be said at each evaluation, whatever was shown up to it."""
        return np.ones(len(at), bool)

    def _onset(self, first_signal: int) -> int:
        """Index of the evaluation at which that which the first signal shows began."""
        return first_signal


def _since(signals: Signals, need: int, window: int) -> int | None:
    """Index of the first signal of the spell that lasts to the end; None where none does."""
    counts = np.convolve(signals.astype(int), np.ones(window, int))[: len(signals)]
    holds = (counts >= need) & signals
    if not holds[-1]:
        return None
    broken = np.flatnonzero(~holds)
    begin = int(broken[-1]) + 1 if len(broken) else 0
    first = max(0, begin - window + 1)
    return first + int(np.argmax(signals[first : begin + 1]))


def plain(value: float) -> float | str:
    """JSON has no NaN and no inf."""
    return float(value) if math.isfinite(value) else str(value)


def rolling(values: NDArray[np.float64], window: int, function: Any) -> NDArray[np.float64]:
    """(n,) function over each `window` values that end here; NaN for the first window − 1."""
    found = np.full(len(values), np.nan)
    if len(values) >= window:
        windows = np.lib.stride_tricks.sliding_window_view(values, window)
        found[window - 1 :] = function(windows, axis=1)
    return found


def best_before(values: NDArray[np.float64], lag: int) -> NDArray[np.float64]:
    """(n,) the least value up to `lag` evaluations ago, NaN left out; NaN where there was none."""
    found = np.full(len(values), np.nan)
    if len(values) > lag:
        found[lag:] = np.fmin.accumulate(values[: len(values) - lag])
    return found


@dataclass(frozen=True)
class Stalling(Detector):
    """Quality stands still: the best CFD ratio of the last `over` evaluations is not below `improvement` times the best
    before them, or it is good already (`good`; there, its noise is as large as any progress). Early in a run a G that
    will learn looks collapsed, or dominated, until it takes off, which is a matter of steps (`takeoff`); of a run that
    is hardly longer than that, nothing is said before LATE of it."""

    earliest: float = threshold(0.35, 0, 1)
    takeoff: int = threshold(TAKEOFF, 0, 100_000)
    over: int = threshold(5, 2, 100)
    improvement: float = threshold(0.95, 0, 1)
    good: float = threshold(4.0, 0, 1000)

    def begins(self, budget: int) -> float:
        return max(self.earliest * budget, min(self.takeoff, LATE * budget))

    def stalled(self, at: Evaluations) -> Signals:
        cfd = at[CFD_RATIO]
        worse = rolling(cfd, self.over, np.min) > self.improvement * best_before(cfd, self.over)
        standing: Signals = worse | (cfd < self.good)
        return standing

    def improving(self, at: Evaluations) -> Signals:
        """Not the same as not standing still: there must be evidence."""
        cfd = at[CFD_RATIO]
        better = rolling(cfd, self.over, np.min) <= self.improvement * best_before(cfd, self.over)
        improving: Signals = better & (cfd >= self.good)
        return improving


def starting_value(values: np.ndarray) -> float:
    """The starting value; NaN where there is none."""
    return float(values[0]) if len(values) else float("nan")
