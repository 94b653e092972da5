from __future__ import annotations

import math

import pandas as pd
import pytest
from frames import RATE, frame, trial

from gansweep.health.verdict import FAILURES
from gansweep.report import choose


def names(trials: pd.DataFrame) -> list[str]:
    return list(trials["name"])


def named(*rows: tuple[str, float, str], **more: object) -> pd.DataFrame:
    """(name, quality, verdict or crashed) of each trial."""
    made = [
        trial({"name": name}, quality, "undecided" if kind == "crashed" else kind)
        | ({"outcome": "crashed", "failed": True} if kind == "crashed" else {})
        for name, quality, kind in rows
    ]
    return frame(made, []).assign(**more)


def test_order_is_by_rank_then_without_one_then_by_kind_of_failure() -> None:
    trials = named(
        ("crash", 1.0, "crashed"), ("dropping", 2.0, "mode_dropping"), ("second", 4.0, "healthy"),
        ("nan", math.nan, "healthy"), ("diverged", 9.0, "divergence"), ("best", 3.0, "healthy"),
        ("inf", math.inf, "undecided"), ("collapsed", 0.1, "mode_collapse"),
    )  # fmt: skip
    assert names(choose.by_rank(trials)) == [
        "best", "second", "nan", "inf", "diverged", "collapsed", "dropping", "crash",
    ]  # fmt: skip


def test_kinds_are_those_that_name_a_trial_by_precedence() -> None:
    kinds = ("mode_dropping", "healthy", "divergence", "undecided", "mode_dropping")
    assert choose.failing_kinds(named(*((kind, 1.0, kind) for kind in kinds))) == ["divergence", "mode_dropping"]
    assert choose.failing_kinds(named(("a", 1.0, "healthy"))) == []


def test_cases_are_those_of_a_kind_the_earliest_onset_first() -> None:
    trials = named(
        *((name, 1.0, "mode_collapse") for name in "abc"),
        ("d", 1.0, "divergence"),
        since_step=pd.array([300, 100, 200, 5], dtype="Int64"),
    )
    assert names(choose.cases(trials, "mode_collapse")) == ["b", "c", "a"]


@pytest.mark.parametrize("count", [1, choose.MOST])
def test_a_few_trials_are_all_shown(count: int) -> None:
    trials = frame([trial({RATE: number}, 50.0 - number) for number in range(count)], [RATE])
    assert list(choose.in_detail(trials)[RATE]) == list(range(count))[::-1]


def test_of_many_the_best_the_median_and_two_of_every_failure_are_shown() -> None:
    sound = [(f"rank {number + 1}", 1.0 + number, "healthy") for number in range(21)]
    failed = [(f"{kind} {number}", 0.1, kind) for kind in ("mode_collapse", "divergence") for number in range(5)]
    shown = names(choose.in_detail(named(*sound, *failed)))
    assert shown == [
        *(f"rank {number}" for number in (1, 2, 3, 4, 5, 11, 12)),
        "divergence 0", "divergence 1", "mode_collapse 0", "mode_collapse 1",
    ]  # fmt: skip


def test_never_more_than_most_and_all_may_have_failed() -> None:
    """Seven kinds of failure with five cases each, beside many that trained."""
    failed = [(f"{kind} {number}", 1.0, kind) for kind in FAILURES for number in range(5)]
    sound = [(str(number), 1.0 + number, "healthy") for number in range(100)]
    assert len(choose.in_detail(named(*sound, *failed))) == choose.BEST + 2 + 2 * len(FAILURES) <= choose.MOST
    # Where all failed, those that are poor are ranked: the best of them, and two of each other kind.
    assert len(choose.in_detail(named(*failed))) == choose.BEST + 2 * (len(FAILURES) - 1)
