"""Rules that turn a run's numbers into verdicts: pure, causal, without state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gansweep.health.metrics import TRAINING
from gansweep.health.verdict import Verdict


def divergence(values: NDArray[np.floating], steps: Sequence[int], weights_finite: bool) -> Verdict | None:
    """A non-finite loss, gradient, parameter or buffer: one is enough.

    values: (len(steps), len(TRAINING)), one row a step. weights_finite: parameters and buffers after the last
    step. An empty window says nothing about the losses.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad.any(axis=1)))
        metric = TRAINING[int(np.argmax(bad[row]))]
        what = f"{metric} is {values[row, TRAINING.index(metric)]}"
        return Verdict(
            "divergence",
            steps[row],
            f"divergence at step {steps[row]:,}: {what}",
            {metric: str(values[row][bad[row]][0])},
        )
    if not weights_finite:
        reason = f"divergence by step {steps[-1]:,}: a parameter or running statistic is not finite"
        return Verdict("divergence", steps[-1], reason, {"weights": "not finite"})
    return None
