"""The parent run's artifact `trials.json`: the data of each trial, besides metrics, that are needed to read a sweep.

Tags can be edited and deleted in MLflow's UI, and long ones are truncated. This artifact is written completely by the
publisher, so readers use it first. Tags, the run's status and its parameters are the fallback for trials without an
entry: those that have just begun, and records of version 0.1.0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

from gansweep.health.kinds import current_kind
from gansweep.health.verdict import STATES, Verdict, by_precedence, states_of
from gansweep.records.outcome import State
from gansweep.sweeps.summary import Entry, Summary, of_entry

if TYPE_CHECKING:
    from mlflow.entities import Run

NAME = "trials.json"
# Outcome → MLflow's status of a run; it has none for trials that will continue.
STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "stopped": "KILLED",
    "crashed": "FAILED",
    "interrupted": "SCHEDULED",
}


def pack(planned: Iterable[Entry], earlier: Iterable[Entry]) -> bytes:
    """Return the content of the artifact.

    Equal evaluators are written once: with many classes they are longer than everything else.

    Args:
        planned: Entries in the order of the plan.
        earlier: Entries of trials of earlier plans.
    """
    evaluators: dict[str, int] = {}

    def shared(one: Entry) -> Entry:
        number = evaluators.setdefault(one["evaluator"], len(evaluators))
        return {**one, "evaluator": number}

    data = {"trials": [*map(shared, planned)], "earlier": [*map(shared, earlier)]}
    return json.dumps({**data, "evaluators": [*map(json.loads, evaluators)]}, ensure_ascii=False).encode()


def unpack(content: bytes) -> tuple[list[Entry], list[Entry]]:
    """Return the entries of the plan's trials and those of earlier plans' trials; both lists are empty if damaged.

    `content`: Content of the artifact.

    Entries written by version 0.1.0 have only id, varied, seed and steps.
    """
    with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
        data = json.loads(content)
        evaluators = data.get("evaluators", [])

        def whole(one: Entry) -> Entry:
            return {**one, "evaluator": evaluators[one["evaluator"]]} if "evaluator" in one else one

        return [whole(one) for one in data["trials"]], [whole(one) for one in data.get("earlier", [])]
    return [], []


def of_runs(runs: Collection[Run], content: bytes) -> dict[str, Summary]:
    """Return the summaries of the trials that runs belong to: run id → summary. Other runs are left out.

    Trials without an entry in the artifact are read from tags, as far as possible. If a trial has several runs and the
    artifact names one of them, the others are left out.

    Args:
        runs: The runs.
        content: Content of the artifact; empty if it does not exist.
    """
    entries = [entry for some in unpack(content) for entry in some]
    ids = {run.info.run_id for run in runs}
    by_run = {entry["run_id"]: entry for entry in entries if entry.get("run_id") in ids}
    by_trial = {entry["id"]: entry for entry in entries}
    sent = {entry["id"] for entry in by_run.values()}
    found = {}
    for run in runs:
        trial = run.data.tags.get("gansweep.trial_id")
        told = by_run.get(run.info.run_id) or by_trial.get(trial)
        if run.info.run_id in by_run or (trial and trial not in sent):  # of two runs of a trial, the one in the entry
            found[run.info.run_id] = of_entry({**_of_tags(run), **(told or {})})
    return found


def _of_tags(run: Run) -> Entry:
    """Return the entry of a trial from the tags of its run, which may be edited, truncated or missing.

    The seed (a parameter) and the status cannot be edited.
    """
    tags, params = run.data.tags, run.data.params
    verdicts, named = _verdicts(tags.get("gansweep.verdicts")), current_kind(tags.get("gansweep.verdict", ""))
    outcome = tags.get("gansweep.outcome")
    by_status = {status: kind for kind, status in STATUS.items()}  # SCHEDULED: interrupted, the last one
    return {
        "id": tags.get("gansweep.trial_id", ""),
        "varied": _object(tags.get("gansweep.varied")),
        "seed": _number(int, params.get("seed"), _number(int, tags.get("gansweep.seed"), 0)),
        "steps": _number(int, tags.get("gansweep.steps"), 0),
        "outcome": outcome if outcome in get_args(State) else by_status.get(run.info.status, "interrupted"),
        "verdict": "" if named in STATES else named,
        "states": states_of(verdicts),
        "reason": tags.get("gansweep.reason", "") if outcome != "completed" else "",
        "rule": tags.get("gansweep.rule", ""),
        "data_fingerprint": tags.get("gansweep.data_fingerprint", ""),
        "device": tags.get("gansweep.device", ""),
        "evaluator": {
            "features": tags.get("gansweep.features", ""),
            "resolution": _number(int, tags.get("gansweep.features_resolution"), 0),
            "accuracy": _number(float, tags.get("gansweep.evaluator_accuracy"), None),
            "real_shares": _object(tags.get("gansweep.real_shares")),
        },
    }


def _verdicts(text: str | None) -> tuple[Verdict, ...]:
    """Return the verdicts in a tag, by precedence; none if the tag is missing (None) or damaged."""
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        return by_precedence(map(Verdict.from_json, json.loads(text or "[]")))
    return ()


def _object(text: str | None) -> dict[str, Any]:
    """Return the JSON object in a tag; {} if the tag is missing (None) or damaged."""
    with suppress(ValueError, RecursionError):
        found = json.loads(text or "{}")
        return found if isinstance(found, dict) else {}
    return {}


def _number(kind: Callable[[str], Any], text: str | None, otherwise: Any) -> Any:
    with suppress(ValueError):
        return otherwise if text is None else kind(text)
    return otherwise
