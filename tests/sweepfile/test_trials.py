from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansweep.config import OptimizerConfig
from gansweep.sweepfile.schema import Sweep, TrialConfig
from gansweep.sweepfile.searches.optuna import OptunaSearch
from gansweep.sweepfile.trials import assign, configurations, count, search_id, trial_id

BASE: dict[str, Any] = {"name": "s", "training": {"steps": 10}}


def sweep(**sections: Any) -> Sweep:
    return Sweep.model_validate({**BASE, **sections})


def config_of(data: dict[str, Any]) -> TrialConfig:
    return TrialConfig.model_validate({"training": {"steps": 10}, **data})


def identity(dotted: dict[str, Any] | None = None, data: str = "da7a", version: int = 1) -> str:
    """The id of a default trial with some dotted keys set."""
    config: dict[str, Any] = {"training": {"steps": 10}}
    for key, value in (dotted or {}).items():
        config = assign(config, key, value)
    return trial_id(TrialConfig.model_validate(config), data, version)


def test_an_id_is_12_hex_digits_that_never_change() -> None:
    assert re.fullmatch("[0-9a-f]{12}", identity())
    assert identity() == "7ed4fd4f79ee", "every trial ever trained would be trained again"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("model.latent_dim", 64),
        ("model.feature_maps", 32),
        ("model.generator.feature_maps", 32),
        ("model.discriminator.feature_maps", 32),
        ("training.batch_size", 32),
        ("training.learning_rate", 1e-4),
        ("training.beta1", 0.4),
        ("training.beta2", 0.99),
        ("training.precision", "bfloat16"),
        *(
            (f"training.{network}.{key}", value)
            for network in ("generator", "discriminator")
            for key, value in (("learning_rate", 1e-4), ("beta1", 0.4), ("beta2", 0.99), ("updates", 2))
        ),
        ("dataset.validation", 0.1),
        ("dataset.augment.flip", True),
        ("dataset.augment.rotate", 10),
        ("dataset.augment.translate", 0.1),
        ("dataset.augment.scale", 0.1),
        ("evaluation.per_run", 10),
        ("evaluation.samples", 128),
    ],
)
def test_what_changes_the_numbers_changes_the_id(key: str, value: Any) -> None:
    assert identity({key: value}) != identity()


def test_the_data_and_the_version_of_the_arithmetic_change_the_id() -> None:
    assert len({identity(), identity(data="0ther"), identity(version=2)}) == 3


def test_generator_and_discriminator_are_not_confused() -> None:
    keys = ("model.{}.feature_maps", "training.{}.learning_rate", "training.{}.beta1", "training.{}.beta2")
    for key, value in zip(keys, (32, 1e-4, 0.4, 0.99), strict=True):
        assert identity({key.format("generator"): value}) != identity({key.format("discriminator"): value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.steps", 99),
        ("dataset.path", "elsewhere"),
        ("dataset.data_dir", "elsewhere"),
        # stated or inherited
        ("seed", 0),
        ("model.latent_dim", 100),
        ("model.generator.feature_maps", 64),
        ("training.generator.learning_rate", 2e-4),
        ("training.discriminator.beta1", 0.5),
        ("dataset.augment.rotate", 0),
        ("dataset.validation", 0),
        ("evaluation.per_run", 25),
        ("evaluation.samples", 256),
    ],
)
def test_what_leaves_the_numbers_alone_leaves_the_id_alone(key: str, value: Any) -> None:
    folder = {"dataset.name": "image_folder", "dataset.path": "here"} if key == "dataset.path" else {}
    assert identity({**folder, key: value}) == identity()


def test_epochs_are_no_part_of_the_id() -> None:
    assert trial_id(TrialConfig.model_validate({"training": {"epochs": 3}}), "da7a", 1) == identity()


def test_the_same_network_settings_have_one_id_however_they_are_stated() -> None:
    shared = identity({"training.learning_rate": 1e-4, "model.feature_maps": 8})
    each = {f"training.{n}.learning_rate": 1e-4 for n in ("generator", "discriminator")}
    maps = {f"model.{n}.feature_maps": 8 for n in ("generator", "discriminator")}
    assert identity({**each, **maps}) == shared
    assert identity({**each, **maps, "training.learning_rate": 0.9, "model.feature_maps": 9}) == shared


def test_whole_numbers_and_key_order_make_no_difference() -> None:
    assert identity({"training.learning_rate": 1}) == identity({"training.learning_rate": 1.0})
    assert identity({"training.beta1": 0}) == identity({"training.beta1": 0.0})
    settings = {"training.beta1": 0.1, "model.latent_dim": 3, "seed": 4}
    assert identity(dict(reversed(settings.items()))) == identity(settings)


def ids(of: Sweep) -> list[str]:
    return [trial_id(config_of(c), "da7a", 1) for c, _ in configurations(of)]


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "another"},
        {"training": {"steps": 999}},
        {"cadence": {"metrics": 1, "samples": 2, "checkpoints": 3}},
        {"retention": {"checkpoints": 5}},
        {"stop": {"on": ["late_instability"], "action": "flag"}},
        {"thresholds": {"mode_collapse": {"coverage": 0.4}}},
        {"resources": {"cpus": 2, "gpus": 0.5, "max_concurrent": 1}},
        {"resources": {"gpus": "auto"}},
        {"replicates": 3},
    ],
    ids=lambda sections: next(iter(sections)),
)
def test_what_stands_around_the_trials_leaves_their_ids_alone(sections: dict[str, Any]) -> None:
    search = {"method": "grid", "over": {"training.beta1": [0.1, 0.5]}}
    assert ids(sweep(search=search, **sections)) == ids(sweep(search=search))


def test_a_grid_is_every_combination_the_last_key_fastest() -> None:
    over = {"training.beta1": [0.5, 0.1], "model.latent_dim": [3, 2, 1]}
    grid = sweep(search={"method": "grid", "over": over}, replicates=4)
    varied = [tuple(v.values()) for _, v in configurations(grid)]
    assert varied == [(0.5, 3), (0.5, 2), (0.5, 1), (0.1, 3), (0.1, 2), (0.1, 1)]
    assert count(grid) == 6 * 4
    assert len(set(ids(grid))) == 6


def test_new_values_of_a_grid_keep_the_old_trials() -> None:
    small = sweep(search={"method": "grid", "over": {"training.beta1": [0.1, 0.5]}})
    large = sweep(search={"method": "grid", "over": {"training.beta1": [0.0, 0.1, 0.3, 0.5]}})
    assert set(ids(small)) < set(ids(large))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 50))
def test_count_is_what_is_built(sizes: list[int], replicates: int) -> None:
    keys = ("training.batch_size", "model.latent_dim", "model.feature_maps")
    over = {key: list(range(2, 2 + size)) for key, size in zip(keys, sizes, strict=False)}
    grid = sweep(search={"method": "grid", "over": over}, replicates=replicates)
    assert count(grid) == len(list(configurations(grid))) * replicates == math.prod(sizes) * replicates


def test_without_a_search_there_is_one_configuration() -> None:
    alone = sweep(replicates=3)
    assert list(configurations(alone)) == [({"training": {"steps": 10}}, {})]
    assert count(alone) == 3


def test_network_overrides_reach_only_their_network() -> None:
    over = {"training.generator.learning_rate": [1e-3], "model.discriminator.feature_maps": [8]}
    ((config, varied),) = configurations(
        sweep(search={"method": "grid", "over": over}, training={"steps": 10, "generator": {"beta1": 0.1}})
    )
    found = config_of(config)
    assert varied == {"training.generator.learning_rate": 1e-3, "model.discriminator.feature_maps": 8}
    assert found.training.optimizer("generator") == OptimizerConfig(1e-3, 0.1, 0.999)
    assert found.training.optimizer("discriminator") == OptimizerConfig(2e-4, 0.5, 0.999)
    assert (found.model.generator.feature_maps, found.model.discriminator.feature_maps) == (None, 8)


def test_assign_leaves_its_input_alone() -> None:
    before = {"a": {"b": 1}, "c": 2}
    assert assign(before, "a.d.e", 3) == {"a": {"b": 1, "d": {"e": 3}}, "c": 2}
    assert assign(before, "c.d", 3) == {"a": {"b": 1}, "c": {"d": 3}}
    assert before == {"a": {"b": 1}, "c": 2}


def draws(trials: int, over: dict[str, Any], seed: int = 0) -> list[dict[str, Any]]:
    search = {"method": "random", "trials": trials, "seed": seed, "over": over}
    return [varied for _, varied in configurations(sweep(search=search))]


RATE = {"log_uniform": [1e-5, 1e-2]}
BETA = {"uniform": [0.0, 0.9]}


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 9))
def test_more_random_trials_keep_the_first_ones(trials: int, more: int, seed: int) -> None:
    over = {"training.learning_rate": RATE, "training.beta1": BETA}
    assert draws(trials + more, over, seed)[:trials] == draws(trials, over, seed)
    assert count(sweep(search={"method": "random", "trials": trials, "over": over}, replicates=2)) == 2 * trials


def test_a_key_is_drawn_the_same_whatever_else_is_searched() -> None:
    alone = draws(20, {"training.beta1": BETA})
    together = draws(20, {"training.learning_rate": RATE, "training.beta1": BETA})
    assert [v["training.beta1"] for v in together] == [v["training.beta1"] for v in alone]
    assert len({v["training.beta1"] for v in alone}) == 20
    assert draws(20, {"training.beta1": BETA}, seed=1) != alone


@given(st.floats(0, 0.99), st.floats(0, 0.99), st.integers(0, 99))
def test_uniform_stays_within_its_bounds(one: float, other: float, seed: int) -> None:
    low, high = sorted((one, other))
    for varied in draws(5, {"training.beta1": {"uniform": [low, high]}}, seed):
        assert low <= varied["training.beta1"] <= high


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(0, 99))
def test_log_uniform_stays_within_its_bounds(one: float, other: float, seed: int) -> None:
    low, high = sorted((one, other))
    for varied in draws(5, {"training.learning_rate": {"log_uniform": [low, high]}}, seed):
        assert low <= varied["training.learning_rate"] <= high


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(0, 99))
def test_int_uniform_draws_whole_numbers_within_its_bounds(one: int, other: int, seed: int) -> None:
    low, high = sorted((one, other))
    for varied in draws(5, {"model.latent_dim": {"int_uniform": [low, high]}}, seed):
        assert type(varied["model.latent_dim"]) is int
        assert low <= varied["model.latent_dim"] <= high


@pytest.mark.parametrize(
    ("key", "distribution", "share"),
    [
        ("training.beta1", {"uniform": [0.0, 0.8]}, lambda x: x / 0.8),
        ("training.learning_rate", RATE, lambda x: math.log10(x / 1e-5) / 3),
        ("model.latent_dim", {"int_uniform": [1, 4]}, lambda x: (x - 0.5) / 4),
        ("training.batch_size", {"choice": [2, 4, 6, 8]}, lambda x: (x / 2 - 0.5) / 4),
    ],
)
def test_draws_are_spread_evenly(key: str, distribution: dict[str, Any], share: Callable[[float], float]) -> None:
    shares = [share(v[key]) for v in draws(1000, {key: distribution})]
    quarters = [sum(q <= 4 * s < q + 1 for s in shares) for q in range(4)]
    assert all(200 < n < 300 for n in quarters), quarters  # 250 ± 3.6 σ


def test_both_ends_of_int_uniform_and_every_choice_are_drawn() -> None:
    assert {v["model.latent_dim"] for v in draws(60, {"model.latent_dim": {"int_uniform": [3, 5]}})} == {3, 4, 5}
    assert {v["model.latent_dim"] for v in draws(60, {"model.latent_dim": {"choice": [3, 9]}})} == {3, 9}


# Cases.


def cases(*listed: dict[str, Any], **sections: Any) -> Sweep:
    return sweep(search={"method": "cases", "cases": [*listed]}, **sections)


def test_each_case_is_one_configuration() -> None:
    arms = cases({}, {"training.beta1": 0.9}, {"training.beta1": 0.9, "model.latent_dim": 8}, replicates=3)
    assert [varied for _, varied in configurations(arms)] == [
        {"training.beta1": 0.5, "model.latent_dim": 100},
        {"training.beta1": 0.9, "model.latent_dim": 100},
        {"training.beta1": 0.9, "model.latent_dim": 8},
    ]
    assert count(arms) == 3 * 3
    alone = [identity(), identity({"training.beta1": 0.9}), identity({"training.beta1": 0.9, "model.latent_dim": 8})]
    assert ids(arms) == alone


def test_a_case_shows_what_holds_in_it_where_another_case_sets_it() -> None:
    """The file's value, what it inherits in this very case, or None where nothing is set."""
    arms = cases(
        {},
        {"training.beta1": 0.9},
        {"training.discriminator.beta1": 0.1, "model.generator.feature_maps": 8, "model.discriminator.norm": "layer"},
        training={"steps": 10, "beta1": 0.3},
    )
    keys = ("training.beta1", "training.discriminator.beta1", "model.generator.feature_maps",
            "model.discriminator.norm")  # fmt: skip
    assert [tuple(varied[key] for key in keys) for _, varied in configurations(arms)] == [
        (0.3, 0.3, 64, None),
        (0.9, 0.9, 64, None),
        (0.3, 0.1, 8, "layer"),
    ]
    assert ids(arms)[0] == identity({"training.beta1": 0.3})


def test_a_new_case_keeps_the_trials_of_the_others() -> None:
    few = cases({}, {"training.beta1": 0.9})
    many = cases({"model.discriminator.feature_maps": 8}, {"training.beta1": 0.9}, {})
    assert set(ids(few)) < set(ids(many))


# An optuna search.

OVER = {"training.learning_rate": RATE, "training.beta1": BETA, "model.latent_dim": {"choice": [8, 16, 32]}}


def optuna(trials: int = 5, **changes: Any) -> Sweep:
    return sweep(**{"search": {"method": "optuna", "trials": trials, "over": OVER}, **changes})


def search_of(of: Sweep) -> OptunaSearch:
    assert isinstance(of.search, OptunaSearch)
    return of.search


def test_an_optuna_search_has_the_configurations_that_were_suggested() -> None:
    suggested = [{"training.beta1": 0.25, "training.learning_rate": 1e-3, "model.latent_dim": 8}]
    ((config, varied),) = configurations(optuna(), suggested)
    assert varied == suggested[0]
    assert config_of(config).training.beta1 == 0.25
    assert list(configurations(optuna())) == []
    assert count(optuna(7, replicates=3)) == 21


def test_stand_ins_are_random_draws_in_the_place_of_what_is_to_come() -> None:
    assert search_of(optuna(5)).stand_ins() == draws(5, OVER)
    assert search_of(optuna(5)).stand_ins(3) == draws(5, OVER)[3:]
    assert search_of(optuna(5)).stand_ins(5) == []


def test_extreme_values_contain_every_end_and_every_choice() -> None:
    found = search_of(optuna()).extreme_values()
    assert {c["training.learning_rate"] for c in found} == {1e-5, 1e-2}
    assert {c["training.beta1"] for c in found} == {0.0, 0.9}
    assert {c["model.latent_dim"] for c in found} == {8, 16, 32}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"trials": 9}, True),
        ({"training": {"steps": 99}}, True),
        ({"training": {"epochs": 2}}, True),
        ({"name": "t", "stop": "none", "scheduler": "asha", "resources": {"max_concurrent": 1}}, True),
        ({"training": {"steps": 10, "beta2": 0.999}}, True),  # a default, stated
        ({"training": {"steps": 10, "beta2": 0.99}}, False),
        ({"evaluation": {"samples": 100}}, False),
        ({"seed": 1}, False),
        ({"replicates": 2}, False),
        ({"search": {"method": "optuna", "trials": 5, "over": dict(reversed(OVER.items()))}}, True),
        ({"search": {"method": "optuna", "trials": 5, "over": OVER, "seed": 1}}, False),
        ({"search": {"method": "optuna", "trials": 5, "over": OVER, "parallel": 3}}, False),
        ({"search": {"method": "optuna", "trials": 5, "over": {"training.beta1": BETA}}}, False),
        ({"search": {"method": "optuna", "trials": 5, "over": OVER, "objective": {"mode": "max"}}}, False),
    ],
)
def test_a_search_goes_on_unless_what_it_depends_on_changes(changes: dict[str, Any], same: bool) -> None:
    assert (search_id(optuna(**changes), 1) == search_id(optuna(), 1)) is same
    assert search_id(optuna(), 2) != search_id(optuna(), 1)


def test_searches_of_version_0_1_0_are_known_by_their_ids() -> None:
    """Later keys of `dataset` count where they are set."""
    folder = {"name": "image_folder", "path": "pictures"}
    search = {"method": "optuna", "trials": 3, "over": {"training.beta1": {"uniform": [0.1, 0.9]}}}
    assert search_id(sweep(dataset=folder, search=search), 1) == "a8abef1ee006"
    objective = {"metric": "cfd_ratio"}  # today's fd_ratio
    assert search_id(sweep(dataset=folder, search={**search, "objective": objective}), 1) == "a8abef1ee006"
    assert search_id(sweep(dataset={**folder, "background": "black"}, search=search), 1) != "a8abef1ee006"
