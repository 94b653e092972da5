"""Objective of a sweep: the metric that ranks its trials, and the direction."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from gansweep.health.metrics import (
    CRITIC_TRAINING,
    EVALUATION,
    FD_RATIO,
    TRAINING,
    VALIDATION_LOSS_D,
    VALIDATION_LOSS_G,
    current,
)
from gansweep.section import PATH_SCHEMA, Section, nearest
from gansweep.usercode.path import ImportPath, is_import_path

METRICS = tuple(dict.fromkeys((*EVALUATION, *TRAINING, *CRITIC_TRAINING, VALIDATION_LOSS_D, VALIDATION_LOSS_G)))


class Objective(Section):
    """Ranking of trials without a failure verdict, by a metric at the last evaluation."""

    metric: Annotated[
        str,
        Field(
            description="a recorded metric; one of evaluation.metrics by its import path",
            json_schema_extra={"anyOf": [{"enum": list(METRICS)}, PATH_SCHEMA]},
        ),
    ] = FD_RATIO
    mode: Annotated[
        Literal["min", "max"], Field(description="the best value; required for other metrics than fd_ratio")
    ] = "min"

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if is_import_path(metric):
            return str(ImportPath.parse(metric))
        metric = current(metric)
        if metric not in METRICS:
            hint = nearest(metric, METRICS, cutoff=0.5) or f"; there are {', '.join(METRICS)}"
            raise ValueError(f"no run records {metric!r}{hint}")
        return metric

    @model_validator(mode="after")
    def _mode_given(self) -> Self:
        if self.metric != FD_RATIO and "mode" not in self.model_fields_set:
            raise ValueError(f"is the smallest or the largest {self.metric} best? set mode: min or max")
        return self
