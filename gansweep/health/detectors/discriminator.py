"""Detectors of the state of the game between D and G, and of overfitting of D, from D's outputs."""

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
class DiscriminatorWon(EvaluationDetector):
    """D separates every sample from real images, and is certain of it.

    This is a fact about the game, not its cause: no recorded metric tells whether G would learn against a weaker D.

    How certainty is measured depends on the loss. σ(D) is a probability only for cross-entropy. A relativistic D gives
    a probability for pairs of a real image and a sample. For hinge and least squares, the AUC alone decides. A
    Wasserstein critic is not judged, because it is trained to separate as well as it can.
    """

    kind = Kind(
        "discriminator_won",
        Standing.STATE,
        "D tells samples from real images and is certain of it",
        INFORMATION_COLOUR,
        short="D won",
    )
    earliest: float = threshold(0.2, 0, 1)
    over: int = threshold(5, 1, 100, "medians of {:g} evaluations")
    auc: float = threshold(0.99, 0.5, 1, "AUC of D above {:g}")
    sigma: float = threshold(0.07, 0, 1, "σ(D(G(z))) below {:g}")

    def signals(self, at: Evaluations) -> Signals:
        separates: Signals = at.rolling(m.D_AUC, self.over, "median") > self.auc
        return separates & self._certain(at)

    def _certain(self, at: Evaluations) -> Signals:
        history = at.history
        if len(history[m.D_PREFERENCE]):
            certain: Signals = at.rolling(m.D_PREFERENCE, self.over, "median") > 1 - self.sigma
        elif history.logits:
            certain = at.rolling(m.D_FRESH, self.over, "median") < self.sigma
        else:
            certain = (at.steps >= 0) & (not history.critic)
        return certain

    def figures(self, at: Evaluations) -> dict[str, float]:
        of_d = {k: float(at.rolling(k, self.over, "median")[-1]) for k in _recorded(at, *_OF_D)}
        return {**of_d, **_last_losses(at)}

    def reason(self, found: Figures) -> str:
        return in_figures(found)

    def _onset(self, first_signal: int) -> int:
        return max(0, first_signal - self.over + 1)  # where the window begins


@dataclass(frozen=True)
class GeneratorWon(EvaluationDetector):
    """D does not separate samples from real images although the samples are poor, so G gets no direction from D.

    `std` is a threshold of the standard deviation of logits. For a critic only the AUC counts, because the scale of its
    outputs depends on its weights: clipped to ± 0.01, they give outputs of 1e-3 and less, which still separate.
    """

    kind = Kind(
        "generator_won",
        Standing.STATE,
        "D cannot tell poor samples from real images",
        INFORMATION_COLOUR,
        short="G won",
    )
    need: int = threshold(4, 1, 100)
    window: int = threshold(5, 1, 100)
    auc: float = threshold(0.55, 0, 1, "AUC of D at most {:g}")
    std: float = threshold(1e-3, 0, 1, "or deviation of D below {:g}")
    share: float = threshold(0.25, 0, 1, "FD ratio above {:g} times the first")

    def signals(self, at: Evaluations) -> Signals:
        constant = (at[m.D_STD] < self.std) & (not at.history.critic)
        blind = (at[m.D_AUC] <= self.auc) | constant
        return blind & (at[m.FD_RATIO] > self.share * at.first(m.FD_RATIO))

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {**{k: at.last(k) for k in _recorded(at, *_OF_D, m.D_STD, m.FD_RATIO)}, **_last_losses(at)}

    def reason(self, found: Figures) -> str:
        return f"{in_figures(found)}, while samples are poor (FD ratio {found[m.FD_RATIO]:.0f})"


@dataclass(frozen=True)
class CriticStalled(Stalling):
    """A Wasserstein critic separates all samples from real images, and quality stands still."""

    kind = Kind(
        "critic_stalled",
        Standing.INFORMATION,
        "a Wasserstein critic separates everything and quality stands still",
        INFORMATION_COLOUR,
    )
    over: int = threshold(5, 2, 100)
    improvement: float = threshold(0.9, 0, 1)
    auc: float = threshold(0.99, 0.5, 1, "AUC of D above {:g}")

    def signals(self, at: Evaluations) -> Signals:
        separates = at.rolling(m.D_AUC, self.over, "median") > self.auc
        return separates & self.stalled(at) & (at.history.critic and not len(at.history[m.D_PREFERENCE]))

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {m.D_AUC: float(at.rolling(m.D_AUC, self.over, "median")[-1]), m.FD_RATIO: at.last(m.FD_RATIO)}

    def reason(self, found: Figures) -> str:
        return (
            f"the critic separates fresh fakes with AUC {found[m.D_AUC]:.3f},"
            f" and quality has not improved over {counted(self.over, 'evaluation')}"
        )

    def _onset(self, first_signal: int) -> int:
        return max(0, first_signal - self.over + 1)  # where the window begins


_OF_D = (m.D_AUC, m.D_FRESH, m.D_PREFERENCE)
_LOSSES = (m.LOSS_D, m.LOSS_G)
_WORDS = {
    m.D_AUC: "AUC {:.3f}",
    m.D_FRESH: "σ(D(G)) {:.2f}",
    m.D_PREFERENCE: "σ(D(x) − D(G)) {:.2f}",
    m.LOSS_D: "loss_d {:.2g}",
    m.LOSS_G: "loss_g {:.2g}",
}


def in_figures(found: Figures) -> str:
    """Return the figures of a state of D and G in words: "AUC 1.000, σ(D(G)) 0.02, loss_d 0.1, loss_g 5.1"."""
    return ", ".join(words.format(found[name]) for name, words in _WORDS.items() if name in found)


def _last_losses(at: Evaluations) -> dict[str, float]:
    """Return the last recorded losses of D and G, at the last evaluation or before it: name → value."""
    return {k: float(at.history[k].values[-1]) for k in _recorded(at, *_LOSSES)}


def _recorded(at: Evaluations, *names: str) -> list[str]:
    return [name for name in names if len(at.history[name])]


@dataclass(frozen=True)
class DiscriminatorOverfitting(EvaluationDetector):
    """D has memorised its training images (Karras et al. 2020).

    The detector requires held-out images and a D that is not a critic.
    """

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
