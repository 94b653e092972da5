"""All detectors together: what is said of a run, at any moment of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gansweep.health import detectors as d
from gansweep.health import discriminator as of_d
from gansweep.health.detector import BURN_IN, Detector, plain
from gansweep.health.detectors import divergence
from gansweep.health.history import History
from gansweep.health.metrics import CFD_RATIO
from gansweep.health.verdict import Verdict, by_precedence
from gansweep.words import counted

ENOUGH = 5  # evaluations after the burn-in, for a run to be called healthy


@dataclass(frozen=True)
class Judge:
    """Called with a history: what holds at the end of it, by precedence. Pure: the same history, the same verdicts."""

    detectors: tuple[Detector, ...] = (
        d.DeadGenerator(),
        d.ModeCollapse(),
        of_d.DiscriminatorDominance(),
        d.NotLearning(),
        d.LateInstability(),
        d.ModeDropping(),
        d.ConditionIgnored(),
        of_d.DiscriminatorStrong(),
        of_d.CriticStalled(),
        of_d.DiscriminatorFailure(),
        of_d.DiscriminatorOverfitting(),
        d.Imbalance(),
    )

    def __call__(self, history: History) -> tuple[Verdict, ...]:
        """Every kind that holds; none while nothing does."""
        found = [divergence(history), *(detector(history) for detector in self.detectors)]
        return by_precedence(v for v in found if v is not None)

    def conclude(self, history: History) -> tuple[Verdict, ...]:
        """The same, with `healthy` or `undecided` where no failure holds."""
        found = self(history)
        return found if any(v.is_failure for v in found) else by_precedence([*found, _conclusion(history)])

    def with_thresholds(self, thresholds: Mapping[str, Mapping[str, Any]]) -> Judge:
        """kind → field → value. Raises ValueError(message, kind[, field]) for what is unknown or out of range."""
        known = {detector.kind: detector for detector in self.detectors}
        for kind, values in thresholds.items():
            if kind not in known:
                raise ValueError(f"no kind has thresholds by this name; known: {', '.join(known)}", kind)
            if not isinstance(values, Mapping):
                raise ValueError(f"must be a mapping of thresholds, got {values!r}", kind)
            names = [field.name for field in fields(known[kind])]
            for name in values:
                if name not in names:
                    raise ValueError(f"unknown threshold; known here: {', '.join(names)}", kind, name)
            try:
                known[kind] = replace(known[kind], **values)
            except ValueError as error:
                message, name = error.args
                raise ValueError(message, kind, name) from None
        return replace(self, detectors=tuple(known.values()))


def _conclusion(history: History) -> Verdict:
    steps = history.evaluations()
    steps = steps[steps >= BURN_IN * history.budget]
    cfd = history.at(steps, CFD_RATIO)
    finite = int(np.isfinite(cfd).sum())
    if finite < ENOUGH:
        reason = f"undecided: {counted(finite, 'evaluation')} after the burn-in, {ENOUGH} are needed"
        return Verdict("undecided", 0, reason, {"figures": {"evaluations": finite}})
    best = float(np.nanmin(cfd))
    reason = f"healthy: no failure in {counted(finite, 'evaluation')}, best CFD ratio {best:.3g}"
    return Verdict("healthy", 0, reason, {"figures": {CFD_RATIO: plain(cfd[-1]), "best_cfd_ratio": best}})
