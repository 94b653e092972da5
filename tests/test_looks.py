"""Labels of runs from the answers of lookers, and how far those agree."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

SHOWN = ["a", "b", "c", "a", "b", "real 0", "one image 0"]
FIRST = ["good", "poor", "fair", "good", "poor", "good", "dead"]
SECOND = ["fair", "poor", "poor", "fair", "poor", "good", "collapsed"]
THIRD = {"c": "poor", "a": "fair"}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> Callable[[str], Any]:
    """The module of that name below analysis/verdicts."""
    monkeypatch.syspath_prepend(checkout)
    return lambda name: importlib.import_module(f"analysis.verdicts.{name}")


@pytest.fixture
def looks(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, with answers of its own about a set `small`."""
    module = script("lib.looks")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    rows = [
        (look, number, what, label)
        for look, whats, labels in ((1, SHOWN, FIRST), (2, SHOWN, SECOND), (3, [*THIRD], [*THIRD.values()]))
        for number, (what, label) in enumerate(zip(whats, labels, strict=True), 1)
    ]
    table = pd.DataFrame(rows, columns=["look", "number", "what", "label"])
    table[["look", "number", "what"]].to_csv(tmp_path / "looks_small.csv", index=False)
    table[["look", "number", "label"]].to_csv(tmp_path / "answers_small.csv", index=False)
    return module


def test_two_looks_decide_and_a_third_where_they_differ(looks: Any) -> None:
    assert looks.disputed("small") == ["c"]
    found = looks.labels("small")
    assert found["sound"].to_dict() == {"a": True, "b": False, "c": False}
    assert found["kind"].to_dict() == {"a": "fair", "b": "poor", "c": "poor"}


def test_catches_and_repeats_are_no_runs(looks: Any) -> None:
    found = looks.agreement("small")
    assert (found["runs"], found["catches"]) == (3, 4)
    assert found["catches named rightly"] == 0.75
    assert found["κ between looks, sound"] == pytest.approx(0.4)  # 2 of 3 agree, 4 of 9 by chance
    assert found["κ between looks, weighted"] < 1
    assert found["κ within look 1, labels"] == 1


def test_an_answer_that_is_missing_or_no_label_is_named(looks: Any, tmp_path: Path) -> None:
    answers = tmp_path / "answers_small.csv"
    text = answers.read_text()
    answers.write_text(text.replace("1,2,poor\n", ""))
    with pytest.raises(ValueError, match=r"answers_small.csv: look 1, 2: no answer"):
        looks.labels("small")
    answers.write_text(text.replace("1,2,poor", "1,2,bad"))
    with pytest.raises(ValueError, match="bad is no label"):
        looks.labels("small")


def test_the_recorded_agreement_is_that_of_the_answers(script: Callable[[str], Any]) -> None:
    agree = script("agree")
    recorded, found = pd.read_csv(agree.CSV), agree.table()
    pd.testing.assert_frame_equal(recorded, found, check_dtype=False, rtol=1e-3, atol=1e-4)
