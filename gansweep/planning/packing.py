"""Number of trials per GPU, and the share of a GPU that each of them reserves. Pure functions.

The number of trials per GPU is limited by memory, CPU cores and waiting trials. Within these limits, it is the smallest
number that trains about as many steps per second as the best number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gansweep.planning.cost import shape_of
from gansweep.planning.trial import PlannedTrial
from gansweep.records.devices import CPU
from gansweep.sweepfile.schema import Resources

# Share of a GPU's free memory that is kept free if trials share the GPU. The peak is measured over a few steps of one
# trial. Later, fragmentation, workspaces of cuDNN and copies for checkpoints may each add a few percent per trial, and
# the rounding of the shares (below) up to 0.01 %. A trial that does not share its GPU needs no margin.
MARGIN = 0.1
UNITS = 10_000  # Ray counts GPUs in ten-thousandths
GAIN = 0.05  # a smaller gain in steps per second is not worth more trials per GPU
MOST_MEASURED = 32  # trials whose throughput is measured
MOST_SHAPES = 4  # shapes that are measured: each takes about ten seconds

Rates = Mapping[int, float]  # number of trials per GPU → their steps per second together


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
        """Return shares that are the same for all trials."""
        return cls({}, gpus)

    @classmethod
    def expected(cls, resources: Resources, available_gpus: float) -> Shares:
        """Return the shares that are assumed before `auto` measures.

        They are zero for the same trials as the shares that `auto` will choose.
        """
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
        """The smallest share of the shapes in `by_shape`; `other` if there are none."""
        return min(self.by_shape.values(), default=self.other)


ON_CPU = Shares.equal(0.0)


def together(peak: int, free: int, *, margin: float = MARGIN) -> int:
    """Return the number of trials whose memory fits on a GPU; 0 if not even one fits.

    Args:
        peak: Peak memory of one trial in bytes.
        free: Free memory of the GPU in bytes.
        margin: Share of the free memory that stays free if trials share the GPU.
    """
    if peak > free:
        return 0
    return max(1, int(free * (1 - margin) // peak))


def wanted(cores: float, cpus: int, trials: float) -> int:
    """Return the largest number of trials per GPU that cores and waiting trials allow, at least 1.

    Memory is not considered; it may allow fewer.

    Args:
        cores: Number of CPU cores per GPU.
        cpus: Number of CPU cores per trial.
        trials: Number of waiting trials per GPU. If it is less than the number that fits, trials are spread over GPUs.
    """
    return max(1, min(int(cores // cpus), math.ceil(trials)))


def measured_numbers(most: int) -> Iterator[int]:
    """Yield the numbers of trials per GPU to measure: 1, 2, 4, … and the smaller of `most` and MOST_MEASURED."""
    last, number = min(most, MOST_MEASURED), 1
    while number < last:
        yield number
        number *= 2
    yield last


def settled(rates: Rates) -> bool:
    """Whether the largest measured number of trials gains so little over the previous one that measuring may end."""
    *_, before, last = (0, 0, *sorted(rates))
    return before > 0 and enough(rates[before], rates[last])


def covers(rates: Rates, most: int) -> bool:
    """Whether measured rates suffice to choose a number of trials per GPU that is at most `most`."""
    return most < 2 or settled(rates) or max(rates, default=0) >= min(most, MOST_MEASURED)


def choose(rates: Rates, most: int) -> int:
    """Return the number of trials per GPU: the smallest one whose rate is within GAIN of the best rate.

    Args:
        rates: Measured rates. If they are empty, `most` is returned: the rates are unknown, or do not apply because
            trials take turns on the GPU.
        most: Largest number that memory, cores and waiting trials allow.
    """
    if not rates or not most:
        return most
    allowed = {number: rate_of(rates, number) for number in (*rates, most) if number <= most}
    best = max(allowed.values())
    return min(number for number, rate in allowed.items() if enough(rate, best))


def enough(rate: float, best: float) -> bool:
    """Whether a rate is so close to the best one that more trials per GPU are not worth it."""
    return rate >= (1 - GAIN) * best


def rate_of(rates: Rates, number: int) -> float:
    """Return the steps per second of a number of trials per GPU.

    The rate is interpolated linearly between measured numbers, and constant beyond the largest measured number.
    """
    below = max(one for one in rates if one <= number)
    above = min((one for one in rates if one >= number), default=below)
    if above == below:
        return rates[below]
    return rates[below] + (rates[above] - rates[below]) * (number - below) / (above - below)


def measured_for(sizes: Mapping[str, float]) -> dict[str, str]:
    """Return shape → the shape that is measured in its place: the same or a larger one.

    At most MOST_SHAPES shapes are measured.

    Args:
        sizes: Shape → size of its trials, in any unit.
    """
    ordered = sorted(sizes, key=lambda shape: (sizes[shape], shape))
    shapes, groups = len(ordered), min(MOST_SHAPES, len(ordered))
    last = [shapes * (group + 1) // groups - 1 for group in range(groups)]
    return {shape: ordered[next(end for end in last if at <= end)] for at, shape in enumerate(ordered)}


def share(number: int) -> float:
    """Return the share of a GPU that each trial reserves if `number` trials share the GPU; 0 if `number` is 0."""
    return UNITS // number / UNITS if number else 0.0  # rounded down: rounded up, the last one would not fit
