"""A trial beside its metrics: settings that were varied, state, verdict, data, and the classifier that judged it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gansweep.records.layout import TrialFolder, read_json
from gansweep.records.outcome import Outcome

Entry = dict[str, Any]  # plain data of one trial


@dataclass(frozen=True)
class Summary:
    """State of one trial.

    Args:
        varied: dotted key → value of what the search varied.
        steps: number of steps to train; 0 where it is unknown.
        outcome: one of records.outcome.State.
        verdict, reason, rule: as in records.outcome.Outcome, empty where there is none.
        evaluator_accuracy: NaN where it is unknown.
        real_shares: class → its share among the real images.
    """

    id: str
    varied: Mapping[str, Any]
    seed: int
    steps: int
    outcome: str
    verdict: str = ""
    reason: str = ""
    rule: str = ""
    data_fingerprint: str = ""
    evaluator_accuracy: float = math.nan
    real_shares: Mapping[str, float] = field(default_factory=dict)


def entry(folder: TrialFolder, now: str, ended: Outcome | None, run_id: str) -> Entry:
    """Return the summary of a trial as plain data.

    Args:
        now: state of the trial.
        ended: its outcome, if that is its state.
        run_id: of its run in the tracking store; "" where it has none.
    """
    trial = read_json(folder.trial)
    return {
        "id": folder.id,
        "varied": trial["varied"],
        "seed": trial["config"]["seed"],
        "steps": trial["steps"],
        "run_id": run_id,
        "outcome": now,
        "verdict": (ended.verdict or "") if ended else "",
        "reason": ended.reason if ended else "",
        "rule": ended.rule if ended else "",
        "data_fingerprint": trial["data"]["fingerprint"],
        "evaluator": sys.intern(json.dumps(evaluator(folder))),  # text, the same for most trials
    }


def evaluator(folder: TrialFolder) -> dict[str, Any]:
    """Return what judged a trial's samples: accuracy (None where there is none) and real_shares, both rounded."""
    judge = read_json(folder.evaluator)
    accuracy, shares = judge.get("accuracy"), judge.get("real_shares") or {}
    return {
        "accuracy": None if accuracy is None else float(f"{accuracy:.4g}"),
        "real_shares": {name: round(share, 4) for name, share in shares.items()},
    }


def of_entry(told: Entry) -> Summary:
    """Return the summary in an entry. One without an outcome is of a trial that has not begun."""
    judge = told.get("evaluator", {})
    accuracy, shares = judge.get("accuracy"), judge.get("real_shares", {})
    found = {"outcome": "pending", **told, "real_shares": shares}
    found["evaluator_accuracy"] = math.nan if accuracy is None else accuracy
    return Summary(**{one.name: found[one.name] for one in fields(Summary) if one.name in found})
