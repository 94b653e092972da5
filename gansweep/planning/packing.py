"""Share of a GPU of each trial, so that the maximum number that fits runs on one GPU. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gansweep.planning.cost import shape_of
from gansweep.planning.trial import PlannedTrial
from gansweep.records.devices import CPU
from gansweep.sweepfile.schema import Resources

# Share of a GPU's free memory that is kept free if trials share the GPU. The peak is measured over a few steps of one
# trial. Later, fragmentation, workspaces of cuDNN and the copy of D for an evaluation may each add a few percent per
# trial, and the rounding of the shares (below) up to 0.01 %. A trial that does not share its GPU needs no margin.
MARGIN = 0.1
UNITS = 10_000  # Ray counts GPUs in ten-thousandths


@dataclass(frozen=True)
class Shares:
    """Number of GPUs, or share of a GPU, per trial.

    Attributes:
        by_shape: Shape → share.
        other: Share of trials of all other shapes.
        cpu_stays: Whether trials that began on the CPU continue there.
    """

    by_shape: Mapping[str, float]
    other: float
    cpu_stays: bool = False

    @classmethod
    def equal(cls, gpus: float) -> Shares:
        """Return the same share for all trials."""
        return cls({}, gpus)

    @classmethod
    def expected(cls, resources: Resources, available_gpus: float) -> Shares:
        """Return shares that are zero for the same trials as those that `auto` will measure."""
        if resources.gpus != "auto":
            return cls.equal(resources.gpus)
        return cls({}, float(available_gpus > 0), cpu_stays=True)

    def of(self, planned: PlannedTrial) -> float:
        """Return the share of a trial."""
        if self.cpu_stays and planned.began_on == CPU:
            return 0.0
        return self.by_shape.get(shape_of(planned), self.other) if self.by_shape else self.other

    @property
    def least(self) -> float:
        """The smallest share."""
        return min(self.by_shape.values(), default=self.other)


ON_CPU = Shares.equal(0.0)


def together(peak: int, free: int, *, margin: float = MARGIN) -> int:
    """Return the number of trials that fit on a GPU, given the peak of one and the free memory in bytes."""
    if peak > free:
        return 0
    return max(1, int(free * (1 - margin) // peak))


def share(peak: int, free: int, cores: float, cpus: int, trials: float) -> float:
    """Return the share of a GPU for one trial; 0 if the trial does not fit.

    Args:
        peak: Memory of one trial in bytes.
        free: Free memory of the GPU in bytes.
        cores: Number of CPU cores per GPU.
        cpus: Number of CPU cores per trial.
        trials: Number of waiting trials per GPU. If it is less than the number that fits, trials are spread over GPUs.
    """
    fit = together(peak, free)
    if not fit:
        return 0.0
    most = max(1, min(fit, int(cores // cpus), math.ceil(trials)))
    return UNITS // most / UNITS  # rounded down: rounded up, the last one would not fit
