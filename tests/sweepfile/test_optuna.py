"""What optuna is asked, and told."""

from __future__ import annotations

import math
from statistics import mean
from typing import Any

import pytest

from gansweep.sweepfile.searches.method import Result
from gansweep.sweepfile.searches.optuna import OptunaSearch

OVER: dict[str, Any] = {
    "training.learning_rate": {"log_uniform": [1e-5, 1e-1]},
    "training.beta1": {"uniform": [0.0, 0.9]},
    "model.latent_dim": {"int_uniform": [3, 9]},
    "dataset.classes": {"choice": [["a"], ["a", "b"], None]},
}
STARTUP = 10  # results that TPE wants before it goes by them


def search(**changes: Any) -> OptunaSearch:
    return OptunaSearch.model_validate({"method": "optuna", "trials": 99, "over": OVER, **changes})


def results(scores: list[float], cut: int | None = None) -> list[Result]:
    """The points that a search draws first, each with its score."""
    return [Result(search().suggest(n, [], []), score, cut) for n, score in enumerate(scores)]


def test_is_the_same_for_the_same_arguments_and_another_for_each_number_and_seed() -> None:
    told = results([float(n) for n in range(15)])
    assert search().suggest(15, told, []) == search().suggest(15, told, [])
    assert len({str(search().suggest(n, [], [])) for n in range(20)}) == 20
    assert search(seed=1).suggest(0, [], []) != search().suggest(0, [], [])


def test_keeps_to_ranges_types_and_the_order_of_the_file() -> None:
    for number in range(20):
        found = search().suggest(number, results([float(n) for n in range(STARTUP)]), [])
        assert list(found) == list(OVER)
        assert 1e-5 <= found["training.learning_rate"] <= 1e-1
        assert 0 <= found["training.beta1"] <= 0.9
        assert type(found["model.latent_dim"]) is int
        assert 3 <= found["model.latent_dim"] <= 9
        assert found["dataset.classes"] in (["a"], ["a", "b"], None)


def test_the_order_of_keys_makes_no_difference() -> None:
    turned = search(over=dict(reversed(OVER.items())))
    for told in ([], results([float(n) for n in range(15)])):
        assert turned.suggest(15, told, []) == search().suggest(15, told, [])


def test_the_first_draws_are_spread_as_the_file_says() -> None:
    found = [search().suggest(number, [], []) for number in range(100)]
    assert 30 < sum(varied["training.learning_rate"] < 1e-3 for varied in found) < 70
    assert 30 < sum(varied["training.beta1"] < 0.45 for varied in found) < 70
    assert {varied["model.latent_dim"] for varied in found} == set(range(3, 10))


BETA = OptunaSearch.model_validate(
    {"method": "optuna", "trials": 99, "over": {"training.beta1": {"uniform": [0.0, 0.9]}}}
)


def betas(told: list[tuple[float, float, int | None]], running: tuple[float, ...] = ()) -> list[float]:
    """What is suggested of (beta1, score, cut), 30 times."""
    known = [Result({"training.beta1": beta}, score, cut) for beta, score, cut in told]
    waiting = [{"training.beta1": beta} for beta in running]
    return [BETA.suggest(n, known, waiting)["training.beta1"] for n in range(30)]


LOW, HIGH = [0.01 * i for i in range(1, 13)], [0.9 - 0.01 * i for i in range(1, 13)]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((1.0, None), (2.0, None)),
        ((1.0, None), (math.inf, None)),  # failures
        ((9.0, None), (1.0, 100)),  # ASHA ended the high ones, however good they were
        ((9.0, 300), (1.0, 100)),  # the low ones came further
        ((1.0, 100), (2.0, 100)),
        ((9.0, 100), (math.inf, 100)),
        ((9.0, 100), (math.inf, None)),  # a failure is worse than what ASHA ended
    ],
)
def test_it_draws_where_the_better_ones_were(low: tuple[float, int | None], high: tuple[float, int | None]) -> None:
    found = betas([*((b, *low) for b in LOW), *((b, *high) for b in HIGH)])
    assert mean(found) < 0.3
    assert mean(betas([*((b, *high) for b in LOW), *((b, *low) for b in HIGH)])) > 0.6


def test_with_nothing_but_failures_it_goes_on() -> None:
    assert len(set(betas([(b, math.inf, None) for b in LOW]))) == 30


def test_what_trains_already_has_a_part_in_it() -> None:
    told = [*((b, abs(b - 0.45), None) for b in (*LOW, *HIGH)), (0.4, 0.05, None), (0.5, 0.05, None)]
    around = [0.4 + 0.01 * i for i in range(10)]
    assert betas(told) != betas(told, tuple(around))
