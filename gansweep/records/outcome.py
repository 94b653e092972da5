"""How a trial ended, and what its folder says of it at any moment."""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gansweep.errors import CheckpointError, UserError
from gansweep.health.detectors.base import Thresholds
from gansweep.health.verdict import Verdict
from gansweep.records import journal, lock
from gansweep.records.disk import writing
from gansweep.records.layout import TrialFolder, read_json, write_atomically, write_json

OUT_OF_MEMORY = "out_of_memory"  # rule of a crash: a GPU that the trial had for itself was too small

Kind = Literal["completed", "stopped", "crashed", "interrupted"]
State = Literal["pending", "running", "completed", "stopped", "crashed", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """kind: completed (all steps), stopped (by a rule), crashed (an error), interrupted (asked to end).

    step: the last one trained. reason: a sentence, "" for completed. verdicts: what was judged of a trial that was
    completed or stopped, by precedence. rule: what stopped it, a kind of verdict or `asha`; of a
    crash OUT_OF_MEMORY or "". time: s since the epoch. thresholds: of the verdicts, those that were not at their
    defaults.
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
        """The one that names the run."""
        return self.verdicts[0].kind if self.verdicts else None

    def finished(self, steps: int, rules: Collection[str], thresholds: Thresholds) -> bool:
        """Return whether a trial has nothing left to do.

        Args:
            steps: Its length now.
            rules: What stops trials now.
            thresholds: What verdicts are made at now. A trial that ended under others is opened again: it ends at once
                where the new ones say so, and trains on where they no longer stop it.
        """
        stopped = self.kind == "stopped" and self.rule in rules
        ended = stopped or (self.kind == "completed" and self.step >= steps)
        return ended and self.thresholds == thresholds


def write(folder: TrialFolder, outcome: Outcome) -> None:
    """Durably: what is said to have ended stays ended."""
    data = {**asdict(outcome), "time": outcome.time or time.time()}
    write_json(folder.outcome, data, durable=True)


def read(folder: TrialFolder) -> Outcome | None:
    """The recorded outcome; None for a trial that has not ended."""
    data = read_json(folder.outcome)
    if not data:
        return None
    data.pop("verdict", None)  # of version 0.1, which had one
    verdicts = tuple(Verdict.from_json(v) for v in data.pop("verdicts", ()))
    return Outcome(**data, verdicts=verdicts)


def state(folder: TrialFolder, steps: int) -> State:
    """What a trial of so many steps is doing now: running if a process holds it, else how it ended.

    One that completed fewer steps than are now asked for is interrupted: it will go on.
    """
    if lock.is_held(folder.lock):
        return "running"
    recorded = read(folder)
    if recorded and (recorded.kind != "completed" or recorded.step >= steps):
        return recorded.kind
    return "interrupted" if folder.lock.exists() else "pending"


def deaths(folder: TrialFolder) -> int:
    """How often the trial's process died, over all runs."""
    return len(folder.deaths.read_text().splitlines()) if folder.deaths.exists() else 0


def count_death(folder: TrialFolder) -> None:
    """One more."""
    with writing(folder.deaths), folder.deaths.open("a") as file:
        file.write(f"{time.time():.3f}\n")


def summary(folder: TrialFolder) -> dict[str, Any]:
    """One row of `status --json`."""
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
        "step": step,
        "steps_total": trial["steps"],
        "run_id": read_json(folder.published).get("run_id"),
        "metrics": dict(last.values) if last else {},
    }


def crashed(folder: TrialFolder, step: int, error: BaseException, rule: str = "") -> Outcome:
    """Record an error as the trial's outcome, with its traceback beside it. rule: as in Outcome."""
    told = isinstance(error, CheckpointError | UserError) and str(error)
    reason = str(error) if told else f"{type(error).__name__}: {error}"
    first = reason.splitlines()[0]
    if rule == OUT_OF_MEMORY:
        first = f"out of GPU memory: {first}"
    return record_crash(folder, step, first, "".join(traceback.format_exception(error)), rule)


def record_crash(folder: TrialFolder, step: int, reason: str, trace: str, rule: str = "") -> Outcome:
    """The same for an error of another process. reason: a line. trace: its traceback."""
    write_atomically(folder.traceback, trace.encode())
    ended = Outcome("crashed", step, reason, rule=rule)
    write(folder, ended)
    return ended
