"""How much of a GPU each trial takes, so that as many share one as fit. Pure; measured by schedule/memory.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gansweep.schedule.cost import shape_of
from gansweep.schedule.planned import Planned

# Of a GPU's free memory, left to trials that share it: the peak was measured over a few steps of one trial. Later ones
# may add fragments of the allocator's, workspaces of cuDNN's, or D's copy for an evaluation, some percent of a trial
# each; and what shares are rounded to (below) is up to 0.01 % a trial. One alone needs no margin.
MARGIN = 0.1
UNITS = 10_000  # Ray counts GPUs in ten-thousandths


@dataclass(frozen=True)
class Shares:
    """GPUs of one trial: by its shape, and of any other."""

    by_shape: Mapping[str, float]
    other: float

    @classmethod
    def equal(cls, gpus: float) -> Shares:
        return cls({}, gpus)

    def of(self, planned: Planned) -> float:
        return self.by_shape.get(shape_of(planned), self.other) if self.by_shape else self.other

    @property
    def least(self) -> float:
        return min(self.by_shape.values(), default=self.other)


ON_CPU = Shares.equal(0.0)


def together(peak: int, free: int, *, margin: float = MARGIN) -> int:
    """Trials of this peak, in bytes, that share a GPU with so many bytes free; 0 where not even one fits."""
    if peak > free:
        return 0
    return max(1, int(free * (1 - margin) // peak))


def share(peak: int, free: int, cores: float, cpus: int, trials: float) -> float:
    """GPUs of one trial, at most 1; 0 where it does not fit on one.

    peak, free: bytes, as in `together`. cores: CPU cores for each GPU; cpus: those of one trial. trials: waiting, for
    each GPU: fewer than fit are spread over all GPUs instead of crowding one.
    """
    fit = together(peak, free)
    if not fit:
        return 0.0
    most = max(1, min(fit, int(cores // cpus), math.ceil(trials)))
    return UNITS // most / UNITS  # rounded down: rounded up, the last one would not fit
