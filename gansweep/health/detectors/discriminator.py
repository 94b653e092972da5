"""Detectors of dominance, failure and overfitting of D, from its outputs.

The outputs of a critic have neither sign nor scale. `critic_stalled` and `discriminator_failure` (by its AUC) apply to
critics as well. The others need metrics of probabilities, which are not recorded for a critic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.health import metrics as m
from gansweep.health.detectors.base import EvaluationDetector, Stalling, threshold
from gansweep.health.kinds import INFORMATION_COLOUR, Kind, Standing
from gansweep.words import counted

if TYPE_CHECKING:
    from gansweep.health.detectors.base import Signals
    from gansweep.health.history import Evaluations

Figures = Mapping[str, float]


@dataclass(frozen=True)
class _Separation(Stalling):
    """D's AUC stays close to 1 over the evaluations in which the FD ratio has stopped improving."""

    over: int = threshold(5, 2, 100)
    improvement: float = threshold(0.9, 0, 1)
    auc: float = threshold(0.99, 0.5, 1, "AUC of D above {:g}")

    def separated(self, at: Evaluations) -> Signals:
        above: Signals = at.rolling(m.D_AUC, self.over, "median") > self.auc
        return above

    def figures(self, at: Evaluations) -> dict[str, float]:
        recorded = (k for k in (m.D_AUC, m.D_FRESH) if len(at.history[k]))
        return {
            **{k: float(at.rolling(k, self.over, "median")[-1]) for k in recorded},
            m.FD_RATIO: at.last(m.FD_RATIO),
            "best_fd_ratio_before": float(at.best_before(m.FD_RATIO, self.over)[-1]),
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

    kind = Kind(
        "discriminator_dominance",
        Standing.FAILURE,
        "D is so far ahead that G learns nothing from it",
        "#CC6677",
        stops=True,
    )
    over: int = threshold(10, 2, 100)
    improvement: float = threshold(0.99, 0, 1)
    sigma: float = threshold(0.1, 0, 1, "σ(D(G(z))) below {:g}")
    start: float = threshold(0.1, 0, 1, "FD ratio above {:g} times the first")

    def signals(self, at: Evaluations) -> Signals:
        weak = at.rolling(m.D_FRESH, self.over, "median") < self.sigma
        poor = at[m.FD_RATIO] > self.start * at.first(m.FD_RATIO)
        return self.separated(at) & weak & self.stalled(at) & poor & (not at.history.critic)

    def reason(self, found: Figures) -> str:
        return f"{self.signs(found)}, and quality has not improved over {counted(self.over, 'evaluation')}"


@dataclass(frozen=True)
class DiscriminatorStrong(_Separation):
    """D shows the signs of dominance while quality still improves: not a failure."""

    kind = Kind(
        "discriminator_strong",
        Standing.INFORMATION,
        "D shows the signs of dominance, but quality still improves",
        INFORMATION_COLOUR,
    )
    sigma: float = threshold(0.1, 0, 1, "σ(D(G(z))) below {:g}")

    def signals(self, at: Evaluations) -> Signals:
        weak = at.rolling(m.D_FRESH, self.over, "median") < self.sigma
        return self.separated(at) & weak & self.improving(at) & (not at.history.critic)

    def reason(self, found: Figures) -> str:
        return f"{self.signs(found)}, but quality still improves (FD ratio {found[m.FD_RATIO]:.0f})"


@dataclass(frozen=True)
class CriticStalled(_Separation):
    """A Wasserstein critic separates everything and quality stands still. σ means nothing for a critic."""

    kind = Kind(
        "critic_stalled",
        Standing.INFORMATION,
        "a Wasserstein critic separates everything and quality stands still",
        INFORMATION_COLOUR,
    )

    def signals(self, at: Evaluations) -> Signals:
        return self.separated(at) & self.stalled(at) & at.history.critic

    def reason(self, found: Figures) -> str:
        return (
            f"the critic separates fresh fakes with AUC {found[m.D_AUC]:.3f},"
            f" and quality has not improved over {counted(self.over, 'evaluation')}"
        )


@dataclass(frozen=True)
class DiscriminatorFailure(EvaluationDetector):
    """D separates nothing although the samples are poor: G gets no direction.

    `std` is a standard deviation of logits. That of a critic depends on its weights (clipped to ± 0.01 they give
    outputs of 1e-3 and less, which still separate), so for a critic only the AUC counts.
    """

    kind = Kind(
        "discriminator_failure",
        Standing.INFORMATION,
        "D separates nothing although the samples are poor",
        INFORMATION_COLOUR,
    )
    need: int = threshold(4, 1, 100)
    window: int = threshold(5, 1, 100)
    auc: float = threshold(0.05, 0, 0.5, "AUC of D within {:g} of 0.5")
    std: float = threshold(1e-3, 0, 1, "or deviation of D below {:g}")
    share: float = threshold(0.25, 0, 1, "FD ratio above {:g} times the first")

    def signals(self, at: Evaluations) -> Signals:
        constant = (at[m.D_STD] < self.std) & (not at.history.critic)
        blind = (abs(at[m.D_AUC] - 0.5) <= self.auc) | constant
        return blind & (at[m.FD_RATIO] > self.share * at.first(m.FD_RATIO))

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {k: at.last(k) for k in (m.D_AUC, m.D_STD, m.FD_RATIO)}

    def reason(self, found: Figures) -> str:
        return f"D cannot tell poor fakes from real images (AUC {found[m.D_AUC]:.2f}, FD ratio {found[m.FD_RATIO]:.0f})"


@dataclass(frozen=True)
class DiscriminatorOverfitting(EvaluationDetector):
    """D has memorised its training images (Karras et al. 2020). Needs held-out images; not for critics."""

    kind = Kind(
        "discriminator_overfitting", Standing.INFORMATION, "D has memorised its training images", INFORMATION_COLOUR
    )
    need: int = threshold(4, 1, 100)
    window: int = threshold(5, 1, 100)
    r_v: float = threshold(0.5, 0, 1, "r_v above {:g}")
    gap: float = threshold(0.1, 0, 1, "accuracy gap of D above {:g}")

    def signals(self, at: Evaluations) -> Signals:
        return (at[m.R_V] > self.r_v) & (at[m.D_GAP] > self.gap)

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {k: at.last(k) for k in (m.R_V, m.D_GAP)}

    def reason(self, found: Figures) -> str:
        return (
            f"D is {found[m.D_GAP]:.0%} more often right on training images than on held-out ones"
            f" (r_v {found[m.R_V]:.2f})"
        )
