"""Search by optuna's tree-structured Parzen estimator (TPE). optuna is imported when a suggestion is needed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gansweep.sweepfile.searches.distribution import Distribution, draw
from gansweep.sweepfile.searches.method import AdaptiveSearch, Result, Values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


class OptunaSearch(AdaptiveSearch):
    """Draws guided by the objective (TPE): trial n is chosen from the results of trials 0 … n − parallel."""

    axis_example = "{choice: […]}"

    method: Literal["optuna"]
    seed: Annotated[int, Field(ge=0)] = 0
    over: Annotated[dict[str, Distribution], Field(min_length=1)]

    def varied_keys(self) -> tuple[str, ...]:
        return tuple(self.over)

    def suggest(self, number: int, results: Sequence[Result], running: Sequence[Values]) -> dict[str, Any]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=_seed(f"{self.seed}:{number}"))
        study = optuna.create_study(sampler=sampler)
        space = {key: _distribution(self.over[key]) for key in sorted(self.over)}
        study.add_trials([self._finished(space, result) for result in results])
        study.add_trials([self._running(space, values) for values in running])
        chosen = study.ask(space).params
        return {key: _value(distribution, chosen[key]) for key, distribution in self.over.items()}

    def stand_ins(self, first: int = 0) -> list[dict[str, Any]]:
        """Return random draws, one for each suggestion from number `first` on."""
        return [draw(self.over, self.seed, number) for number in range(first, self.trials)]

    def extreme_values(self) -> list[dict[str, Any]]:
        axes = {key: d.choice or d.uniform or d.log_uniform or d.int_uniform or [] for key, d in self.over.items()}
        most = max(len(values) for values in axes.values())
        return [{key: values[min(i, len(values) - 1)] for key, values in axes.items()} for i in range(most)]

    def _finished(self, space: dict[str, BaseDistribution], result: Result) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        params = self._params(result.varied)
        if math.isfinite(result.score) and result.cut is None:
            return create_trial(params=params, distributions=space, value=result.score)
        # TPE ranks pruned trials behind all others, by the step reached. A failure counts as step 0, so it is worst.
        reached = result.cut if math.isfinite(result.score) and result.cut else 0
        values = {reached: result.score}
        return create_trial(params=params, distributions=space, state=TrialState.PRUNED, intermediate_values=values)

    def _running(self, space: dict[str, BaseDistribution], values: Values) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        return create_trial(params=self._params(values), distributions=space, state=TrialState.RUNNING)

    def _params(self, values: Values) -> dict[str, Any]:
        """Return values for optuna: choices are represented by their index, since they may be lists or mappings."""
        choices = {key: distribution.choice for key, distribution in self.over.items()}
        return {k: v if (choice := choices[k]) is None else choice.index(v) for k, v in values.items()}


def _distribution(of: Distribution) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if of.choice is not None:
        return CategoricalDistribution(range(len(of.choice)))
    if of.int_uniform is not None:
        return IntDistribution(of.int_uniform[0], of.int_uniform[1])
    bounds = of.log_uniform or of.uniform
    assert bounds is not None
    return FloatDistribution(bounds[0], bounds[1], log=of.log_uniform is not None)


def _value(distribution: Distribution, chosen: Any) -> Any:
    if distribution.choice is not None:
        return distribution.choice[chosen]
    return int(chosen) if distribution.int_uniform is not None else float(chosen)


def _seed(stream: str) -> int:
    """Return a seed of 32 bits for every trial: a sampler with one seed would repeat its first points."""
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4])
