"""The judge: applies detectors to the history of a run at any step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gansweep.errors import UserError
from gansweep.health.detectors.base import BURN_IN, LEAST, Detector, EvaluationDetector, Thresholds, plain
from gansweep.health.detectors.former import current_thresholds
from gansweep.health.detectors.registry import DETECTORS
from gansweep.health.history import History
from gansweep.health.kinds import HEALTHY, UNDECIDED, Standing, title
from gansweep.health.metrics import FD_RATIO, INTACT
from gansweep.health.verdict import Verdict, by_precedence
from gansweep.words import counted, names_like

ENOUGH = 5  # evaluations after the burn-in that a healthy run needs


@dataclass(frozen=True)
class Judge:
    """Detectors with their thresholds.

    Called with a history, a judge returns the verdicts that hold at the last step of the history, by precedence. It is
    pure: the same history gives the same verdicts, whether the run is live or finished. `judge_of` makes the judge of a
    sweep.
    """

    detectors: tuple[Detector, ...] = DETECTORS

    def __call__(self, history: History) -> tuple[Verdict, ...]:
        """Return every verdict that holds at the last step of a history, by precedence."""
        found = ((detector.kind.name, detector(history)) for detector in self.detectors)
        return by_precedence(Verdict(kind, f.since_step, f.reason, f.evidence) for kind, f in found if f is not None)

    def conclude(self, history: History) -> tuple[Verdict, ...]:
        """Return the verdicts of `__call__` and, if none of them is a failure, `healthy` or `undecided`."""
        found = self(history)
        if any(v.is_failure for v in found):
            return found
        return by_precedence([*found, _conclusion(history, self._ended(history))])

    def _ended(self, history: History) -> list[tuple[str, int, int]]:
        """Return the failures that held for a while and no longer do.

        Returns:
            (kind, first step, step at which it no longer held) of each, sorted by the last of these.
        """
        found = [
            (one.kind.name, spell.since_step, spell.until_step)
            for one in self.detectors
            if isinstance(one, EvaluationDetector) and one.kind.standing is Standing.FAILURE
            for spell in one.spells(history)
            if spell.until_step is not None
        ]
        return sorted(found, key=lambda spell: spell[2])

    def detector(self, kind: str) -> Detector | None:
        """Return the detector of a kind of verdict; None for a kind without a detector, such as `healthy`."""
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
        return Judge().with_thresholds(current_thresholds(thresholds)[0])
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"thresholds: {error}; read the sweep with the version that ran it") from None


def _conclusion(history: History, ended: Sequence[tuple[str, int, int]]) -> Verdict:
    """Return the verdict `healthy` or `undecided`. `ended`: Failures that the run has recovered from."""
    kind, figures, words = _concluded(history)
    recovered = [f"{title(name)} from step {since:,} to {until:,}" for name, since, until in ended]
    evidence: dict[str, Any] = {"figures": figures}
    if ended:
        words += f"; earlier: {' and '.join(recovered)}"
        evidence["recovered"] = [[*spell] for spell in ended]
    return Verdict(kind, 0, f"{kind}: {words}", evidence)


def _concluded(history: History) -> tuple[str, dict[str, Any], str]:
    """Return the verdict on a run without a failure.

    Returns:
        Kind (`healthy` or `undecided`), the numbers that support it, and the reason in words.
    """
    steps = history.evaluations()
    steps = steps[steps >= BURN_IN * history.budget]
    fd = history.at(steps, FD_RATIO)
    finite = int(np.isfinite(fd).sum())
    if finite < ENOUGH:
        words = f"{counted(finite, 'evaluation')} after the burn-in, {ENOUGH} are needed"
        return UNDECIDED.name, {"evaluations": finite}, words
    if steps[-1] < LEAST:
        return UNDECIDED.name, {"steps": int(steps[-1])}, f"{steps[-1]} steps are too few to judge, {LEAST} are needed"
    recorded = history[FD_RATIO]  # of all steps: a run can be at its best before the burn-in ends
    best = int(np.nanargmin(np.where(np.isfinite(recorded.values), recorded.values, np.nan)))
    value, step = float(recorded.values[best]), int(recorded.steps[best])
    words = f"no failure in {counted(finite, 'evaluation')}, best FD ratio {value:.3g} at step {step:,}"
    if not len(history[INTACT]):
        words += "; whether samples are poor was not measured"
    return HEALTHY.name, {FD_RATIO: plain(fd[-1]), "best_fd_ratio": value}, words
