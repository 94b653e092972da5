"""What a sweep file may say of its search: what varies, what is best, and which trials end early."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, field_validator, model_validator

from gansweep.health.metrics import (
    CFD_RATIO,
    CRITIC_TRAINING,
    EVALUATION,
    TRAINING,
    VALIDATION_LOSS_D,
    VALIDATION_LOSS_G,
)
from gansweep.section import Positive, Section

# What a search may look for.
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
            near = difflib.get_close_matches(metric, METRICS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}"
            raise ValueError(f"no run records {metric!r}; {hint}")
        return metric

    @model_validator(mode="after")
    def _mode_said(self) -> Self:
        if self.metric != CFD_RATIO and "mode" not in self.model_fields_set:
            raise ValueError(f"is the least or the greatest {self.metric} best? say mode: min or max")
        return self


class GridSearch(Section):
    """Every combination."""

    method: Literal["grid"]
    objective: Objective = Objective()
    over: Annotated[dict[str, list[Any]], Field(min_length=1)]

    @field_validator("over")
    @classmethod
    def _no_empty_axis(cls, over: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in over.items():
            if not values:
                raise ValueError(f"{key} has no values: an empty grid has no trials")
        return over


class Distribution(Section):
    """One distribution; `choice` picks from a list, the others from [low, high]."""

    uniform: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    log_uniform: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    int_uniform: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    choice: Annotated[list[Any], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [k for k, v in self if v is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of uniform, log_uniform, int_uniform, choice")
        bounds = None if given == ["choice"] else getattr(self, given[0])
        if bounds and bounds[0] > bounds[1]:
            raise ValueError(f"{given[0]}: the low end {bounds[0]} lies above the high end {bounds[1]}")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise ValueError("log_uniform: both ends must be greater than 0")
        return self


class RandomSearch(Section):
    """Independent draws; trial n is the same whatever `trials` is, so raising it adds trials."""

    method: Literal["random"]
    objective: Objective = Objective()
    trials: Positive
    seed: Annotated[int, Field(ge=0)] = 0
    over: Annotated[dict[str, Distribution], Field(min_length=1)]


class OptunaSearch(Section):
    """Draws that follow the objective (TPE): trial n is chosen from the results of trials 0 … n − parallel."""

    method: Literal["optuna"]
    objective: Objective = Objective()
    trials: Positive
    seed: Annotated[int, Field(ge=0)] = 0
    parallel: Annotated[int, Field(ge=1, le=1000, description="most trials at a time, whatever would fit")] = 4
    over: Annotated[dict[str, Distribution], Field(min_length=1)]


class CasesSearch(Section):
    """One configuration a case: for one factor at a time, and for arms that no grid can say."""

    method: Literal["cases"]
    objective: Objective = Objective()
    cases: Annotated[
        list[dict[str, Any]], Field(min_length=1, description="dotted key → value; {}: the file's own settings")
    ]


Search = Annotated[GridSearch | RandomSearch | OptunaSearch | CasesSearch, Discriminator("method")]


def varied_keys(search: Search) -> tuple[str, ...]:
    """Dotted keys that its trials may differ in, in the order of the file."""
    if isinstance(search, CasesSearch):
        return tuple(dict.fromkeys(key for case in search.cases for key in case))
    return tuple(search.over)


class Scheduler(Section):
    """fifo: every trial trains to its end. asha: at the rungs, after grace, grace · reduction, grace · reduction² …
    of its steps, a trial goes on only if its objective is among the best 1 / reduction there so far."""

    method: Literal["fifo", "asha"] = "fifo"
    grace: Annotated[float, Field(gt=0, lt=1, description="asha: share of the steps before the first rung")] = 0.1
    reduction: Annotated[float, Field(ge=1.5, le=100, description="asha: one in so many goes on")] = 3.0

    @model_validator(mode="after")
    def _only_asha_has_rungs(self) -> Self:
        if self.method != "asha" and self.model_fields_set - {"method"}:
            raise ValueError("grace and reduction go with method: asha")
        return self

    @property
    def rules(self) -> tuple[str, ...]:
        """What may end a trial: `asha`, or nothing."""
        return () if self.method == "fifo" else (self.method,)
