"""An optuna search that grows while it runs, and is killed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from gansweep.engine.search import Search
from gansweep.health.verdict import Verdict
from gansweep.planning.plan import Plan, write_more, write_trials
from gansweep.planning.trial import PlannedTrial
from gansweep.records import outcome, suggestions
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import Home, read_json
from gansweep.records.outcome import Outcome

PlanOf = Callable[..., Plan]
OVER = "over: {training.learning_rate: {log_uniform: [1e-4, 1e-1]}, training.beta1: {uniform: [0, 0.9]}}"
OBJECTIVE = "objective: {metric: loss_g, mode: min}"
TRIALS, PARALLEL = 16, 3


@pytest.fixture
def begin(plan_of: PlanOf, home: Home) -> Callable[..., Search]:
    """As `gansweep run` begins: the plan is on record, what can be suggested is. Arguments as for --set."""

    def begin(*overrides: str, trials: int = TRIALS, parallel: int = PARALLEL, over: str = OVER) -> Search:
        search = f"search={{method: optuna, trials: {trials}, parallel: {parallel}, {OBJECTIVE}, {over}}}"
        plan = plan_of(search, *overrides)
        write_trials(plan, "gansweep run s.yaml", ())
        begun = Search(plan, home)
        begun.suggest()
        return begun

    return begin


def loss(planned: PlannedTrial) -> float:
    rate, beta = planned.trial.config.training.learning_rate, planned.trial.config.training.beta1
    return abs(math.log10(rate) + 2.5) + abs(beta - 0.3) + 0.1 * planned.trial.config.seed


def end(
    search: Search, planned: PlannedTrial, kind: Any = "completed", value: float | None = None, **fields: Any
) -> list[str]:
    """Let a trial end; the ids of what was suggested thereupon."""
    folder = search.plan.folder.trial(planned.trial.id)
    with Journal(folder.journal) as journal:
        journal.append(Record(4, 0.0, {"loss_g": loss(planned) if value is None else value}))
    outcome.write(folder, Outcome(kind, 4, **fields))
    return [p.trial.id for p in search.ended(planned.trial.id)]


def finish(search: Search) -> list[str]:
    """End all trials in their order; the ids of all, in the plan's order."""
    done: set[str] = set()
    while waiting := [p for p in search.plan.trials if not p.finished and p.trial.id not in done]:
        done.add(waiting[0].trial.id)
        end(search, waiting[0])
    return [p.trial.id for p in search.plan.trials]


def varied(search: Search) -> list[dict[str, Any]]:
    return [dict(s.varied) for s in search.plan.suggested]


def test_begins_with_what_depends_on_no_result(begin: Callable[..., Search]) -> None:
    search = begin()
    assert len(search.plan.trials) == len(search.plan.pending) == PARALLEL
    assert len(search.plan.to_come) == TRIALS - PARALLEL
    assert (search.plan.total, len(search.plan.left)) == (TRIALS, TRIALS)
    assert search.plan.slots(99) == PARALLEL


def test_suggestion_n_waits_for_the_trials_0_to_n_minus_parallel(begin: Callable[..., Search]) -> None:
    search = begin()
    first, second, third = search.plan.trials
    assert end(search, second) == []
    assert end(search, third) == []
    new = end(search, first)
    assert len(new) == 3
    assert [p.trial.id for p in search.plan.trials[3:]] == new


def test_one_that_was_interrupted_is_waited_for(begin: Callable[..., Search]) -> None:
    search = begin()
    assert end(search, search.plan.trials[0], "interrupted", reason="asked") == []
    assert len(end(search, search.plan.trials[0])) == 1


def test_each_suggestion_is_on_record_before_it_is_handed_out(begin: Callable[..., Search]) -> None:
    search = begin()
    end(search, search.plan.trials[0])
    folder, ids = search.plan.folder, [p.trial.id for p in search.plan.trials]
    assert len(ids) == 4
    assert [trial.id for trial in folder.planned()] == ids
    assert [read_json(trial.trial)["varied"] for trial in folder.planned()] == varied(search)
    assert read_json(folder.plan)["to_come"] == TRIALS - 4
    assert read_json(folder.plan)["command"] == "gansweep run s.yaml"


def test_does_not_depend_on_which_trial_is_faster(begin: Callable[..., Search], home: Home) -> None:
    whole = begin()
    finish(whole)
    first = varied(whole)
    for folder in whole.plan.folder.all_trials():
        folder.outcome.unlink()
    whole.plan.folder.suggestions.unlink()
    other = begin()
    while waiting := [p for p in other.plan.trials if outcome.read(other.plan.folder.trial(p.trial.id)) is None]:
        end(other, waiting[-1])  # the last first
    assert varied(other) == first


def test_it_follows_the_results(begin: Callable[..., Search]) -> None:
    by_result, blind = begin(trials=40), begin("seed=7", trials=40)
    finish(by_result)
    while waiting := [p for p in blind.plan.trials if outcome.read(blind.plan.folder.trial(p.trial.id)) is None]:
        end(blind, waiting[0], value=1.0)
    near, far = (
        median(abs(math.log10(v["training.learning_rate"]) + 2.5) for v in varied(s)[20:]) for s in (by_result, blind)
    )
    assert near < far / 2


@pytest.mark.parametrize("killed", ["suggested", "recorded", "listed"])
@pytest.mark.parametrize("at", [0, 5, 12])
def test_killed_at_any_moment_it_goes_on_as_if_it_had_not_been(
    begin: Callable[..., Search], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str, at: int
) -> None:
    """killed: before it was on record, after, or when the trials' documents and the list were written."""
    calm = begin()
    ids, expected = finish(calm), varied(calm)
    calm.plan.folder.path.rename(tmp_path / "calm")

    class Killed(BaseException):
        pass

    original, counted = suggestions.append, 0

    def append(*arguments: Any) -> None:
        nonlocal counted
        counted += 1
        if counted == at + 1 and killed == "suggested":
            raise Killed
        original(*arguments)
        if counted == at + 1 and killed == "recorded":
            raise Killed

    def more(*arguments: Any) -> None:
        write_more(*arguments)
        if counted == at + 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(suggestions, "append", append)
        if killed == "listed":
            patch.setattr("gansweep.engine.search.write_more", more)
        with pytest.raises(Killed):
            finish(begin())
    again = begin()
    assert len(again.plan.suggested) > at
    assert finish(again) == ids
    assert varied(again) == expected
    assert [t.id for t in again.plan.folder.planned()] == ids


def test_without_its_record_it_suggests_the_same_and_trains_nothing(begin: Callable[..., Search]) -> None:
    search = begin()
    finish(search)
    search.plan.folder.suggestions.unlink()
    again = begin()
    assert varied(again) == varied(search)
    assert again.plan.left == ()


def test_more_trials_go_on_with_it_and_fewer_leave_the_rest_out(begin: Callable[..., Search]) -> None:
    few, many = begin(trials=12), begin("name=many", trials=TRIALS)
    finish(few)
    finish(many)
    more = begin(trials=TRIALS)
    assert len(more.plan.pending) == PARALLEL
    finish(more)
    assert varied(more) == varied(many)
    assert len(begin(trials=5).plan.trials) == 5


def test_another_range_begins_another_search_and_the_old_one_can_be_taken_up(begin: Callable[..., Search]) -> None:
    old = begin()
    finish(old)
    new = begin(over="over: {training.beta1: {uniform: [0, 0.5]}}")
    assert len(new.plan.suggested) == PARALLEL
    assert begin().plan.left == ()


def test_replicates_are_trials_of_one_suggestion(begin: Callable[..., Search]) -> None:
    search = begin("replicates=2")
    assert (len(search.plan.trials), search.plan.total, search.plan.slots(99)) == (6, 32, 6)
    assert [p.trial.config.seed for p in search.plan.trials] == [0, 1] * 3
    assert end(search, search.plan.trials[0]) == []
    assert len(end(search, search.plan.trials[1])) == 2


def test_equal_suggestions_are_one_trial(begin: Callable[..., Search]) -> None:
    search = begin(over="over: {training.beta1: {choice: [0.1, 0.5]}}")
    finish(search)
    assert len(search.plan.suggested) == TRIALS
    assert len(search.plan.trials) == 2
    assert search.plan.to_come == ()


FAILED = (Verdict("mode_collapse", 4, "mode collapse"),)


@pytest.mark.parametrize(
    ("ends", "score", "cut"),
    [
        ([("completed", 1.0, {}), ("completed", 4.0, {}), ("completed", 2.0, {})], 2.0, None),
        ([("completed", 1.0, {}), ("completed", 4.0, {"verdicts": FAILED}), ("completed", 2.0, {})], 2.0, None),
        ([("completed", 1.0, {}), ("crashed", 4.0, {}), ("completed", math.nan, {})], math.inf, None),
        ([("completed", 1.0, {}), ("stopped", 4.0, {"rule": "asha"}), ("completed", 2.0, {})], 2.0, 1000),
    ],
)
def test_a_result_is_the_median_of_its_replicates(
    begin: Callable[..., Search], ends: list[tuple[str, float, dict[str, Any]]], score: float, cut: int | None
) -> None:
    search = begin("replicates=3", parallel=1)
    for planned, (kind, value, fields) in zip(search.plan.trials, ends, strict=True):
        end(search, planned, kind, value, **fields)
    (result,) = search._results
    assert (result.score, result.cut) == (score, cut)


def test_other_searches_suggest_nothing(plan_of: PlanOf, home: Home) -> None:
    plan = plan_of("search={method: grid, over: {training.beta1: [0.1, 0.5]}}")
    search = Search(plan, home)
    assert search.suggest() == ()
    assert end(search, plan.trials[0]) == []
    assert not plan.folder.suggestions.exists()
