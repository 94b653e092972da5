"""A sweep's state as views show it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from gansweep.engine.board import Board, Row
from gansweep.health.verdict import Verdict
from gansweep.planning.plan import Plan
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.outcome import Outcome

PlanOf = Callable[..., Plan]


def board(*rows: Row, since_s: float | None = 10.0) -> Board:
    """With training going on for so long."""
    now = time.monotonic()
    made = Board("s", {row.id: row for row in rows}, 2, now - 30.0)
    made.training_since = None if since_s is None else now - since_s
    return made


def row(name: str, step: int, outcome: str, *, steps: int = 100, weight: float = 1.0) -> Row:
    return Row(name, {}, 0, steps, weight, step=step, outcome=outcome)


def test_begins_as_the_trial_folders_are(plan_of: PlanOf) -> None:
    plan = plan_of("replicates=3", "training.steps=100")
    stopped, half, _ = folders = [plan.folder.trial(p.trial.id) for p in plan.trials]
    for folder, step in ((stopped, 20), (half, 40)):
        with Journal(folder.journal) as journal:
            journal.append(Record(step, 1.0, {"loss_d": float(step)}))
    verdict = Verdict("divergence", 20, "divergence at step 20", {})
    won = Verdict("discriminator_won", 7, "discriminator won since step 7", {})
    outcome.write(stopped, Outcome("stopped", 20, verdict.reason, (verdict, won), "divergence"))
    outcome.write(half, Outcome("interrupted", 40, "asked"))
    made = Board.of(plan_of("replicates=3", "training.steps=100"), 2, time.monotonic())
    assert list(made.rows) == [folder.id for folder in folders]
    assert [(r.outcome, r.step, r.verdict) for r in made.rows.values()] == [
        ("stopped", 20, "divergence"), ("pending", 40, None), ("pending", 0, None),
    ]  # fmt: skip
    assert made.rows[half.id].metrics == {"loss_d": 40.0}
    assert [r.states for r in made.rows.values()] == [[("discriminator_won", 7)], (), ()]
    assert made.done() == 1
    assert made.remaining_s() is None, "what earlier runs did says nothing about this one's speed"


def test_a_shorter_sweep_shows_no_step_beyond_its_end(plan_of: PlanOf) -> None:
    plan = plan_of("training.steps=100")
    with Journal(plan.folder.trial(plan.trials[0].trial.id).journal) as journal:
        journal.append(Record(100, 1.0, {}))
    (shown,) = Board.of(plan_of("training.steps=60"), 1, time.monotonic()).rows.values()
    assert (shown.step, shown.steps) == (60, 60)


def test_done_counts_whatever_ended() -> None:
    kinds = ("pending", "running", "completed", "stopped", "crashed", "interrupted")
    assert board(*(row(kind, 1, kind) for kind in kinds)).done() == 4


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("a", 50, "running"), row("b", 0, "pending")], 30.0),  # 50 steps in 10 s, 150 to go
        ([row("a", 50, "running"), row("b", 0, "pending", weight=3)], 70.0),  # b's steps cost three times as much
        ([row("a", 50, "stopped"), row("b", 50, "running")], 5.0),  # nothing is left of what was stopped
        ([row("a", 100, "completed"), row("b", 20, "crashed")], 0.0),
    ],
)
def test_remaining_is_work_left_at_the_pace_so_far(rows: list[Row], expected: float) -> None:
    assert board(*rows).remaining_s() == pytest.approx(expected, abs=0.5)


def test_remaining_leaves_out_what_was_done_before() -> None:
    made = board(row("a", 50, "running"))
    made.work_before = 40.0
    assert made.remaining_s() == pytest.approx(50.0, abs=0.5)


def test_remaining_is_unknown_before_anything_was_trained() -> None:
    assert board(row("a", 0, "running")).remaining_s() is None
    assert board(row("a", 50, "running"), since_s=None).remaining_s() is None
    assert board(row("a", 50, "running")).elapsed_s() == pytest.approx(30.0, abs=0.5)


def test_remaining_is_unknown_until_five_seconds_after_the_first_report() -> None:
    """The first report comes after Ray, torch and the evaluator were loaded: one step in that time is no pace."""
    made = board(row("a", 1, "running"), since_s=None)
    made.stepped()
    made.rows["a"].step = 11
    made.stepped()
    assert made.remaining_s() is None
    assert made.training_since is not None
    made.training_since -= 5.0
    assert made.remaining_s() == pytest.approx(44.5, abs=0.5), "10 steps in 5 s after the first report, 89 to go"


def test_trials_to_come_count_as_work_and_become_rows(plan_of: PlanOf) -> None:
    plan = plan_of("replicates=3", "training.steps=100")
    made = Board.of(replace(plan, trials=plan.trials[:1], to_come=plan.trials[1:]), 1, time.monotonic())
    assert (made.total, len(made.rows), made.done()) == (3, 1, 0)
    weight = plan.trials[0].step_operations
    assert made.to_come == [100.0 * weight] * 2
    row = made.rows[plan.trials[0].trial.id]
    made.training_since, row.step, row.outcome = time.monotonic() - 10.0, 50, "running"
    assert made.remaining_s() == pytest.approx(50.0, abs=0.5)
    made.add(plan.trials[2])
    assert list(made.rows) == [plan.trials[0].trial.id, plan.trials[2].trial.id]
    assert (made.total, len(made.to_come)) == (3, 1)
    assert made.remaining_s() == pytest.approx(50.0, abs=0.5)


def test_rows_may_be_added_while_another_thread_reads() -> None:
    made = board(row("b", 50, "completed"))

    class Adding(Row):
        """One during whose reading the driver adds a row."""

        def __getattribute__(self, name: str) -> object:
            if name in ("outcome", "weight"):
                made.rows[str(len(made.rows))] = row("new", 0, "pending")
            return super().__getattribute__(name)

    made.rows["a"] = Adding("a", {}, 0, 100, 1.0, step=50, outcome="running", steps_per_s=7.0)
    assert made.done() == 1
    assert made.steps_per_s() == 7.0
    assert made.remaining_s() is not None
