"""Conversion of Ray Tune's reports to rows of the board."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
from ray.tune import Callback

from gansweep.engine.board import Board, View
from gansweep.engine.incidents import Place
from gansweep.stopwatch import Stopwatch


class Progress(Callback):  # type: ignore[misc]  # Ray has no types
    """Callback of Ray Tune that updates the board.

    Args:
        board: The board.
        view: View to notify of changes.
        stopwatch: Stopwatch of the command.
        on_pass: Called several times a second.
        on_step: Called with the id and step of a trial before the trial continues.
        on_lack: Called with a message when a trial can no longer record anything.
        on_place: Called with Tune's id of a trial, its place and the time in seconds since the epoch, before the trial
            uses its GPU. None if places are not needed: trials are on other machines, or do not affect each other.
    """

    def __init__(
        self,
        board: Board,
        view: View,
        stopwatch: Stopwatch,
        on_pass: Callable[[], None],
        on_step: Callable[[str, int], None],
        on_lack: Callable[[str], None],
        on_place: Callable[[str, Place, float], None] | None = None,
    ) -> None:
        self._board, self._view, self._stopwatch, self._on_place = board, view, stopwatch, on_place
        self._on_pass, self._on_step, self._on_lack = on_pass, on_step, on_lack

    def __getstate__(self) -> dict[str, Any]:
        """Return {}: Tune pickles callbacks for restarts, which are not used, and a view cannot be pickled."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._on_pass()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._stopwatch.lap_once("processes")
        row = self._board.rows[trial.config["id"]]
        row.outcome = "running"
        self._view.changed(row)
        if self._on_place and (place := _place_of(trial)):
            self._on_place(trial.trial_id, place, time.time())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        # The result of a trial that was cut off may lack the keys of a regular result.
        if "outcome" not in result:
            return
        row = self._board.rows[result["id"]]
        for text in result["notices"]:
            self._view.notice(f"{row.id}: {text}")
        row.step, row.outcome, row.reason = result["step"], result["outcome"], result["reason"]
        row.verdict, row.rule = result["verdict"], result["rule"]
        row.states = [(kind, since_step) for kind, since_step in result["states"]]
        row.metrics = dict(result["metrics"]) or row.metrics
        row.steps_per_s = result["speed"][0] or row.steps_per_s
        self._board.stepped()
        self._stopwatch.lap_once("first step")
        self._stopwatch.tell_of(f"process of {row.id}", result["laps"])
        if result["lack"]:
            self._on_lack(result["lack"])
        self._view.changed(row)
        self._on_step(row.id, row.step)


def _place_of(trial: Any) -> Place | None:
    """Return the place of a trial whose process has started; None if the process has died."""
    first = trial.last_result  # requested from the process before it trains
    try:
        return Place(psutil.Process(first["pid"]), first["gpu"])
    except (KeyError, psutil.NoSuchProcess):
        return None
