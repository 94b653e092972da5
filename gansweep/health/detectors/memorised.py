"""Detector of samples that are near training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.health import metrics as m
from gansweep.health.detectors.base import EvaluationDetector, threshold
from gansweep.health.kinds import INFORMATION_COLOUR, Kind, Standing

if TYPE_CHECKING:
    from gansweep.health.detectors.base import Signals
    from gansweep.health.history import Evaluations


@dataclass(frozen=True)
class Memorised(EvaluationDetector):
    """Many samples are nearer to a training image than 99 % of other real images are.

    For fresh real images, the share of such images is .01: 13 or more among 256 (.05) occur in less than three of a
    million draws. If G returns training images alone, the share is at most one half: samples are compared with one half
    of the data set, and the other half determines which distance is near.

    Distances are measured between features. A sample therefore also counts if it differs from a training image only in
    details that the embedding does not see. Samples that crowd in a dense region of the data count as well, without
    being copies.
    """

    kind = Kind(
        "memorised",
        Standing.INFORMATION,
        "many samples are nearer to a training image than other real images are",
        INFORMATION_COLOUR,
    )
    need: int = threshold(3, 1, 100)
    window: int = threshold(5, 1, 100)
    share: float = threshold(0.1, 0, 1, "memorised above {:g}")

    def signals(self, at: Evaluations) -> Signals:
        above: Signals = at[m.MEMORISED] > self.share
        return above

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {m.MEMORISED: at.last(m.MEMORISED)}

    def reason(self, found: Mapping[str, float]) -> str:
        return (
            f"{found[m.MEMORISED]:.0%} of the samples are nearer to a training image than 99% of other real images are"
        )
