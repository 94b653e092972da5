"""The base classes of detectors: thresholds with ranges, and how signals at single evaluations become a finding.

A detector is a frozen dataclass of thresholds. Called with a history, it decides whether its kind of verdict holds at
the last step of the history. A live trial and a finished one are thus judged alike. A metric that was not recorded,
that is NaN, or whose history is too short is no signal: missing evidence never triggers a verdict.

Modules of detectors import NumPy in functions only, because the command line reads the registry at its start.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from gansweep.health.kinds import Kind, title
from gansweep.health.metrics import FD_RATIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gansweep.health.history import Evaluations, History

    Signals = NDArray[np.bool_]

Thresholds = Mapping[str, Mapping[str, float]]  # kind → threshold → value

BURN_IN = 0.1  # share of the budget in which only divergence counts: no G has learned anything yet
TAKEOFF = 1_000  # steps by which a G that learns at all has taken off; before, it looks like one that never will
LATE = 0.7  # share of the budget after which it is too late to wait for that
LEAST = 50  # steps before which every G looks dead: nothing but divergence is found
PERSISTS = 3  # evaluations that a verdict lasts after its signals sufficed, the first of them included


def threshold(default: float, low: float, high: float, words: str = "") -> Any:
    """Return a dataclass field that is a threshold.

    Args:
        default: Default value. If it is an integer, all values must be integers.
        low, high: Least and greatest value.
        words: Description of the threshold in reports, with a format for the value: "coverage below {:g}". If empty,
            the field of the same name in a base class provides it.
    """
    return field(default=default, metadata={"range": (low, high), "words": words})


@dataclass(frozen=True)
class Finding:
    """What a detector found in a history.

    Args:
        since_step: The onset: the first step at which it shows.
        reason: A sentence with the figures that decided.
        evidence: The figures and thresholds that decided, as data without NaN and infinities.
    """

    since_step: int
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Detector(ABC):
    """Detector of one kind of verdict. Its dataclass fields are its thresholds."""

    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        """Raise ValueError for a threshold that has the wrong type or is out of its range."""
        for one in fields(self):
            value, (low, high) = getattr(self, one.name), one.metadata["range"]
            whole = isinstance(one.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise ValueError(f"{one.name}: must be a {'whole ' if whole else ''}number, got {value!r}")
            if not low <= value <= high:  # false for NaN
                raise ValueError(f"{one.name}: must lie between {low:g} and {high:g}, got {str(value)[:12]}")

    @abstractmethod
    def __call__(self, history: History) -> Finding | None:
        """Return the finding at the last step of a history; None if this kind of verdict does not hold there."""

    def thresholds(self) -> dict[str, float]:
        """Return the value of each threshold: name → value."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def in_words(self) -> str:
        """Return the thresholds in words; "" if the detector has none."""
        return ", ".join(self._phrases(self.thresholds()))

    def _phrases(self, thresholds: Mapping[str, float]) -> Iterator[str]:
        """Yield the description of each threshold with its value. `in_words` joins them."""
        for name, value in thresholds.items():
            yield self._words(name).format(value)

    @classmethod
    def _words(cls, name: str) -> str:
        declared = (vars(base).get("__dataclass_fields__", {}).get(name) for base in cls.__mro__)
        return next((one.metadata["words"] for one in declared if one and one.metadata["words"]), name + " {:g}")


@dataclass(frozen=True)
class Spell:
    """A series of consecutive evaluations at which a kind of verdict holds.

    Args:
        since_step: The onset: the first step at which it shows.
        held_step: The step of the last evaluation at which its signals sufficed.
        until_step: The step of the first evaluation at which it no longer holds; None if it holds at the last one.
    """

    since_step: int
    held_step: int
    until_step: int | None


@dataclass(frozen=True)
class EvaluationDetector(Detector):
    """A detector of signals at evaluations.

    It fires if at least `need` of the last `window` evaluations show the signal, the last one among them. It never
    fires before the share `earliest` of the budget, nor before step `from_step`, because a shorter run shows nothing
    yet. A verdict that holds at one evaluation also holds at the next two, so that it does not come and go with the
    noise of single evaluations.
    """

    need: int = threshold(1, 1, 100)
    window: int = threshold(1, 1, 100)
    earliest: float = threshold(BURN_IN, 0, 1, "not before {:g} of the steps")
    from_step: int = threshold(LEAST, 0, 100_000, "nor before step {:,}")

    def __post_init__(self) -> None:
        """Raise ValueError for a threshold that has the wrong type or is out of its range, or if `need` > `window`."""
        super().__post_init__()
        if self.need > self.window:
            raise ValueError(f"need: must be at most window, {self.window}, got {self.need}")

    def _phrases(self, thresholds: Mapping[str, float]) -> Iterator[str]:
        if self.window > 1:
            yield f"signal in at least {self.need} of the last {self.window} evaluations"
        rest = {name: value for name, value in thresholds.items() if name not in ("need", "window")}
        yield from super()._phrases(rest)

    @abstractmethod
    def signals(self, at: Evaluations) -> Signals:
        """Return (n,) whether each evaluation shows the signal. Only that evaluation and earlier ones may be used."""

    @abstractmethod
    def reason(self, found: Mapping[str, float]) -> str:
        """Return a finding's figures in words. `found`: Result of `figures`."""

    @abstractmethod
    def figures(self, at: Evaluations) -> dict[str, float]:
        """Return the numbers that support the finding at the last evaluation."""

    def __call__(self, history: History) -> Finding | None:
        import numpy as np

        spells = [*self.spells(history)]
        if not spells or spells[-1].until_step is not None:
            return None
        last = spells[-1]
        # An earlier spell that had not ended when this one began is part of it.
        earlier = [one for one in spells if one.until_step is not None and one.until_step <= last.since_step]
        with np.errstate(all="ignore"):
            figures = self.figures(history.until(last.held_step).evaluated())
        at = history.evaluated()
        signals = self._signals(at)[at.steps <= last.held_step]
        evidence = {
            "figures": {k: plain(v) for k, v in figures.items()},
            "thresholds": self.thresholds(),
            "evaluations": int(signals[-self.window :].sum()),
            "at_step": last.held_step,
            **({"earlier": [[one.since_step, one.until_step] for one in earlier]} if earlier else {}),
        }
        words = f"{title(self.kind.name)} since step {last.since_step:,}: {self.reason(figures)}"
        if last.held_step < int(at.steps[-1]):
            words += f" (at step {last.held_step:,})"
        if earlier:
            before = (f"from step {one.since_step:,} to {one.until_step:,}" for one in earlier)
            words += f"; it held before {' and '.join(before)}"
        return Finding(last.since_step, words, evidence)

    def spells(self, history: History) -> Iterator[Spell]:
        """Yield the spells over which this kind of verdict holds in a history, in order."""
        import numpy as np

        at = history.evaluated()
        if not len(at):
            return
        signals = self._signals(at)
        shows = (_in_window(signals, self.window) >= self.need) & signals
        with np.errstate(all="ignore"):
            holds = shows & self.admits(at) & (at.steps >= self.begins(history.budget))
        given = _in_window(holds, PERSISTS) > 0
        edges = np.flatnonzero(np.diff(np.concatenate([[False], given, [False]]).astype(int)))
        for begin, end in edges.reshape(-1, 2).tolist():
            broken = np.flatnonzero(~shows[:begin])
            shown = int(broken[-1]) + 1 if len(broken) else 0
            first = max(0, shown - self.window + 1)
            onset = self._onset(first + int(np.argmax(signals[first : shown + 1])))
            held = int(np.flatnonzero(holds[:end])[-1])
            yield Spell(int(at.steps[onset]), int(at.steps[held]), int(at.steps[end]) if end < len(at) else None)

    def begins(self, budget: int) -> float:
        """Return the first step at which it may fire in a run of `budget` steps."""
        return max(self.earliest * budget, self.from_step)

    def admits(self, at: Evaluations) -> Signals:
        """Return (n,) whether the detector is allowed to fire at each evaluation. If not, signals are ignored."""
        admitted: Signals = at.steps >= 0
        return admitted

    def _signals(self, at: Evaluations) -> Signals:
        import numpy as np

        with np.errstate(all="ignore"):
            found: Signals = self.signals(at) & (at.steps >= BURN_IN * at.history.budget)
        return found

    def _onset(self, first_signal: int) -> int:
        """Return the index of the evaluation that is the onset, given that of the first evaluation with a signal."""
        return first_signal


def _in_window(signals: Signals, window: int) -> NDArray[np.int64]:
    """Return (n,) the number of signals among the last `window` evaluations up to each."""
    import numpy as np

    counts: NDArray[np.int64] = np.convolve(signals.astype(int), np.ones(window, int))[: len(signals)]
    return counts


def plain(value: float) -> float | str:
    """Return a value that JSON can represent: a finite number as it is, NaN and infinities as text."""
    return float(value) if math.isfinite(value) else str(value)


@dataclass(frozen=True)
class Stalling(EvaluationDetector):
    """A detector that, before the last step of the budget, fires only while quality stands still.

    Quality stands still if the best FD ratio of the last `over` evaluations is above `improvement` times the best one
    before them, or if the FD ratio is below `good`, where its noise is as large as any progress.

    Early in a run, a G that will learn looks collapsed or dominated until it takes off, which takes a number of steps.
    The detector therefore does not fire before step `takeoff` or, in a run so short that it comes first, before the
    share LATE of the budget.
    """

    earliest: float = threshold(0.35, 0, 1)
    takeoff: int = threshold(TAKEOFF, 0, 100_000, "nor before step {:,}")
    over: int = threshold(5, 2, 100, "standstill over {:g} evaluations")
    improvement: float = threshold(0.95, 0, 1, "FD ratio above {:g} times the best before them")
    good: float = threshold(4.0, 0, 1000, "or below {:g}")

    def begins(self, budget: int) -> float:
        return max(super().begins(budget), min(self.takeoff, LATE * budget))

    def admits(self, at: Evaluations) -> Signals:
        return self.stalled(at) | (at.steps >= at.history.budget)

    def stalled(self, at: Evaluations) -> Signals:
        """Return (n,) whether quality stands still at each evaluation."""
        worse = at.rolling(FD_RATIO, self.over, "min") > self.improvement * at.best_before(FD_RATIO, self.over)
        standing: Signals = worse | (at[FD_RATIO] < self.good)
        return standing
