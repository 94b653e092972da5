"""The table of trials at several widths of a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import pexpect
import pytest
from bad_calls import GOOD
from rich.console import Console
from service import COMMAND

from gansweep.cli.tables import trial_table
from gansweep.engine.board import Row
from gansweep.health.verdict import FAILURES, Verdict
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import Home, write_json
from gansweep.records.outcome import Outcome

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
D_WON = Verdict("discriminator_won", 9, "because", {})
WON = [("discriminator_won", 1200)]
FIGURES = {"loss_d": 0.5, "loss_g": 2.0, "d_real": 0.6, "d_fake": 0.4, "fd_ratio": 12.3, "steps_per_s": 25.0}


def rows(settings: int = 2, seeds: int = 1) -> list[Row]:
    """A trial for each failure, one that runs and one that waits."""
    keys = ["training.learning_rate", "training.beta1", "model.latent_dim", "training.discriminator.learning_rate"]
    ends: list[tuple[str, str | None, list[tuple[str, int]]]] = [("stopped", kind, []) for kind in FAILURES]
    ends += [("completed", "healthy", WON), ("running", None, WON), ("stopped", "never_took_off", WON)]
    ends += [("running", "poor", []), ("pending", None, [])]
    return [
        Row(
            f"{number:08x}0000", dict(zip(keys[:settings], (2e-4, 0.5, 100, 1e-3), strict=False)), number % seeds, 600,
            1.0, step=600, outcome=ended, verdict=verdict, states=states, metrics=FIGURES, steps_per_s=25.0,
        )
        for number, (ended, verdict, states) in enumerate(ends)
    ]  # fmt: skip


def test_who_won_stands_beside_the_outcome_and_says_since_when_where_there_is_room() -> None:
    ends = {
        width: [line.split("12.3")[1].strip() for line in lines(rows(), width) if "12.3" in line] for width in (80, 200)
    }
    assert ends[80][-5:] == ["healthy · D won", "running · D won", "never took off · D won", "running", "pending"]
    assert ends[200][-5:] == [
        "completed: healthy · D won since 1,200", "running · D won since 1,200",
        "stopped: never took off · D won since 1,200", "running: poor", "pending",
    ]  # fmt: skip


def lines(trials: Sequence[Row], width: int) -> list[str]:
    console = Console(width=500, force_terminal=False)  # nothing is cut off that the table asks for
    with console.capture() as captured:
        console.print(trial_table(trials, width))
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 150, 200])
@pytest.mark.parametrize("settings", [0, 1, 2])
def test_it_fits(width: int, settings: int) -> None:
    with_console = Console(width=width, force_terminal=False)
    with with_console.capture() as captured:
        with_console.print(trial_table(rows(settings, seeds=2), width))
    found = [line.rstrip() for line in captured.get().splitlines()]
    assert max(map(len, found)) <= width
    text = "\n".join(found)
    assert "…" not in text, "nothing is cut off"
    for number in range(len(rows())):
        assert f"{number:08x}" in text
    if settings == 2:
        assert text.count("2e-4") == len(rows())


def test_the_more_room_the_more_columns() -> None:
    headings = {width: lines(rows(), width)[1].split("  ") for width in (40, 80, 200)}
    columns = {width: [word.strip() for word in words if word.strip()] for width, words in headings.items()}
    assert columns[40] == ["trial", "step", "FD", "outcome"]
    assert columns[80] == ["trial", "learning_rate", "beta1", "progress", "step", "FD", "outcome"]
    assert columns[200][5:] == ["steps/s", "loss D", "loss G", "σ(D(x))", "σ(D(G(z)))", "FD", "outcome"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_status_in_a_terminal(home: Home, width: int) -> None:
    folder = home.sweep("lr-grid")
    folder.path.mkdir(parents=True)
    folder.source.write_text(GOOD)
    for number, kind in enumerate(FAILURES[:3]):
        trial = folder.trial(f"{number:08x}0000")
        varied = {"training.learning_rate": 2e-4, "training.beta1": 0.5}
        config = {"seed": 0, "training": {"learning_rate": 2e-4, "beta1": 0.5}}
        document = {"id": trial.id, "varied": varied, "steps": 600, "config": config, "data": {"fingerprint": "f"}}
        write_json(trial.trial, document)
        trial.lock.touch()
        with Journal(trial.journal) as journal:
            journal.append(Record(600, 1.0, FIGURES))
        outcome.write(trial, Outcome("stopped", 600, "because", (Verdict(kind, 9, "because"), D_WON), kind))
    write_json(folder.plan, {"trials": [trial.id for trial in folder.all_trials()]})
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    child = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "status", "lr-grid"], env={**environment, "TERM": "xterm-256color"},
        dimensions=(30, width), encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect(pexpect.EOF)
    text = ESCAPES.sub("", str(child.before)).replace("\r", "")
    table, _, summary = text.partition("3 trials: ")
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    assert "3 stopped" in summary
    assert re.sub(r"\s+", " ", table).count("· D won") == 3
