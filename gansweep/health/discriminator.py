"""What D's outputs say of a run: detectors of dominance, failure and overfitting.

A critic's outputs have neither sign nor scale: of what is said here, `critic_stalled` and `discriminator_failure` (by
its AUC) are meant for one; the others need metrics.PROBABILITIES, which are not recorded of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gansweep.health import metrics as m
from gansweep.health.detector import (
    Detector,
    Evaluations,
    Signals,
    Stalling,
    best_before,
    rolling,
    starting_value,
    threshold,
)
from gansweep.words import counted

Figures = Mapping[str, float]


@dataclass(frozen=True)
class _Separation(Stalling):
    """D tells fakes from real images nearly always, over the same window."""

    over: int = threshold(5, 2, 100)
    improvement: float = threshold(0.9, 0, 1)
    auc: float = threshold(0.99, 0.5, 1)

    def separated(self, at: Evaluations) -> Signals:
        above: Signals = rolling(at[m.D_AUC], self.over, np.median) > self.auc
        return above

    def figures(self, at: Evaluations) -> dict[str, float]:
        last = slice(-self.over, None)
        return {
            **{k: float(np.median(at[k][last])) for k in (m.D_AUC, m.D_FRESH) if len(at.history[k])},
            m.CFD_RATIO: float(at[m.CFD_RATIO][-1]),
            "best_cfd_ratio_before": float(best_before(at[m.CFD_RATIO], self.over)[-1]),
            "held_out": float(len(at.history[m.R_V]) > 0),
        }

    def signs(self, found: Figures) -> str:
        images = "validation" if found["held_out"] else "training"
        return (
            f"D separates fresh fakes from {images} images with AUC {found[m.D_AUC]:.3f},"
            f" σ(D(G)) is {found[m.D_FRESH]:.2f}"
        )

    def _onset(self, first_signal: int) -> int:
        return max(0, first_signal - self.over + 1)  # where the window begins


@dataclass(frozen=True)
class DiscriminatorDominance(_Separation):
    """D is so far ahead that G learns nothing from it: Arjovsky & Bottou 2017, section 2."""

    kind = "discriminator_dominance"
    over: int = threshold(10, 2, 100)
    improvement: float = threshold(0.99, 0, 1)
    sigma: float = threshold(0.1, 0, 1)
    start: float = threshold(0.1, 0, 1)

    def signals(self, at: Evaluations) -> Signals:
        weak = rolling(at[m.D_FRESH], self.over, np.median) < self.sigma
        if at.history.critic:
            return np.zeros(len(at), bool)
        poor = at[m.CFD_RATIO] > self.start * starting_value(at[m.CFD_RATIO])
        return self.separated(at) & weak & self.stalled(at) & poor

    def reason(self, found: Figures) -> str:
        return f"{self.signs(found)}, and quality has not improved over {counted(self.over, 'evaluation')}"


@dataclass(frozen=True)
class DiscriminatorStrong(_Separation):
    """The same signs of D, and quality still improves: not a failure."""

    kind = "discriminator_strong"
    sigma: float = threshold(0.1, 0, 1)

    def signals(self, at: Evaluations) -> Signals:
        weak = rolling(at[m.D_FRESH], self.over, np.median) < self.sigma
        if at.history.critic:
            return np.zeros(len(at), bool)
        return self.separated(at) & weak & self.improving(at)

    def reason(self, found: Figures) -> str:
        return f"{self.signs(found)}, but quality still improves (CFD ratio {found[m.CFD_RATIO]:.0f})"


@dataclass(frozen=True)
class CriticStalled(_Separation):
    """A Wasserstein critic separates everything and quality stands still. σ means nothing for a critic."""

    kind = "critic_stalled"

    def signals(self, at: Evaluations) -> Signals:
        return self.separated(at) & self.stalled(at) & at.history.critic

    def reason(self, found: Figures) -> str:
        return (
            f"the critic separates fresh fakes with AUC {found[m.D_AUC]:.3f},"
            f" and quality has not improved over {counted(self.over, 'evaluation')}"
        )


@dataclass(frozen=True)
class DiscriminatorFailure(Detector):
    """D tells nothing apart although the samples are poor: G gets no direction.

    std is one of logits. That of a critic is whatever its weights allow (clipped to ± 0.01 they make outputs of
    1e-3 and less, which tell a lot), so of a critic the AUC alone counts.
    """

    kind = "discriminator_failure"
    need: int = threshold(4, 1, 100)
    window: int = threshold(5, 1, 100)
    auc: float = threshold(0.05, 0, 0.5)
    std: float = threshold(1e-3, 0, 1)
    share: float = threshold(0.25, 0, 1)

    def signals(self, at: Evaluations) -> Signals:
        constant = (at[m.D_STD] < self.std) & (not at.history.critic)
        blind = (np.abs(at[m.D_AUC] - 0.5) <= self.auc) | constant
        return blind & (at[m.CFD_RATIO] > self.share * starting_value(at[m.CFD_RATIO]))

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {k: float(at[k][-1]) for k in (m.D_AUC, m.D_STD, m.CFD_RATIO)}

    def reason(self, found: Figures) -> str:
        return (
            f"D cannot tell poor fakes from real images (AUC {found[m.D_AUC]:.2f}, CFD ratio {found[m.CFD_RATIO]:.0f})"
        )


@dataclass(frozen=True)
class DiscriminatorOverfitting(Detector):
    """D knows its training images by heart (Karras et al. 2020). Needs held-out images; not for critics."""

    kind = "discriminator_overfitting"
    need: int = threshold(4, 1, 100)
    window: int = threshold(5, 1, 100)
    r_v: float = threshold(0.5, 0, 1)
    gap: float = threshold(0.1, 0, 1)

    def signals(self, at: Evaluations) -> Signals:
        return (at[m.R_V] > self.r_v) & (at[m.D_GAP] > self.gap)

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {k: float(at[k][-1]) for k in (m.R_V, m.D_GAP)}

    def reason(self, found: Figures) -> str:
        return (
            f"D is {found[m.D_GAP]:.0%} more often right on training images than on held-out ones"
            f" (r_v {found[m.R_V]:.2f})"
        )
