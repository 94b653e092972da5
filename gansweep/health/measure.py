"""Interface of evaluation metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

if TYPE_CHECKING:
    from gansweep.health.evidence import Images, RealSide

Evidence = TypeVar("Evidence")
Value = float | Mapping[str, float] | None
OfReal = TypeVar("OfReal", bound=float | tuple[float, ...])


class Need(Enum):
    """Requirements of a metric beyond samples (or outputs of D) and real images."""

    LABELS = "classes of the images"
    CONDITION = "samples that are asked for by class"
    PROBABILITIES = "a D that is no critic: the sign of its outputs says real or fake"
    HELD_OUT = "held-out real images"
    COMPARED = "a loss that compares D's outputs for real images and samples"


@dataclass(frozen=True)
class Statistic(Generic[OfReal]):
    """A statistic of the real images that samples are compared with.

    It is computed once per data set, by the first trial, and stored. If you change the computation, change the name.

    Args:
        name: Key of the stored value.
        compute: Returns the value, a number or a tuple of numbers, for unseen real images. Import NumPy inside the
            function.
    """

    name: str
    compute: Callable[[Images], OfReal]

    def of(self, real: RealSide) -> OfReal:
        """Return the value that is stored with the real images."""
        return cast(OfReal, real.statistics[self.name])


@dataclass(frozen=True)
class Metric(Generic[Evidence]):
    """A metric of evaluations.

    Args:
        name: Its name in records. The name of a family, which has a value for each class or network, ends with a slash.
            In records, the name of the class or network follows.
        label: Its name in reports and tables.
        explanation: One sentence for glossaries, without a full stop.
        compute: Returns the value, a family's values by class, or None if the evidence does not allow one.
            `health.evidence` describes the evidence: `Samples` for most metrics, `Outputs` for those of D. Import NumPy
            inside the function, because the command line reads the registry at its start.
        needs: Requirements for recording it.
        better: Which values are better, None if neither direction is always better.
        least: Returns the number of samples below which it is not recorded.
        logarithmic: Whether it is averaged and drawn on a logarithmic scale.
        statistic: Statistic of the real images that `compute` reads. Metrics may share one.
    """

    name: str
    label: str
    explanation: str
    compute: Callable[[Evidence], Value]
    needs: frozenset[Need] = frozenset()
    better: Literal["lower", "higher"] | None = None
    least: Callable[[RealSide], int] | None = None
    logarithmic: bool = False
    statistic: Statistic[Any] | None = None

    @property
    def is_family(self) -> bool:
        """Whether it has several values: one for each class, or one for each network."""
        return self.name.endswith("/")

    def record(self, evidence: Evidence) -> dict[str, float]:
        """Return the entries for the record of an evaluation: name → value; {} if the evidence allows no value."""
        value = self.compute(evidence)
        if value is None:
            return {}
        return (
            {f"{self.name}{key}": v for key, v in value.items()} if isinstance(value, Mapping) else {self.name: value}
        )


def over(value: float, real: float) -> float:
    """Return value / real, NaN if the value of real images is 0."""
    return value / real if real else math.nan
