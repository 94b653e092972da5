"""Who has won the game between D and G, in the lines of `run` and `train`."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from gansweep.cli.train_view import TrainView
from gansweep.cli.views import Diary, PlainView
from gansweep.engine.board import Board, Row
from gansweep.health.verdict import Verdict

POOR = Verdict("poor", 1, "poor since step 1")
D_WON = Verdict("discriminator_won", 1200, "discriminator won since step 1,200")
IMBALANCE = Verdict("imbalance", 5, "imbalance since step 5")


def run(*verdicts: Verdict) -> Any:
    """As much of a run as its view reads."""
    return SimpleNamespace(
        latest={"loss_d": 0.05}, verdicts=verdicts, step=1500, steps_per_s=None, config=SimpleNamespace(steps=3000),
        notices=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ((POOR, D_WON, IMBALANCE), ["poor", "D won since step 1,200"]),
        ((D_WON, IMBALANCE), ["D won since step 1,200"]),
        ((IMBALANCE,), []),
    ],
)
def test_train_names_the_tag_and_who_won(tmp_path: Path, verdicts: tuple[Verdict, ...], words: list[str]) -> None:
    view, shown = TrainView(tmp_path / "log.txt"), run(*verdicts)
    assert view._figures(shown) == ["loss D 0.05", *words]
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(view._bar(shown))
    assert all(one in captured.get() for one in words)


def test_the_line_of_a_trial_that_ended_says_who_won(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("a" * 12, {"training.beta1": 0.5}, 0, 3000, 1.0, 3000, "completed", verdict="healthy")
    view = PlainView(Board("s", {row.id: row}, 1, time.monotonic()), Diary(tmp_path / "log.txt"))
    row.states = [("discriminator_won", 1200)]
    view.changed(row)
    for text in (capsys.readouterr().err, (tmp_path / "log.txt").read_text()):
        assert "completed at step 3000, loss D –, loss G –; D won since step 1,200" in text
