"""What `gansweep run` says at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pexpect
import pytest
from bad_calls import GOOD

from gansweep.api.training import Ended
from gansweep.cli.run import _report
from gansweep.cli.text import say
from gansweep.engine.board import Board
from gansweep.engine.ending import Ending
from gansweep.planning.plan import Plan, make_plan, write_trials
from gansweep.records import outcome
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.sweepfile.loader import load

GRID = GOOD + "search: {method: grid, over: {training.beta1: [0.1, 0.3, 0.5, 0.7]}}\n"
PLAIN = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "CI")}
COLLAPSED = Outcome("stopped", 5, "mode collapse since step 3: nothing is left", rule="mode_collapse")


@pytest.fixture
def plan(home: Home, tmp_path: Path) -> Plan:
    """Two of four trials were stopped in an earlier run."""
    file = tmp_path / "s.yaml"
    file.write_text(GRID)
    first = make_plan(load(file), home)
    write_trials(first, "gansweep run s.yaml", ())
    for planned in first.trials[:2]:
        outcome.write(first.folder.trial(planned.trial.id), COLLAPSED)
    return make_plan(load(file), home)


@pytest.mark.parametrize(("earlier", "expected"), [(2, "2 trials stopped"), (1, "1 trial stopped")])
def test_only_what_ended_in_this_run_is_told_trial_by_trial(
    plan: Plan, capsys: pytest.CaptureFixture[str], earlier: int, expected: str
) -> None:
    board = Board.of(plan, 1, time.monotonic() - 65)
    rows = list(board.rows.values())
    for row in rows[earlier:2]:
        row.outcome = "completed"
    rows[2].outcome, rows[2].reason = "stopped", COLLAPSED.reason
    rows[3].outcome = "completed"
    assert _report(Ended(plan, board, Ending(plan.folder, None), "sqlite:///here"), say) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{rows[2].id}: stopped: mode collapse since step 3: nothing is left",
        f"{expected} in earlier runs; `gansweep diagnose s` shows why",
        "all 4 trials are finished after 1 min 5 s; `gansweep ui` shows them",
    ]


def test_messages_are_wrapped_at_words_on_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    text = "what was [bold] measured :smile: " * 9
    say(text)
    assert capsys.readouterr().err == text + "\n"
    script = f"from gansweep.cli.text import say; say({text!r})"
    shown = pexpect.spawn(sys.executable, ["-c", script], dimensions=(30, 40), encoding="utf-8", timeout=60, env=PLAIN)
    shown.expect(pexpect.EOF)
    lines = str(shown.before).replace("\r", "").splitlines()
    assert len(lines) > 5
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).split() == text.split()


def test_an_interrupted_sweep_counts_finished_trials(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    board, ending = Board.of(plan, 1, time.monotonic()), Ending(plan.folder, None)
    ending.reason, ending.signal = "Ctrl-C", signal.SIGINT
    rows = list(board.rows.values())
    rows[2].outcome, rows[3].outcome = "completed", "interrupted"
    assert _report(Ended(plan, board, ending, "sqlite:///here"), say) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "Interrupted (Ctrl-C): 3 of 4 trials finished. Run the same command to resume."
