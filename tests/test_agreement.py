"""Comparison of rankings with choices by eye: which pairs are shown, and what counts as agreement."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

REAL = "real"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> Callable[[str], Any]:
    """The module of that name below analysis/features."""
    monkeypatch.syspath_prepend(checkout)
    return lambda name: importlib.import_module(f"analysis.features.{name}")


def answered(script: Callable[[str], Any], shown: list[tuple[str, int, str, str, str]]) -> pd.DataFrame:
    """Answers to (look, pair, a, b, choice), in the order that they are shown."""
    rows = [(look, place, pair, a, b) for place, (look, pair, a, b, _) in enumerate(shown)]
    pairs = pd.DataFrame(rows, columns=["look", "place", "pair", "a", "b"])
    choices = pairs[["look", "place"]].assign(choice=[one[-1] for one in shown])
    found: pd.DataFrame = script("lib.agreement").answers(pairs, choices)
    return found


def test_pairs_are_of_different_runs_and_balanced(script: Callable[[str], Any]) -> None:
    found = script("lib.pairs").balanced("abcdefghijklmn", 60, np.random.default_rng(0))
    assert len({frozenset(pair) for pair in found}) == 60
    assert {len(set(pair)) for pair in found} == {2}
    counts = pd.Series([run for pair in found for run in pair]).value_counts()
    assert len(counts) == 14
    assert counts.max() - counts.min() <= 2


def test_a_look_is_shown_mirrored_and_another_one_has_the_same_pairs_in_another_order(
    script: Callable[[str], Any],
) -> None:
    pairs = script("lib.pairs")
    shown = pairs.looks([f"run{at}" for at in range(14)])
    first, mirrored, second = (shown[shown["look"] == look].set_index("pair") for look in pairs.LOOKS)
    assert (len(first), len(mirrored), len(second)) == (64, 12, 64)
    assert (mirrored["a"] == first.loc[mirrored.index, "b"]).all()
    assert (mirrored["b"] == first.loc[mirrored.index, "a"]).all()
    assert REAL not in {*mirrored["a"], *mirrored["b"]}
    assert ((first[["a", "b"]] == REAL).sum().sum(), (second[["a", "b"]] == REAL).sum().sum()) == (4, 4)
    assert list(first.index) != list(second.index)
    assert set(first.index) == set(second.index)
    sides = first["a"] == second.loc[first.index, "a"]
    assert 16 < sides.sum() < 48  # drawn anew


def test_the_pairs_that_were_shown_are_those_of_the_rule(script: Callable[[str], Any], checkout: Path) -> None:
    known = pd.read_csv(checkout / "analysis" / "features" / "results" / "pairs.csv")
    runs = {*known["a"], *known["b"]} - {REAL}
    assert len(runs) >= 12
    pd.testing.assert_frame_equal(script("lib.pairs").looks(runs), known)


def test_a_ranking_agrees_if_the_chosen_run_is_better_and_a_tie_does_not(script: Callable[[str], Any]) -> None:
    rows = answered(script, [("first", 0, "x", "y", "A"), ("first", 1, "y", "x", "A"), ("first", 2, "x", "z", "B")])
    agrees = script("lib.agreement").agrees
    values = pd.Series({"x": 0.5, "y": 2.0, "z": 0.5})
    assert list(agrees(rows, values, "fd_ratio")) == [True, False, False]
    assert list(agrees(rows, values, "coverage")) == [False, True, False]
    assert list(agrees(rows, values, "density")) == [True, False, False]  # nearer to 1


def test_pairs_are_consistent_if_every_look_chose_the_same_run(script: Callable[[str], Any]) -> None:
    agreement = script("lib.agreement")
    shown = [("first", 0, "x", "y", "A"), ("first", 1, "x", "z", "A"), ("first", 2, REAL, "x", "A")]
    again = [("mirrored", 0, "y", "x", "B"), ("second", 1, "x", "z", "B"), ("second", 2, "x", REAL, "A")]
    rows = answered(script, [*shown, *again])
    assert list(agreement.consistent(rows)["pair"]) == [0]
    assert list(agreement.repeated(rows, "mirrored")) == [True]
    assert list(agreement.repeated(rows, "second")) == [False]
    assert {look: share.estimate for look, share in agreement.catches(rows).items()} == {"first": 1, "second": 0}


def test_an_answer_that_is_missing_is_an_error(script: Callable[[str], Any]) -> None:
    with pytest.raises(ValueError, match="neither A nor B: first 0"):
        answered(script, [("first", 0, "x", "y", "")])


def test_a_grid_has_its_images_row_by_row(script: Callable[[str], Any]) -> None:
    sheets = script("lib.sheets")
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 4), np.uint8)
    found = np.asarray(sheets.grid(images, 2))
    assert found.shape == (48, 48, 3)
    assert np.array_equal(found[::8, ::8, 0], np.arange(36).reshape(6, 6))
