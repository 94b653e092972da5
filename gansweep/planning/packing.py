"""The share of a GPU that each trial gets, so that as many as fit run on one. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gansweep.planning.cost import shape_of
from gansweep.planning.trial import PlannedTrial

# Share of a GPU's free memory that stays free where trials share it. The peak is measured over a few steps of one
# trial; later steps may add fragmentation, workspaces of cuDNN or D's copy for an evaluation, a few percent of a trial
# each, and rounding of the shares (below) up to 0.01 % per trial. A trial that has a GPU to itself needs no margin.
MARGIN = 0.1
UNITS = 10_000  # Ray counts GPUs in ten-thousandths


@dataclass(frozen=True)
class Shares:
    """Number of GPUs, or share of one, per trial: by its shape, and for all other shapes."""

    by_shape: Mapping[str, float]
    other: float

    @classmethod
    def equal(cls, gpus: float) -> Shares:
        return cls({}, gpus)

    def of(self, planned: PlannedTrial) -> float:
        return self.by_shape.get(shape_of(planned), self.other) if self.by_shape else self.other

    @property
    def least(self) -> float:
        return min(self.by_shape.values(), default=self.other)


ON_CPU = Shares.equal(0.0)


def together(peak: int, free: int, *, margin: float = MARGIN) -> int:
    """Return the number of trials that fit on a GPU, given the peak of one and the free memory in bytes."""
    if peak > free:
        return 0
    return max(1, int(free * (1 - margin) // peak))


def share(peak: int, free: int, cores: float, cpus: int, trials: float) -> float:
    """Return the share of a GPU that one trial gets; 0 where it does not fit.

    Args:
        peak: Memory of one trial in bytes.
        free: Free memory of the GPU in bytes.
        cores: Number of CPU cores per GPU.
        cpus: Number of CPU cores per trial.
        trials: Number of waiting trials per GPU: fewer than fit are spread over all GPUs.
    """
    fit = together(peak, free)
    if not fit:
        return 0.0
    most = max(1, min(fit, int(cores // cpus), math.ceil(trials)))
    return UNITS // most / UNITS  # rounded down: rounded up, the last one would not fit
