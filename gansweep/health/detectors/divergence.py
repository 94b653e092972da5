"""The detector of values that are not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.health import metrics as m
from gansweep.health.detectors.base import Detector, Finding
from gansweep.health.kinds import Kind, Standing

if TYPE_CHECKING:
    from gansweep.health.history import History


@dataclass(frozen=True)
class Divergence(Detector):
    """A loss, gradient, parameter or running statistic is not finite.

    One such value at any step is enough, and the verdict is final.
    The detector has no thresholds: a rule on the norm of the parameters would only measure learning rate × steps.
    """

    kind = Kind(
        "divergence",
        Standing.FAILURE,
        "a loss, gradient, parameter or running statistic is not finite",
        "#882255",
        stops=True,
    )

    def __call__(self, history: History) -> Finding | None:
        found = history[m.NONFINITE_STEP]
        if not len(found):
            return None
        recorded, step = int(found.steps[0]), int(found.values[0])
        names = m.CRITIC_TRAINING if history.critic else m.TRAINING
        means = {name: float(history.at(found.steps[:1], name)[0]) for name in names if len(history[name])}
        bad = {name: str(mean) for name, mean in means.items() if not math.isfinite(mean)}
        what = ", ".join(f"{name} is {mean}" for name, mean in bad.items())
        reason = f"divergence at step {step:,}: {what or 'a parameter or running statistic is not finite'}"
        return Finding(step, reason, {"figures": bad or {"weights": "not finite"}, "at_step": recorded})
