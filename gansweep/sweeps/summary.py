"""Summary of a trial without its metrics: varied settings, state, verdict, data, and the embedding it is judged in."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gansweep.health.verdict import states_of
from gansweep.records import devices
from gansweep.records.layout import TrialFolder, read_json
from gansweep.records.outcome import Outcome

Entry = dict[str, Any]  # plain data of one trial


@dataclass(frozen=True)
class Summary:
    """Summary of one trial.

    Args:
        varied: dotted key → value of the settings varied by the search.
        steps: number of steps to train; 0 if unknown.
        outcome: one of records.outcome.State.
        verdict, reason, rule: as in records.outcome.Outcome, empty if there is none.
        states: states of the game between D and G, as given by health.verdict.states_of.
        device: as given by records.devices.label; empty if unknown.
        features: name of the embedding of its evaluations; empty if unknown.
        resolution: side in pixels of the images that the embedding sees; 0 if unknown.
        evaluator_accuracy: share of held-out real images whose class the evaluation names correctly; NaN if unknown.
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
    states: Sequence[Mapping[str, Any]] = ()
    data_fingerprint: str = ""
    device: str = ""
    features: str = ""
    resolution: int = 0
    evaluator_accuracy: float = math.nan
    real_shares: Mapping[str, float] = field(default_factory=dict)


def entry(folder: TrialFolder, now: str, ended: Outcome | None, run_id: str) -> Entry:
    """Return the summary of a trial as plain data.

    Args:
        folder: folder of the trial.
        now: its state, one of records.outcome.State.
        ended: its outcome; None if it is running or will continue.
        run_id: id of its run in the tracking store; "" if it has none.
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
        "states": states_of(ended.verdicts) if ended else [],
        "data_fingerprint": trial["data"]["fingerprint"],
        "device": devices.label(folder),
        "evaluator": sys.intern(json.dumps(evaluator(folder))),  # text, the same for most trials
    }


def evaluator(folder: TrialFolder) -> dict[str, Any]:
    """Return what is recorded about the embedding and classifier that evaluate a trial's samples.

    The keys are features (its name, "" if unknown), resolution (in pixels, 0 if unknown), accuracy (None if unknown)
    and real_shares (class → its share among the real images). The accuracy is rounded to four significant digits, the
    shares to four decimals.
    """
    judge = read_json(folder.evaluator)
    accuracy, shares = judge.get("accuracy"), judge.get("real_shares") or {}
    features = judge.get("features", {})
    return {
        "features": features.get("name", ""),
        "resolution": features.get("resolution", 0),
        "accuracy": None if accuracy is None else float(f"{accuracy:.4g}"),
        "real_shares": {name: round(share, 4) for name, share in shares.items()},
    }


def of_entry(told: Entry) -> Summary:
    """Convert an entry, as made by `entry`, to a summary. An entry without an outcome is that of a pending trial."""
    judge = told.get("evaluator", {})
    accuracy, shares = judge.get("accuracy"), judge.get("real_shares", {})
    found = {"outcome": "pending", **told, "real_shares": shares}
    found |= {"features": judge.get("features", ""), "resolution": judge.get("resolution", 0)}
    found["evaluator_accuracy"] = math.nan if accuracy is None else accuracy
    return Summary(**{one.name: found[one.name] for one in fields(Summary) if one.name in found})
