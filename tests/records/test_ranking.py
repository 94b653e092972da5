"""What a search looks for, as a score."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gansweep.health.verdict import Verdict
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder
from gansweep.records.outcome import Outcome
from gansweep.records.ranking import WORST, Quality, Ranking, Value, best_step, ranking_in, score_at

LEAST, MOST = Ranking("x", "min"), Ranking("x", "max")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_worst_either_way(value: float) -> None:
    assert LEAST.score(value) == MOST.score(value) == WORST
    assert WORST > 1e308


def test_less_is_better_whatever_the_mode() -> None:
    assert LEAST.score(1.0) < LEAST.score(2.0)
    assert MOST.score(2.0) < MOST.score(1.0)
    for ranking in (LEAST, MOST):
        assert [ranking.value(ranking.score(v)) for v in (-1.5, 0.0, 3.0)] == [-1.5, 0.0, 3.0]


def test_points_are_the_records_that_hold_the_metric() -> None:
    records = [Record(0, 0.0, {"x": 3.0}), Record(5, 0.0, {"y": 1.0}), Record(10, 0.0, {"x": math.nan, "y": 2.0})]
    assert LEAST.points(records) == [(0, 3.0), (10, WORST)]
    assert MOST.points(records) == [(0, -3.0), (10, WORST)]


@pytest.mark.parametrize(("step", "score"), [(-1, WORST), (0, 3.0), (9, 3.0), (10, 1.0), (99, 1.0)])
def test_score_at_is_the_last_one_until_then(step: int, score: float) -> None:
    assert score_at([(0, 3.0), (10, 1.0)], step) == score
    assert score_at([], step) == WORST


@pytest.mark.parametrize(
    ("ranking", "values", "expected"),
    [
        (LEAST, [], Quality(None, None)),
        (LEAST, [(0, 3.0), (10, 1.0), (20, 2.0)], Quality(Value(20, 2.0), Value(10, 1.0))),
        (MOST, [(0, 3.0), (10, 1.0), (20, 2.0)], Quality(Value(20, 2.0), Value(0, 3.0))),
        (LEAST, [(0, 1.0), (10, 1.0)], Quality(Value(10, 1.0), Value(0, 1.0))),  # the first of equals
        (MOST, [(0, -2.0), (10, math.inf)], Quality(Value(10, math.inf), Value(0, -2.0))),
    ],
)
def test_quality_is_the_final_value_and_the_best_one(
    ranking: Ranking, values: list[tuple[int, float]], expected: Quality
) -> None:
    assert ranking.quality(values) == expected


def test_of_no_finite_value_none_is_best() -> None:
    found = LEAST.quality([(0, math.nan)])
    assert (found.final and found.final.step, found.best) == (0, None)


def test_equal_scores_share_a_place_and_stay_in_order() -> None:
    scores = {"a": 2.0, "b": 1.0, "c": WORST, "d": 2.0, "e": 3.0}
    assert LEAST.order(scores) == ["b", "a", "d", "e"]
    assert LEAST.places(scores) == {"b": 1, "a": 2, "d": 2, "e": 4}


@pytest.mark.parametrize(
    ("points", "step"),
    [
        ([], 30),  # the last of equals
        ([(10, 1.0), (20, 5.0), (30, 5.0)], 10),
        ([(5, 1.0), (15, 5.0), (30, 0.5)], 30),
        ([(10, 5.0), (20, 1.0), (30, 1.0)], 30),
    ],
)
def test_the_best_checkpoint_is_the_one_after_the_best_evaluation(points: list[tuple[int, float]], step: int) -> None:
    assert best_step(points, [10, 20, 30]) == step


def test_fd_ratios_have_geometric_means_and_other_metrics_arithmetic_ones() -> None:
    default = ranking_in({})
    assert (default.metric, default.mode) == ("fd_ratio", "min")
    assert default.mean([2.0, 8.0]) == pytest.approx(4.0)
    assert default.mean([-2.0, 8.0]) == 3.0
    assert LEAST.mean([2.0, 8.0]) == 5.0


@pytest.mark.parametrize(
    ("failures", "ranked"),
    [
        ({"a": None, "b": None, "c": None, "d": None}, "abd"),  # c has no value
        ({"a": "poor", "b": None, "c": "poor", "d": "mode_collapse"}, "b"),
        ({"a": "poor", "b": "crashed", "c": None, "d": "poor"}, "ad"),  # the one that did not fail has no value
        ({"a": "mode_collapse", "b": "crashed", "c": "poor", "d": "divergence"}, ""),
    ],
)
def test_poor_trials_are_ranked_where_none_ended_well(failures: dict[str, str | None], ranked: str) -> None:
    scores = {"a": 2.0, "b": 1.0, "c": WORST, "d": 3.0}
    assert LEAST.admitted(scores, failures) == {one: scores[one] for one in ranked}


FAILED = (Verdict("mode_dropping", 5, "mode dropping"), Verdict("imbalance", 5, "imbalance"))
POOR = (Verdict("poor", 5, "poor"), Verdict("discriminator_won", 5, "D won"))


@pytest.mark.parametrize(
    ("ended", "values", "score"),
    [
        (Outcome("completed", 20), [3.0, 1.0, 2.0], 2.0),  # the last, not the best
        (Outcome("completed", 20, verdicts=FAILED[1:]), [2.0], 2.0),
        (Outcome("completed", 20, verdicts=FAILED), [2.0], WORST),
        (Outcome("completed", 20, verdicts=POOR), [2.0], 2.0),  # a search learns which of them is better
        (Outcome("completed", 20, verdicts=(*FAILED, *POOR)), [2.0], WORST),
        (Outcome("completed", 20), [2.0, math.nan], WORST),
        (Outcome("completed", 20), [], WORST),
        (Outcome("stopped", 20, "asha", rule="asha"), [2.0], 2.0),
        (Outcome("stopped", 20, "r", FAILED, "mode_dropping"), [2.0], WORST),
        (Outcome("crashed", 20, "r"), [2.0], WORST),
        (None, [2.0], WORST),
    ],
)
def test_final_is_the_last_value_of_a_trial_that_did_not_fail(
    tmp_path: Path, ended: Outcome | None, values: list[float], score: float
) -> None:
    folder = TrialFolder(tmp_path / "t")
    with Journal(folder.journal) as journal:
        for i, value in enumerate(values):
            journal.append(Record(10 * i, 0.0, {"x": value}))
        journal.append(Record(1000, 0.0, {"y": 0.0}))
    if ended:
        outcome.write(folder, ended)
    assert LEAST.final(folder) == score
    assert LEAST.is_recorded(folder) == bool(values)
    assert not Ranking("z", "min").is_recorded(folder)
