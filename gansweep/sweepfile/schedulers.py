"""Schedulers: rules that end trials early because others are better."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from gansweep.records.ranking import WORST
from gansweep.section import Section, by_method, check_method


class SchedulerMethod(Section):
    """A scheduler. A subclass declares `method: Literal["its name"]`, and its keys."""

    method: str

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules by which the scheduler may end trials, as named in outcomes."""
        return ()

    def rungs(self, steps: int, every: int) -> tuple[int, ...]:
        """Return the steps at which a trial of `steps` steps waits for a decision.

        Args:
            steps: Number of steps.
            every: Steps between two values of the objective; 0 if there are none.
        """
        return ()

    def survives(self, score: float, scores: Collection[float]) -> bool:
        """Return whether a trial continues from a rung.

        Args:
            score: Score of the trial at the rung; less is better.
            scores: Scores of all trials that have reached the rung, including this one.
        """
        return True


class Fifo(SchedulerMethod):
    """Every trial trains to its end."""

    method: Literal["fifo"] = "fifo"


class Asha(SchedulerMethod):
    """Asynchronous successive halving (Li et al. 2020), in the variant that stops trials.

    Rungs are at the shares grace, grace · reduction, grace · reduction² … of the steps. A trial continues from a rung
    only if its objective is among the best 1 / reduction of the values measured there so far.
    """

    method: Literal["asha"]
    grace: Annotated[float, Field(gt=0, lt=1, description="asha: share of the steps before the first rung")] = 0.1
    reduction: Annotated[float, Field(ge=1.5, le=100, description="asha: 1 in this number of trials continues")] = 3.0

    @property
    def rules(self) -> tuple[str, ...]:
        return (self.method,)

    def rungs(self, steps: int, every: int) -> tuple[int, ...]:
        shares, found = self.grace, []
        while every and shares < 1:
            found.append(math.ceil(shares * steps / every - 1e-9) * every)
            shares *= self.reduction
        return tuple(step for step in found if step < steps)

    def survives(self, score: float, scores: Collection[float]) -> bool:
        better = sum(other < score for other in scores)
        return score != WORST and better < max(1.0, len(scores) / self.reduction)


SCHEDULERS: dict[str, type[SchedulerMethod]] = {
    name: scheduler for scheduler in (Fifo, Asha) for name in get_args(scheduler.model_fields["method"].annotation)
}


def _section(given: Any) -> Any:
    """Return the section `scheduler` as a mapping. Raises ValueError if it has keys of another scheduler."""
    if given is None:
        raise ValueError(f"must be {', '.join(SCHEDULERS)} or a mapping with method, got nothing")
    if not isinstance(given, dict | str):
        return given
    found = {"method": given} if isinstance(given, str) else {"method": "fifo", **given}
    check_method(found, SCHEDULERS)
    own = SCHEDULERS[found["method"]]
    for name, other in SCHEDULERS.items():
        if foreign := [key for key in found if key not in own.model_fields and key in other.model_fields]:
            verb = "go" if len(foreign) > 1 else "goes"
            raise ValueError(f"{' and '.join(foreign)} {verb} with method: {name}, not {found['method']}")
    return found


if TYPE_CHECKING:
    Scheduler = SchedulerMethod
else:
    _any = by_method(SCHEDULERS)
    Scheduler = Annotated[_any, BeforeValidator(_section, json_schema_input_type=_any | Literal[tuple(SCHEDULERS)])]
