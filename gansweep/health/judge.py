"""The judge: applies detectors to the history of a run at any step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gansweep.errors import UserError
from gansweep.health.detectors.base import BURN_IN, Detector, Thresholds, plain
from gansweep.health.detectors.registry import DETECTORS
from gansweep.health.history import History
from gansweep.health.kinds import HEALTHY, UNDECIDED
from gansweep.health.metrics import FD_RATIO
from gansweep.health.verdict import Verdict, by_precedence
from gansweep.words import counted, names_like

ENOUGH = 5  # evaluations after the burn-in that a healthy run needs


@dataclass(frozen=True)
class Judge:
    """Detectors with their thresholds.

    Called with a history, it returns the verdicts at its end, by precedence. It is pure: the same history gives
    the same verdicts, whether the run is live or finished. `judge_of` makes the judge of a sweep.
    """

    detectors: tuple[Detector, ...] = DETECTORS

    def __call__(self, history: History) -> tuple[Verdict, ...]:
        """Return every verdict that holds."""
        found = ((detector.kind.name, detector(history)) for detector in self.detectors)
        return by_precedence(Verdict(kind, f.since_step, f.reason, f.evidence) for kind, f in found if f is not None)

    def conclude(self, history: History) -> tuple[Verdict, ...]:
        """Return every verdict that holds, with `healthy` or `undecided` if there is no failure."""
        found = self(history)
        return found if any(v.is_failure for v in found) else by_precedence([*found, _conclusion(history)])

    def detector(self, kind: str) -> Detector | None:
        """Return the detector of a kind, None for one that has none, such as `healthy`."""
        return next((detector for detector in self.detectors if detector.kind.name == kind), None)

    def with_thresholds(self, thresholds: Thresholds) -> Judge:
        """Return a judge that differs in some thresholds.

        Raises:
            ValueError: A kind or threshold is unknown, or a value is out of its range.
        """
        known = {detector.kind.name: detector for detector in self.detectors}
        for kind, values in thresholds.items():
            if kind not in known:
                raise ValueError(f"{kind}: no detector has this name; {names_like(kind, known)}")
            names = known[kind].thresholds()
            if unknown := next((name for name in values if name not in names), None):
                raise ValueError(f"{kind}.{unknown}: no threshold has this name; {names_like(unknown, names)}")
            try:
                known[kind] = replace(known[kind], **values)
            except ValueError as error:
                raise ValueError(f"{kind}.{error}") from None
        return replace(self, detectors=tuple(known.values()))


def judge_of(thresholds: Thresholds) -> Judge:
    """Return the judge of a sweep, which makes the verdicts of trials, tables and reports.

    Args:
        thresholds: Thresholds of the sweep file that differ from the defaults, as its plan stores them.

    Raises:
        UserError: This version of gansweep does not know some of them.
    """
    try:
        return Judge().with_thresholds(thresholds)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"thresholds: {error}; read the sweep with the version that ran it") from None


def _conclusion(history: History) -> Verdict:
    steps = history.evaluations()
    steps = steps[steps >= BURN_IN * history.budget]
    fd = history.at(steps, FD_RATIO)
    finite = int(np.isfinite(fd).sum())
    if finite < ENOUGH:
        reason = f"undecided: {counted(finite, 'evaluation')} after the burn-in, {ENOUGH} are needed"
        return Verdict(UNDECIDED.name, 0, reason, {"figures": {"evaluations": finite}})
    recorded = history[FD_RATIO]  # of all steps: a run can be at its best before the burn-in ends
    best = int(np.nanargmin(np.where(np.isfinite(recorded.values), recorded.values, np.nan)))
    value, step = float(recorded.values[best]), int(recorded.steps[best])
    reason = f"healthy: no failure in {counted(finite, 'evaluation')}, best FD ratio {value:.3g} at step {step:,}"
    return Verdict(HEALTHY.name, 0, reason, {"figures": {FD_RATIO: plain(fd[-1]), "best_fd_ratio": value}})
