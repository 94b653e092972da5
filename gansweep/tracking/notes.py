"""Texts about trials and sweeps in the store: tags, and the descriptions that MLflow's UI shows first."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from gansweep.health.verdict import CONCLUSIONS, ORDER, STATES, Verdict, title
from gansweep.records import devices, outcome
from gansweep.records.layout import TrialFolder, read_json
from gansweep.records.outcome import Outcome
from gansweep.records.ranking import Ranking
from gansweep.sweeps import summary
from gansweep.tracking.limits import LONGEST_TEXT, whole_or_nothing
from gansweep.words import counted

NOTE = "mlflow.note.content"  # Markdown
BREAK = "  \n"  # a line break within a paragraph
BEST = 5  # trials named in the note of a sweep
MOST_UNSENT = 3  # trials named that could not be sent
LONGEST_REASON = 250  # characters; with this length all kinds together fit in a tag


def finding(verdict: Verdict) -> str:
    """Return a verdict's reason without the kind and the step, for output that shows these separately."""
    head, _, rest = verdict.reason.partition(": ")
    return rest if rest and head.startswith(title(verdict.kind)) else verdict.reason


def tags(folder: TrialFolder, now: str, ended: Outcome | None) -> dict[str, str]:
    """Return the tags that describe a trial in its run. A tag without a value is "", to overwrite a former value.

    Args:
        folder: The trial's folder.
        now: State of the trial.
        ended: Outcome of the trial; None if it has not ended.
    """
    trial = read_json(folder.trial)
    verdicts = ended.verdicts if ended else ()
    reason = ended.reason or (verdicts[0].reason if verdicts else "") if ended else ""
    found = {
        "gansweep.outcome": now,
        "gansweep.steps": str(trial["steps"]),
        "gansweep.varied": whole_or_nothing(json.dumps(trial["varied"])),
        "gansweep.verdict": (ended.verdict or "") if ended else "",
        "gansweep.states": ",".join(one.kind for one in verdicts if one.is_state),
        "gansweep.verdicts": verdicts_json(verdicts) if verdicts else "",
        "gansweep.reason": reason[:LONGEST_TEXT],
        "gansweep.rule": ended.rule if ended else "",
        NOTE: _note(folder.id, ended)[:LONGEST_TEXT] if ended else "",
    }
    if device := devices.label(folder):
        found["gansweep.device"] = device
    if used := devices.read(folder):
        found |= {"gansweep.driver": used[-1].driver, "gansweep.torch": used[-1].torch}
    if host := read_json(folder.owner).get("host"):
        found["gansweep.host"] = host
    judge = summary.evaluator(folder)
    if judge["features"]:
        found["gansweep.features"] = judge["features"]
        found["gansweep.features_resolution"] = str(judge["resolution"])
    if judge["accuracy"] is not None:
        found["gansweep.evaluator_accuracy"] = f"{judge['accuracy']:.4g}"
    if shares := judge["real_shares"]:
        found["gansweep.real_shares"] = whole_or_nothing(json.dumps(shares, ensure_ascii=False))
    return found


def verdicts_json(verdicts: Sequence[Verdict]) -> str:
    """Return verdicts as JSON that fits in a tag.

    If it is too long, evidence is dropped, that of the last verdict first. If that does not suffice, reasons are
    truncated.
    """
    found = [verdict.to_json() for verdict in verdicts]
    for one in reversed(found):
        if len(text := json.dumps(found, ensure_ascii=False)) <= LONGEST_TEXT:
            return text
        one["evidence"] = {}
    for one in found:
        one["reason"] = one["reason"][:LONGEST_REASON]
    return json.dumps(found, ensure_ascii=False)


def of_sweep(
    name: str,
    states: Mapping[TrialFolder, str],
    links: Mapping[str, str],
    ranking: Ranking,
    earlier: int = 0,
    unsent: Collection[str] = (),
) -> str:
    """Return the note of a sweep, the Markdown text that MLflow's UI shows as the description of its parent run.

    It has counts of outcomes, a table of the best trials and one of the failed trials, each truncated to fit in a tag.

    Args:
        name: Name of the sweep.
        states: State of each trial whose run is up to date.
        links: Trial id → link to its run in the UI.
        ranking: Ranking of the trials.
        earlier: Number of trials of earlier plans.
        unsent: Ids of the trials that could not be sent.
    """
    ended = {trial: outcome.ended_as(trial, now) for trial, now in states.items()}
    named = [one.verdict for one in ended.values() if one and one.verdict]
    counts = ", ".join(f"{n} {now}" for now, n in Counter(states.values()).items())
    note = f"**{counted(len(states), 'trial')}**: {counts}."
    if earlier:
        note += f" {counted(earlier, 'more run')} of earlier plans {'is' if earlier == 1 else 'are'} not counted."
    if unsent:
        ids = ", ".join(sorted(unsent)[:MOST_UNSENT]) + (", …" if len(unsent) > MOST_UNSENT else "")
        note += f" Not sent yet: {counted(len(unsent), 'trial')} ({_plain(ids)}); `gansweep sync {name}` sends them."
    if named:
        kinds = sorted(Counter(named).items(), key=lambda item: ORDER.index(item[0]))
        note += " Verdicts: " + ", ".join(f"{n} {title(kind)}" for kind, n in kinds) + "."
    if won := Counter(v.kind for one in ended.values() if one for v in one.verdicts if v.is_state):
        note += " States: " + ", ".join(f"{won[kind]} {title(kind)}" for kind in STATES if won[kind]) + "."
    failed = {trial: one for trial, one in ended.items() if one and one.failed}
    ranked = ranking.ranked(states)
    if best := {trial: [f"{value:.4g}"] for trial, value in islice(ranked.items(), BEST)}:
        note = _with_table(f"{note}\n\nThe best:", best, [ranking.metric], links, f"`gansweep best {name}`")
    if failed:
        reasons = {trial: [*_failure(one)] for trial, one in failed.items()}
        titles = ["verdict", "since step", "reason"]
        note = _with_table(f"{note}\n\nThose that failed:", reasons, titles, links, f"`gansweep diagnose {name}`")
    return note


def _with_table(
    note: str, rows: Mapping[TrialFolder, list[str]], titles: Sequence[str], links: Mapping[str, str], command: str
) -> str:
    """Return a note with a table appended.

    The table has a row for each trial, as many as fit in a tag.

    Args:
        note: The note so far.
        rows: Trial → cells of its row, to the right of its settings.
        titles: Titles of these cells.
        links: Trial id → link to its run in the UI.
        command: Command that prints the whole table, named if rows are left out.
    """
    trials = {trial: read_json(trial.trial) for trial in rows}
    keys = list(dict.fromkeys(key for trial in trials.values() for key in trial["varied"]))
    seeds = {trial: str(document["config"]["seed"]) for trial, document in trials.items()}
    with_seed = len(set(seeds.values())) > 1
    heads = ["trial", *(key.rpartition(".")[2] for key in keys), *(["seed"] if with_seed else []), *titles]
    lines = ["", _row(heads), _row(["---"] * len(heads))]
    for number, (trial, cells) in enumerate(rows.items()):
        link = links.get(trial.id)
        name = f"[{trial.id[:8]}]({link})" if link else trial.id[:8]
        values = [_plain(trials[trial]["varied"].get(key, "")) for key in keys]
        line = _row([name, *values, *([seeds[trial]] if with_seed else []), *cells])
        rest = f"\n\nand {len(rows) - number} more: {command}"
        if len("\n".join([note, *lines, line])) + len(rest) > LONGEST_TEXT:
            return "\n".join([note, *lines]) + rest
        lines.append(line)
    return "\n".join([note, *lines])


def _failure(ended: Outcome) -> tuple[str, str, str]:
    """Return the table cells of a failed trial: verdict, onset and reason."""
    if ended.kind == "crashed":
        return "*crashed*", f"{ended.step:,}", _plain(ended.reason[:LONGEST_REASON])
    (first, *_) = _failures(ended)
    return f"**{title(first.kind)}**", f"{first.since_step:,}", _plain(finding(first))


def _failures(ended: Outcome) -> list[Verdict]:
    return [verdict for verdict in ended.verdicts if verdict.is_failure]


def _note(trial_id: str, ended: Outcome) -> str:
    """Return the note of a trial in short lines: the UI hides more than about six of them."""
    if ended.kind == "interrupted":
        return ""
    lines = [line for first in ended.verdicts[:1] for line in (f"**{_headline(first)}**", _plain(finding(first)))]
    if ended.kind != "completed" and all(verdict.reason != ended.reason for verdict in ended.verdicts):
        lines += [f"**{ended.kind} at step {ended.step:,}**", _plain(ended.reason[:LONGEST_REASON])]
    if ended.kind == "crashed":
        lines.append(f"`gansweep show {trial_id}` shows the traceback")
    others = [f"\n- {_headline(verdict)}: {_plain(finding(verdict))}" for verdict in ended.verdicts[1:]]
    return BREAK.join(lines) + ("\n" if others else "") + "".join(others)


def _headline(verdict: Verdict) -> str:
    if verdict.kind in CONCLUSIONS:
        return title(verdict.kind)
    return f"{title(verdict.kind)} since step {verdict.since_step:,}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(value: Any) -> str:
    """Return a value as one line of text, with the characters escaped that have a meaning in Markdown."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"([\\`*_|~\[\]])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")
