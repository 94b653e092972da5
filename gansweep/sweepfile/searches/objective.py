"""The objective of a sweep: which metric ranks its trials, and in which direction."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from gansweep.health.metrics import (
    CFD_RATIO,
    CRITIC_TRAINING,
    EVALUATION,
    TRAINING,
    VALIDATION_LOSS_D,
    VALIDATION_LOSS_G,
)
from gansweep.section import Section, nearest

METRICS = tuple(dict.fromkeys((*EVALUATION, *TRAINING, *CRITIC_TRAINING, VALIDATION_LOSS_D, VALIDATION_LOSS_G)))


class Objective(Section):
    """What is best: the metric at a run's last evaluation, among runs without a failure verdict."""

    metric: Annotated[str, Field(description="of a run's records", json_schema_extra={"enum": list(METRICS)})] = (
        CFD_RATIO
    )
    mode: Annotated[
        Literal["min", "max"], Field(description="the best value; must be given for another metric than cfd_ratio")
    ] = "min"

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            hint = nearest(metric, METRICS, cutoff=0.5) or f"; there are {', '.join(METRICS)}"
            raise ValueError(f"no run records {metric!r}{hint}")
        return metric

    @model_validator(mode="after")
    def _mode_given(self) -> Self:
        if self.metric != CFD_RATIO and "mode" not in self.model_fields_set:
            raise ValueError(f"is the least or the greatest {self.metric} best? say mode: min or max")
        return self
