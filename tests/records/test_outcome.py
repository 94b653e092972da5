from __future__ import annotations

import time
from pathlib import Path

import pytest

from gansweep.errors import CheckpointError
from gansweep.health.verdict import Verdict
from gansweep.records import lock, outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder, write_json
from gansweep.records.outcome import Outcome

VERDICT = Verdict("divergence", 30, "divergence at step 30: loss_d is nan", {"loss_d": "nan"})
DEAD = Verdict("dead_generator", 20, "dead generator since step 20: blank", {"figures": {"spread_across": 0.0}})
HEALTHY = Verdict("healthy", 0, "healthy: no failure in 9 evaluations")
WON = Verdict(
    "discriminator_won", 20, "discriminator won since step 20: AUC 1.000", {"figures": {"d_auc": 1.0}, "need": 1}
)


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return TrialFolder(tmp_path / "0123456789ab")


@pytest.mark.parametrize(
    "ended",
    [
        Outcome("completed", 100, verdicts=(HEALTHY,), time=1.5),
        Outcome("stopped", 40, VERDICT.reason, (VERDICT, DEAD), "divergence", 2.5),
        Outcome("crashed", 3, "RuntimeError: out of memory", time=3.5),
        Outcome("interrupted", 7, "asked to end", time=4.5),
    ],
    ids=lambda ended: ended.kind,
)
def test_gives_back_what_was_written(folder: TrialFolder, ended: Outcome) -> None:
    assert outcome.read(folder) is None
    outcome.write(folder, ended)
    assert outcome.read(folder) == ended


def test_the_time_is_now_unless_given(folder: TrialFolder) -> None:
    outcome.write(folder, Outcome("completed", 1))
    found = outcome.read(folder)
    assert found is not None
    assert abs(found.time - time.time()) < 60


@pytest.mark.parametrize(
    ("recorded", "begun", "held", "state"),
    [
        (None, False, False, "pending"),
        (None, True, False, "interrupted"),  # killed
        (None, True, True, "running"),
        (Outcome("completed", 100), True, False, "completed"),
        (Outcome("completed", 120), True, False, "completed"),  # fewer steps are asked for now
        (Outcome("completed", 99), True, False, "interrupted"),  # more steps are asked for now
        (Outcome("completed", 100), True, True, "running"),
        (Outcome("stopped", 40, "r", (VERDICT,), "divergence"), True, False, "stopped"),
        (Outcome("stopped", 40, "r", (VERDICT,), "divergence"), True, True, "running"),
        (Outcome("crashed", 40, "r"), True, False, "crashed"),
        (Outcome("crashed", 40, "r"), True, True, "running"),
        (Outcome("interrupted", 40, "r"), True, False, "interrupted"),
        (Outcome("interrupted", 40, "r"), True, True, "running"),
    ],
)
def test_state_of_a_trial_of_100_steps(
    folder: TrialFolder, recorded: Outcome | None, begun: bool, held: bool, state: str
) -> None:
    if begun:
        mine = lock.acquire(folder.lock)
        if not held:
            mine.close()
    if recorded:
        outcome.write(folder, recorded)
    assert outcome.state(folder, 100) == state


@pytest.mark.parametrize(
    ("ended", "rules", "finished"),
    [
        (Outcome("completed", 99), (), False),
        (Outcome("completed", 100), (), True),
        (Outcome("completed", 101), (), True),
        (Outcome("completed", 100, verdicts=(DEAD,)), ("dead_generator",), True),
        (Outcome("stopped", 1, rule="dead_generator"), ("divergence", "dead_generator"), True),
        (Outcome("stopped", 1, rule="dead_generator"), ("divergence",), False),  # the rule is not in force any more
        (Outcome("stopped", 1, rule="dead_generator"), (), False),
        (Outcome("stopped", 1, rule="dead_generator", verdicts=(VERDICT, DEAD)), ("divergence",), False),
        (Outcome("crashed", 100), ("dead_generator",), False),
        (Outcome("interrupted", 100), ("dead_generator",), False),
    ],
)
def test_finished_says_whether_100_steps_have_nothing_left_to_do(
    ended: Outcome, rules: tuple[str, ...], finished: bool
) -> None:
    assert ended.finished(100, rules, {}) is finished
    assert not ended.finished(100, rules, {"dead_generator": {"across": 0.1}}), "it is to be judged anew"


@pytest.mark.parametrize(
    ("verdicts", "named"),
    [((), None), ((HEALTHY,), "healthy"), ((VERDICT, DEAD), "divergence"), ((HEALTHY, WON), "healthy"), ((WON,), None)],
)
def test_the_first_verdict_names_the_run(verdicts: tuple[Verdict, ...], named: str | None) -> None:
    assert Outcome("completed", 1, verdicts=verdicts).verdict == named


def test_deaths_are_counted(folder: TrialFolder) -> None:
    folder.path.mkdir()
    assert outcome.deaths(folder) == 0
    for n in (1, 2, 3):
        outcome.count_death(folder)
        assert outcome.deaths(folder) == n


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("first line\nsecond"), "RuntimeError: first line"),
        (ValueError(), "ValueError: "),
        (CheckpointError("x: damaged"), "x: damaged"),
    ],
)
def test_a_crash_keeps_its_traceback(folder: TrialFolder, error: Exception, reason: str) -> None:
    try:
        raise error
    except Exception as raised:
        ended = outcome.crashed(folder, 7, raised)
    assert (ended.kind, ended.step, ended.reason) == ("crashed", 7, reason)
    found = outcome.read(folder)
    assert found is not None
    assert (found.kind, found.reason) == ("crashed", reason)
    text = folder.traceback.read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert text.rstrip().endswith(str(error))


def test_summary_of_a_trial_that_has_not_begun_and_of_one_that_was_stopped(folder: TrialFolder) -> None:
    write_json(folder.trial, {"varied": {"training.beta1": 0.5}, "config": {"seed": 3}, "steps": 100})
    pending = {
        "id": "0123456789ab",
        "varied": {"training.beta1": 0.5},
        "seed": 3,
        "outcome": "pending",
        "verdict": None,
        "reason": "",
        "rule": "",
        "states": [],
        "step": 0,
        "steps_total": 100,
        "device": None,
        "run_id": None,
        "metrics": {},
    }
    assert outcome.summary(folder) == pending
    with Journal(folder.journal) as journal:
        journal.append(Record(30, 1.0, {"loss_d": 0.5}))
    outcome.write(folder, Outcome("stopped", 40, VERDICT.reason, (VERDICT, DEAD, WON), "divergence"))
    write_json(folder.published, {"run_id": "r"})
    assert outcome.summary(folder) == {
        **pending,
        "outcome": "stopped",
        "device": "CPU",
        "verdict": "divergence",
        "reason": VERDICT.reason,
        "rule": "divergence",
        "states": [{"kind": WON.kind, "since_step": 20, "reason": WON.reason, "figures": {"d_auc": 1.0}}],
        "step": 40,
        "run_id": "r",
        "metrics": {"loss_d": 0.5},
    }
    with lock.acquire(folder.lock):
        running = outcome.summary(folder)
    assert (running["outcome"], running["verdict"], running["reason"]) == ("running", None, "")
    assert running["states"] == []
