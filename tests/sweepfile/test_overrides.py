"""`--set` of keys that the search varies."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_calls import GOOD

from gansweep.errors import UserError
from gansweep.sweepfile.loader import load


def over(method: str, axis: str, more: str = "") -> str:
    return f"{GOOD}search: {{method: {method}, {more}over: {{training.learning_rate: {axis}}}}}\n"


@pytest.mark.parametrize(
    ("text", "override", "problem"),
    [
        (
            over("grid", "[1e-4, 2e-4]"),
            "training.learning_rate=9e-4",
            "--set training.learning_rate: it is varied by search.over, which takes precedence; change its values with"
            " --set 'search.over.training.learning_rate=[…]', or remove the search with --set search=null",
        ),
        (
            over("random", "{choice: [1e-4]}", "trials: 3, "),
            "training={steps: 5, learning_rate: 1e-3}",
            "--set training: training.learning_rate is varied by search.over, which takes precedence; change its values"
            " with --set 'search.over.training.learning_rate={choice: […]}', or remove the search with --set"
            " search=null",
        ),
        (
            over("optuna", "{log_uniform: [1e-4, 1e-2]}", "trials: 3, "),
            "training.learning_rate=0.001",
            "--set training.learning_rate: it is varied by search.over, ",
        ),
        (
            GOOD + "search: {method: cases, cases: [{}, {training.beta1: 0.9}]}\n",
            "training.beta1=0.3",
            "--set training.beta1: it is varied by search.cases, which takes precedence; change its values in the file,"
            " or remove the search with --set search=null",
        ),
    ],
    ids=["grid", "section", "optuna", "cases"],
)
def test_an_override_of_what_the_search_varies_is_refused(
    tmp_path: Path, text: str, override: str, problem: str
) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load(tmp_path / "s.yaml", (override,))
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)
    load(tmp_path / "s.yaml", (override, "search=null"))


@pytest.mark.parametrize(
    "override",
    [
        "training.beta1=0.3",
        "training={steps: 5}",
        "training.generator.learning_rate=1e-3",
        "search.over.training.learning_rate=[1e-3]",
    ],
)
def test_an_override_of_anything_else_holds(tmp_path: Path, override: str) -> None:
    (tmp_path / "s.yaml").write_text(over("grid", "[1e-4, 2e-4]"))
    load(tmp_path / "s.yaml", (override,))
