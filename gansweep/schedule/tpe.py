"""Asks optuna for the next trial of a search. No Ray; optuna is loaded when it is asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gansweep.plan.search import Distribution, OptunaSearch

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Result:
    """What came of a suggestion. score: less is better, inf for a failure.

    cut: where ASHA ended it, in thousandths of its steps; None for one that it did not end.
    """

    varied: Mapping[str, Any]
    score: float
    cut: int | None = None


def suggest(
    search: OptunaSearch, number: int, results: Sequence[Result], running: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The varied values of trial `number`: the same for the same arguments. running: values whose results are open."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=_seed(f"{search.seed}:{number}"))
    study = optuna.create_study(sampler=sampler)
    space = {key: _distribution(search.over[key]) for key in sorted(search.over)}
    study.add_trials([_told(search, space, result) for result in results])
    study.add_trials([_open(search, space, varied) for varied in running])
    chosen = study.ask(space).params
    return {key: _value(distribution, chosen[key]) for key, distribution in search.over.items()}


def _told(search: OptunaSearch, space: dict[str, BaseDistribution], result: Result) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    params = _params(search, result.varied)
    if math.isfinite(result.score) and result.cut is None:
        return create_trial(params=params, distributions=space, value=result.score)
    # TPE ranks what was pruned behind all that was not, by how far it came: a failure is worst, as it came nowhere.
    reached = result.cut if math.isfinite(result.score) and result.cut else 0
    values = {reached: result.score}
    return create_trial(params=params, distributions=space, state=TrialState.PRUNED, intermediate_values=values)


def _open(search: OptunaSearch, space: dict[str, BaseDistribution], varied: Mapping[str, Any]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    return create_trial(params=_params(search, varied), distributions=space, state=TrialState.RUNNING)


def _distribution(of: Distribution) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if of.choice is not None:
        return CategoricalDistribution(range(len(of.choice)))
    if of.int_uniform is not None:
        return IntDistribution(of.int_uniform[0], of.int_uniform[1])
    bounds = of.log_uniform or of.uniform
    assert bounds is not None
    return FloatDistribution(bounds[0], bounds[1], log=of.log_uniform is not None)


def _params(search: OptunaSearch, varied: Mapping[str, Any]) -> dict[str, Any]:
    """As optuna knows them: a choice by its place in the list, since optuna takes no lists or mappings."""
    choices = {key: distribution.choice for key, distribution in search.over.items()}
    return {k: v if (choice := choices[k]) is None else choice.index(v) for k, v in varied.items()}


def _value(distribution: Distribution, chosen: Any) -> Any:
    if distribution.choice is not None:
        return distribution.choice[chosen]
    return int(chosen) if distribution.int_uniform is not None else float(chosen)


def _seed(stream: str) -> int:
    """32 bits, another stream for every trial: a sampler with one seed would propose its first points again."""
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4])
