"""Outcome of a trial, and its current state as recorded in its folder."""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gansweep.errors import CheckpointError, UserError
from gansweep.health.detectors.base import Thresholds
from gansweep.health.kinds import FORMER
from gansweep.health.verdict import FAILURES, Verdict, by_precedence, states_of, tag_of
from gansweep.records import devices, journal, lock
from gansweep.records.disk import writing
from gansweep.records.layout import TrialFolder, read_json, write_atomically, write_json

OUT_OF_MEMORY = "out_of_memory"  # rule of a crash: the trial ran out of memory on a GPU of its own

Kind = Literal["completed", "stopped", "crashed", "interrupted"]
State = Literal["pending", "running", "completed", "stopped", "crashed", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        kind: completed (all steps), stopped (by a rule), crashed (an error) or interrupted (asked to end).
        step: Last trained step.
        reason: A sentence; "" for completed.
        verdicts: Verdicts on a completed or stopped trial, by precedence.
        rule: What stopped the trial: a kind of verdict, or `asha`. For a crash, OUT_OF_MEMORY or "".
        time: When the outcome was recorded, in seconds since the epoch; 0 until then.
        thresholds: Thresholds of the verdicts that differ from their defaults.
    """

    kind: Kind
    step: int
    reason: str = ""
    verdicts: tuple[Verdict, ...] = ()
    rule: str = ""
    time: float = 0.0
    thresholds: Thresholds = field(default_factory=dict)

    @property
    def verdict(self) -> str | None:
        """Kind of the primary verdict, if that is a failure or a conclusion; else None."""
        return tag_of(self.verdicts)

    @property
    def failure(self) -> str | None:
        """How the trial failed: `crashed`, or its primary verdict; None if it did not."""
        return failure_of(self.kind, self.verdict)

    @property
    def failed(self) -> bool:
        """Whether the trial crashed or has a failure verdict."""
        return self.failure is not None

    def finished(self, steps: int, rules: Collection[str], thresholds: Thresholds) -> bool:
        """Whether the trial has nothing left to do.

        Args:
            steps: Number of steps now planned.
            rules: Rules that now stop trials.
            thresholds: Current thresholds. A trial that ended under others is opened again: it ends immediately if the
                new ones stop it, and continues if they do not.
        """
        # What a rule of version 0.1.0 has stopped stays stopped, although the kind has another meaning today.
        stopped = self.kind == "stopped" and (self.rule in rules or self.rule in FORMER)
        ended = stopped or (self.kind == "completed" and self.step >= steps)
        return ended and self.thresholds == thresholds


def failure_of(state: str | None, verdict: str | None) -> str | None:
    """Return how a trial failed: `crashed`, or its primary verdict if that is a failure; None if it did not.

    Args:
        state: Current state of the trial, a value of State.
        verdict: Kind of the primary verdict, None without one.
    """
    if state == "crashed":
        return state
    return verdict if verdict in FAILURES else None


def write(folder: TrialFolder, outcome: Outcome) -> None:
    """Write the outcome durably: a trial that was reported as ended stays ended."""
    data = {**asdict(outcome), "time": outcome.time or time.time()}
    write_json(folder.outcome, data, durable=True)


def read(folder: TrialFolder) -> Outcome | None:
    """Return the recorded outcome; None for a trial that has not ended."""
    data = read_json(folder.outcome)
    if not data:
        return None
    data.pop("verdict", None)  # written by version 0.1
    verdicts = by_precedence(Verdict.from_json(v) for v in data.pop("verdicts", ()))
    return Outcome(**data, verdicts=verdicts)


def state(folder: TrialFolder, steps: int) -> State:
    """Return the current state of a trial of `steps` planned steps.

    The state is running if a process holds its lock, else how the trial ended. A trial that completed fewer steps than
    are now planned is interrupted: it will continue.
    """
    if lock.is_held(folder.lock):
        return "running"
    recorded = read(folder)
    if recorded and (recorded.kind != "completed" or recorded.step >= steps):
        return recorded.kind
    return "interrupted" if folder.lock.exists() else "pending"


def ended_as(folder: TrialFolder, now: str) -> Outcome | None:
    """Return the recorded outcome of a trial if its kind equals the trial's current state `now`; else None."""
    ended = read(folder)
    return ended if ended and ended.kind == now else None


def deaths(folder: TrialFolder) -> int:
    """Return how often the trial's process died, over all runs of the sweep."""
    return len(folder.deaths.read_text().splitlines()) if folder.deaths.exists() else 0


def count_death(folder: TrialFolder) -> None:
    """Record that the trial's process died."""
    with writing(folder.deaths), folder.deaths.open("a") as file:
        file.write(f"{time.time():.3f}\n")


def summary(folder: TrialFolder) -> dict[str, Any]:
    """Return the trial's row of `status --json`."""
    trial = read_json(folder.trial)
    recorded, last = read(folder), journal.latest(folder.journal)
    now = state(folder, trial["steps"])
    step = max(last.step if last else 0, recorded.step if recorded else 0)
    return {
        "id": folder.id,
        "varied": trial["varied"],
        "seed": trial["config"]["seed"],
        "outcome": now,
        "verdict": recorded.verdict if recorded and now == recorded.kind else None,
        "reason": recorded.reason if recorded and now == recorded.kind else "",
        "rule": recorded.rule if recorded and now == recorded.kind else "",
        "states": states_of(recorded.verdicts) if recorded and now == recorded.kind else [],
        "step": step,
        "steps_total": trial["steps"],
        "device": devices.label(folder) or None,
        "run_id": read_json(folder.published).get("run_id"),
        "metrics": dict(last.values) if last else {},
    }


def crashed(folder: TrialFolder, step: int, error: BaseException, rule: str = "") -> Outcome:
    """Record an error as the trial's outcome, and write its traceback to the trial's folder.

    Args:
        folder: Folder of the trial.
        step: Last trained step.
        error: The error. The outcome's reason is the first line of its message, with its type unless the message is
            written for users.
        rule: Outcome.rule: OUT_OF_MEMORY or "".
    """
    is_for_users = isinstance(error, CheckpointError | UserError) and str(error)
    reason = str(error) if is_for_users else f"{type(error).__name__}: {error}"
    first = reason.splitlines()[0]
    if rule == OUT_OF_MEMORY:
        first = f"out of GPU memory: {first}"
    return record_crash(folder, step, first, "".join(traceback.format_exception(error)), rule)


def record_crash(folder: TrialFolder, step: int, reason: str, trace: str, rule: str = "") -> Outcome:
    """Record a crash as the trial's outcome, and write its traceback to the trial's folder.

    Args:
        folder: Folder of the trial.
        step: Last trained step.
        reason: Reason of the crash, in one line.
        trace: Traceback of the error.
        rule: Outcome.rule: OUT_OF_MEMORY or "".
    """
    write_atomically(folder.traceback, trace.encode())
    ended = Outcome("crashed", step, reason, rule=rule)
    write(folder, ended)
    return ended
