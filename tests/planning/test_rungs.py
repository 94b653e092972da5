"""Which trials go on at a rung."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from gansweep.health.metrics import INTACT, NONFINITE_STEP
from gansweep.planning.plan import Plan
from gansweep.planning.rungs import Rungs, rungs_of
from gansweep.records.journal import Journal, Record
from gansweep.sweepfile.schedulers import Asha

PlanOf = Callable[..., Plan]
RATES = "1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 7e-4, 8e-4, 9e-4"
SWEEP = (
    f"search={{method: grid, objective: {{metric: loss_g, mode: min}}, over: {{training.learning_rate: [{RATES}]}}}}",
    "scheduler={method: asha, grace: 0.1, reduction: 3}",
    "training.steps=100",
    "cadence.metrics=10",
)  # rungs at 10, 30 and 90


@pytest.mark.parametrize(
    ("steps", "every", "grace", "reduction", "found"),
    [
        (600, 24, 0.1, 3, (72, 192, 552)),  # at the next evaluation
        (1000, 1, 0.1, 3, (100, 300, 900)),
        (100, 10, 0.1, 2, (10, 20, 40, 80)),
        (100, 10, 0.3, 3, (30, 90)),
        (100, 10, 0.5, 3, (50,)),
        (100, 10, 0.95, 3, ()),  # the last evaluation is no rung
        (5, 1, 0.1, 3, (1, 2)),
        (60, 20, 0.1, 2, (20, 20, 40)),  # two rungs at one evaluation
        (100, 100, 0.1, 3, ()),
        (100, 0, 0.1, 3, ()),  # never measured
        (3 * 10**6, 1, 0.1, 3, (300_000, 900_000, 2_700_000)),
    ],
)
def test_rungs(steps: int, every: int, grace: float, reduction: float, found: tuple[int, ...]) -> None:
    assert Asha(method="asha", grace=grace, reduction=reduction).rungs(steps, every) == found


def test_rungs_lie_at_records_of_the_objective(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP)
    assert rungs_of(plan, plan.trials[0]) == (10, 30, 90)
    evaluated = plan_of(*SWEEP, "search.objective={metric: fd_ratio}", "evaluation.per_run=8")
    assert rungs_of(evaluated, evaluated.trials[0]) == (12, 36, 96)
    fifo = plan_of(*SWEEP, "scheduler=fifo")
    assert rungs_of(fifo, fifo.trials[0]) == ()


def reach(plan: Plan, number: int, *points: tuple[int, float], failed: bool = False, poor: bool = False) -> str:
    """Let a trial record these values; its id."""
    more = {INTACT: 0.1} if poor else {}
    trial = plan.trials[number].trial.id
    with Journal(plan.folder.trial(trial).journal) as journal:
        for step, value in points:
            journal.append(
                Record(step, 0.0, {"loss_g": value, **more, **({NONFINITE_STEP: float(step)} if failed else {})})
            )
    return trial


def ends(plan: Plan, values: Sequence[float]) -> list[bool]:
    """Trials come to the first rung one after another: which of them end there."""
    halving = Rungs(plan)
    return [halving.ends(reach(plan, number, (10, value)), 10) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1, 2, 3, 4], [0, 1, 1, 1]),  # the first goes on whatever it has
        ([4, 3, 2, 1], [0, 0, 0, 0]),
        ([5, 5, 5, 5, 5], [0, 0, 0, 0, 0]),  # equals are not better
        ([1, 2, 3, 1.5], [0, 1, 1, 0]),  # the second of four is among the best third, rounded up
        ([1, 2, 3, 4, 5, 6, 1.5, 2.5, 1.7], [0, 1, 1, 1, 1, 1, 0, 1, 0]),
        ([math.nan, 1, math.inf, 2], [1, 0, 1, 0]),  # what failed counts among the four
        ([math.nan, math.nan], [1, 1]),
    ],
)
def test_the_best_third_so_far_goes_on(plan_of: PlanOf, values: list[float], found: list[int]) -> None:
    assert ends(plan_of(*SWEEP), values) == [bool(f) for f in found]


def test_most_is_best_where_it_is_asked_for(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP, "search.objective.mode=max")
    assert ends(plan, [4, 3, 5, math.inf]) == [False, True, False, True]


def test_a_run_with_a_failure_verdict_is_worst(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP)
    halving = Rungs(plan)
    assert halving.ends(reach(plan, 0, (10, 0.1), failed=True), 10)
    assert not halving.ends(reach(plan, 1, (10, 5.0)), 10)


def test_poor_runs_are_compared(plan_of: PlanOf) -> None:
    """Where all of a short sweep are poor, the last rung would end all of them."""
    plan = plan_of(*SWEEP)
    halving = Rungs(plan)
    for number, (value, ended) in enumerate([(2.0, False), (9.0, True), (1.0, False)]):
        points = [(step, value) for step in range(50, 100, 10)]
        assert halving.ends(reach(plan, number, *points, poor=True), 90) == ended


def test_other_steps_and_runs_that_measured_nothing_go_on(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP)
    reach(plan, 0, (10, 1.0), (30, 1.0))
    halving = Rungs(plan)
    assert not halving.ends(reach(plan, 1, (10, 9.0), (20, 9.0)), 20)
    assert not halving.ends(plan.trials[2].trial.id, 10)


def test_each_rung_has_its_own_values(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP)
    halving = Rungs(plan)
    assert not halving.ends(reach(plan, 0, (10, 5.0)), 10)
    assert not halving.ends(reach(plan, 0, (20, 1.0), (30, 9.0)), 30)
    assert not halving.ends(reach(plan, 1, (10, 4.0)), 10)
    assert not halving.ends(reach(plan, 1, (20, 9.0), (30, 8.0)), 30)
    assert halving.ends(reach(plan, 2, (10, 6.0)), 10)


def test_a_new_sweep_of_decisions_knows_all_that_was_measured(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP)
    reach(plan, 0, (10, 1.0), (20, 7.0), (30, 7.0))
    late = reach(plan, 1, (10, 2.0))
    assert Rungs(plan).ends(late, 10), "a fresh ASHA would let it go on as the first"
    assert not Rungs(plan_of(*SWEEP, "cadence.metrics=1")).ends(late, 20)


def test_what_was_let_go_on_is_not_asked_about_again(plan_of: PlanOf) -> None:
    """Killed beyond a rung, and trained again from a checkpoint before it."""
    plan = plan_of(*SWEEP)
    halving = Rungs(plan)
    first = reach(plan, 0, (10, 5.0))
    assert not halving.ends(first, 10)
    reach(plan, 0, (20, 5.0))
    reach(plan, 1, (10, 1.0))
    assert not Rungs(plan).ends(first, 10)
    undecided = reach(plan, 2, (10, 5.0))
    assert Rungs(plan).ends(undecided, 10), "killed at the rung, it is decided anew"


def test_trials_of_other_lengths_meet_at_equal_shares(plan_of: PlanOf) -> None:
    plan = plan_of(
        "search={method: grid, objective: {metric: loss_g, mode: min}, over: {training.batch_size: [10, 20]}}",
        "scheduler=asha",
        "training={epochs: 1}",
        "cadence.metrics=1",
    )
    assert [p.trial.steps for p in plan.trials] == [179, 89]
    halving = Rungs(plan)
    assert not halving.ends(reach(plan, 0, (18, 1.0)), 18)
    assert halving.ends(reach(plan, 1, (9, 2.0)), 9)


def test_a_trial_that_was_added_later_is_known(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP)
    halving = Rungs(Plan(plan.sweep, plan.folder, plan.trials[:1]))
    reach(plan, 0, (10, 1.0))
    halving.ends(plan.trials[0].trial.id, 10)
    halving.add(plan.trials[1])
    assert halving.ends(reach(plan, 1, (10, 2.0)), 10)


def test_without_asha_nothing_ends(plan_of: PlanOf) -> None:
    plan = plan_of(*SWEEP, "scheduler=fifo")
    assert ends(plan, [1, 2, 3]) == [False] * 3
