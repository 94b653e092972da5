"""Shares of settings on sweeps whose answer is known."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gansweep.report.importance import EXPLAINED, importances

RATES = [1e-4, 2e-4, 1e-3, 2e-2, 2e-1]


def grid(seeds: int = 3, **settings: list[object]) -> pd.DataFrame:
    rows = itertools.product(*settings.values(), range(seeds))
    return pd.DataFrame([row[:-1] for row in rows], columns=list(settings))


def noise(rows: int, seed: int = 0) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).normal(size=rows))


def test_what_one_setting_makes_is_put_down_to_it() -> None:
    trials = grid(rate=RATES, beta1=[0.5, 0.9], width=[8, 16])
    target = np.log10(trials["rate"]) ** 2 + 0.3 * noise(len(trials))
    found = importances(trials, ["beta1", "rate", "width"], target)
    assert next(iter(found.shares)) == "rate"
    assert found.shares["rate"] >= 0.9
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.explained > 0.9
    assert found.caveat == ""


def test_shares_of_added_effects_are_those_of_an_analysis_of_variance() -> None:
    trials = grid(a=[0, 1, 2, 3], b=["x", "y", "z"], c=[False, True])
    effects = {"a": trials["a"] * 1.0, "b": trials["b"].map({"x": 3.0, "y": 0.0, "z": 0.0}), "c": trials["c"] * 1.0}
    variances = {name: float(effect.var(ddof=0)) for name, effect in effects.items()}
    found = importances(trials, ["a", "b", "c"], sum(effects.values(), start=pd.Series(0.0, trials.index)))
    assert list(found.shares) == ["b", "a", "c"]
    assert found.shares == pytest.approx({s: v / sum(variances.values()) for s, v in variances.items()}, abs=0.02)
    assert found.explained == pytest.approx(1.0, abs=0.01)


def test_what_happens_among_the_smallest_values_counts_as_much() -> None:
    """On a linear scale 1e-4…1e-3 would be half a percent of the grid."""
    trials = grid(rate=RATES, beta1=[0.5, 0.9])
    target = (trials["rate"] < 1e-3) * 1.0 + (trials["beta1"] > 0.7) * 0.3
    found = importances(trials, ["rate", "beta1"], target)
    assert found.shares["rate"] == pytest.approx(0.24 / (0.24 + 0.09 / 4), abs=0.04)


def test_caveat_of_pure_noise() -> None:
    drawn = pd.DataFrame(np.random.default_rng(1).random((200, 4)), columns=list("abcd"))
    found = importances(drawn, list("abcd"), noise(200))
    assert found.explained < EXPLAINED
    assert max(found.shares.values()) < 0.5
    assert found.caveat == (
        f"Single settings explain {found.explained:.0%} of the variance; the rest is interaction or chance."
    )


def test_caveat_of_an_interaction() -> None:
    trials = grid(a=[0, 1], b=[0, 1], seeds=10)
    found = importances(trials, ["a", "b"], ((trials["a"] + trials["b"]) % 2) * 1.0)
    assert found.explained < 0.2
    assert "interaction" in found.caveat


@pytest.mark.parametrize(
    ("settings", "seeds", "caveat"),
    [
        (["a", "b"], 3, "The shares are rough: 12 trials for 2 settings."),
        (["a", "fixed"], 2, "The shares are rough: 8 trials for 1 setting."),
        (["a", "b"], 5, ""),
    ],
)
def test_caveat_of_few_trials(settings: list[str], seeds: int, caveat: str) -> None:
    trials = grid(a=[0, 1], b=[0, 1], fixed=[7], seeds=seeds)
    assert importances(trials, settings, trials["a"] * 1.0).caveat == caveat


def test_both_caveats_are_sentences_side_by_side() -> None:
    trials = grid(a=[0, 1], b=[0, 1], seeds=2)
    caveat = importances(trials, ["a", "b"], ((trials["a"] + trials["b"]) % 2) * 1.0).caveat
    assert caveat.startswith("The shares are rough: 8 trials for 2 settings. Single settings explain ")


def test_a_setting_of_one_value_has_no_share() -> None:
    trials = grid(fixed=[3], a=[0, 1, 2], seeds=4)
    assert importances(trials, ["fixed", "a"], trials["a"] + 0.1 * noise(12)).shares == {"a": 1.0, "fixed": 0.0}


def test_where_nothing_varies_all_shares_are_zero() -> None:
    trials = grid(a=[0, 1], b=[0, 1])
    for target in (pd.Series(0.1, trials.index), pd.Series(math.nan, trials.index), pd.Series([1.0], [0])):
        found = importances(trials, ["b", "a"], target)
        assert (found.shares, found.explained, found.caveat) == ({"b": 0.0, "a": 0.0}, 0.0, "")
    assert importances(trials, [], noise(12)).shares == {}
    assert importances(grid(a=[1]), ["a"], noise(3)).shares == {"a": 0.0}


def test_targets_that_are_not_finite_are_left_out() -> None:
    trials = grid(a=[0, 1, 2], b=[0, 1], seeds=3)
    target = pd.Series(trials["a"] + noise(18), dtype="Float64")
    unknown = pd.Series([math.nan, math.inf, pd.NA], dtype="object")
    more = pd.concat([pd.DataFrame({"a": [9, 9, 1.5], "b": [5, 6, 7]}), trials], ignore_index=True)
    found = importances(more, ["a", "b"], pd.concat([unknown, target], ignore_index=True))
    assert found == importances(trials, ["a", "b"], target)
    assert found.caveat == "The shares are rough: 18 trials for 2 settings."


def test_values_of_any_type_may_be_settings() -> None:
    """One of several sweeps may lack a setting; a list is a value like any other."""
    trials = grid(a=[[1, 2], [3], None], b=[0.5, math.nan], c=["wgan", "hinge"], seeds=4)
    found = importances(trials, ["c", "b", "a"], trials["a"].map(str).eq("[3]") * 1.0 + 0.01 * noise(48))
    assert next(iter(found.shares)) == "a"
    assert found.shares["a"] > 0.95
    missing = importances(trials, ["a", "b"], trials["b"].isna() * 1.0)
    assert missing.shares["b"] > 0.95


def test_rows_go_by_their_index_not_their_place() -> None:
    trials = grid(a=[0, 1], b=[0, 1], seeds=10)
    target = (trials["a"] * 1.0).sample(frac=1, random_state=0)
    assert importances(trials, ["a", "b"], target).shares["a"] == pytest.approx(1.0)


def test_the_same_sweep_has_the_same_shares() -> None:
    trials = grid(rate=RATES, beta1=[0.5, 0.9])
    target = noise(len(trials))
    first = importances(trials, ["rate", "beta1"], target)
    np.random.seed(1)
    assert importances(trials, ["rate", "beta1"], target) == first
    assert importances(trials, ["rate", "beta1"], target, seed=1) != first


def test_optuna_is_loaded_only_when_it_is_asked_and_says_nothing() -> None:
    code = """
import sys
import pandas as pd
from gansweep.report.importance import importances
assert "optuna" not in sys.modules
importances(pd.DataFrame({"a": [0, 1, 2]}), ["a"], pd.Series([0.0, 1.0, 3.0]))
assert "optuna" in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
