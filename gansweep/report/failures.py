"""Sections on failures: for each kind its evidence, the trials that have it, and the measured accuracy of verdicts."""

from __future__ import annotations

import csv
from decimal import ROUND_FLOOR, Decimal
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from gansweep.features import is_compared
from gansweep.health.metrics import label
from gansweep.health.verdict import FAILURES, KINDS, title
from gansweep.report import choose, curves, prose
from gansweep.report.statistics import share
from gansweep.report.study import Block, Cell, Study, head, paragraphs, section, step_of, table, trial_cell
from gansweep.report.words import counted, distinct, listed, percent, short

CENT = Decimal("0.01")
MEASURED_SIDE = 32  # pixels
BEFORE_LOSSES = "non_saturating"  # of trials that are older than `training.loss`
MOST_VALUES = 10  # maximum number of values of a setting whose failure rates are listed


def failures(study: Study) -> list[dict[str, Any]]:
    """Return the sections on failures; [] if no trial failed.

    They are a table of failure rates, a section for each kind of failure that is the primary verdict of a trial, and
    one on crashed trials.
    """
    kinds = choose.failing_kinds(study.trials)
    crashed = study.trials[study.trials["outcome"] == "crashed"]
    if not kinds and crashed.empty:
        return []
    text = (
        "Verdicts are based on measurements of samples and of D's outputs. A trial can have several verdicts. It is"
        " listed under its primary verdict, the first one in the order of this section; the table counts it under each."
        " Decided trials are those that failed or are healthy; undecided ones have too few evaluations."
    )
    found = [section("Failures", paragraphs(text), how_often(study), new_page=True)]
    found += [_kind(study, kind, choose.cases(study.trials, kind)) for kind in kinds]
    if len(crashed):
        found.append(section("Crashed", _crashes(study, crashed), level=2))
    return found


def how_often(study: Study) -> Block:
    """Return a table of failure rates with Wilson intervals: of any failure, by kind, and by value of each setting.

    A trial counts for every kind of its verdicts. Undecided trials are not counted.
    """
    decided = study.trials[study.trials["failed"] | (study.trials["verdict"] == "healthy")]
    rows = [_rate("any failure", decided["failed"])]
    for kind in FAILURES:
        if (held := study.held(kind)[decided.index]).any():
            rows.append(_rate(title(kind), held))
    for key in study.settings:
        values = distinct(decided[key])
        if 1 < len(values) <= MOST_VALUES:
            rows += [_rate(f"{study.names[key]} {short(v)}", decided["failed"][decided[key] == v]) for v in values]
    return table(
        [head("failure"), *(head(name, right=True) for name in ("failed", "decided", "share", "95\u00a0% interval"))],
        rows,
    )


def _rate(what: str, failed: pd.Series) -> list[Cell]:
    found = share(int(failed.sum()), len(failed))
    interval = f"{percent(found.low)} – {percent(found.high)}"
    return [what, str(int(failed.sum())), str(len(failed)), percent(found.estimate), interval]


def _kind(study: Study, kind: str, found: pd.DataFrame) -> dict[str, Any]:
    shown = found.head(choose.CASES)
    critics = any(curves.is_critic(trial) for _, trial in shown.iterrows())
    outputs = (
        " Grey with the axis on the right: mean outputs of a critic for real images, dotted for fakes."
        if critics
        else ""
    )
    won = " A dash-dotted line marks since when D or G has won." if (shown["states"] != "").any() else ""
    stacked = {key: caption.replace(", ", "\n") for key, caption in study.captions.items()}
    metric = label(study.metric)
    figure = study.picture(
        f"evidence-{kind}",
        curves.evidence(study.series, shown, stacked, study.metric, metric),
        f"Evidence for {title(kind)} in {counted(len(shown), 'trial')}: classes of samples at the end, AUC of D and its"
        f" mean output on fresh fakes, spread of samples and how intact they are, and {metric} over steps.",
        f"{len(shown)} of {counted(len(found), 'case')}. Bars: classes of samples at the end; dashes: classes of real"
        f" images. A vertical line marks the onset.{won}{outputs}",
    )
    rows = []
    for _, trial in found.iterrows():
        reason = str(trial["reason"])
        rows.append(
            [
                *(trial_cell(trial), *study.cells(trial), f"{int(trial['since_step']):,}", step_of(trial)),
                reason.partition(": ")[2] or reason,
            ]
        )
    heads = [head("trial"), *study.columns(), head("since step", right=True), head("ended at", right=True)]
    words = paragraphs(_meaning(kind), _accuracy(study, kind, found), study.thresholds(kind))
    cases = table([*heads, head("evidence", wide=True)], rows)
    return section(title(kind).capitalize(), words, figure, cases, level=2, label=kind)


def _crashes(study: Study, crashed: pd.DataFrame) -> Block:
    heads = [head("trial"), *study.columns(), head("step", right=True), head("error", wide=True)]
    rows = [
        [trial_cell(trial), *study.cells(trial), step_of(trial), str(trial["reason"])]
        for _, trial in crashed.iterrows()
    ]
    return table(heads, rows)


def _meaning(kind: str) -> str:
    return f"{title(kind).capitalize()}: {KINDS[kind].meaning}."


def _accuracy(study: Study, kind: str, found: pd.DataFrame) -> str:
    """Return sentences on how often a primary verdict was right on held-out runs like the trials in `found`.

    Such runs have the same loss as a trial, and are conditional if the trial is. The accuracy was measured on grey
    images of MEASURED_SIDE pixels with labels, judged in the classifier's features; for other images or features, the
    text says that it was not measured.
    """
    if any(study.size(trial) != MEASURED_SIDE for _, trial in found.iterrows()):
        return f"How often this tag is right was measured for images of {MEASURED_SIDE} pixels only."
    sides = found["features_resolution"].fillna(0)
    if not all(is_compared(name, int(side)) for name, side in zip(found["features"], sides, strict=True)):
        return "How often this tag is right was not measured in these features (docs/verdicts.md says where it was)."
    words = [_right(kind, *regime) for regime in sorted({_regime(trial) for _, trial in found.iterrows()})]
    return " ".join(words)


def _regime(trial: pd.Series) -> tuple[str, bool]:
    """Return the loss of a trial, and whether it is conditional. Old trials lack the settings."""
    loss, conditioning = (trial.get(key) for key in ("training.loss", "model.conditioning"))
    conditional = not prose.missing(conditioning) and conditioning != "none"
    return BEFORE_LOSSES if prose.missing(loss) else str(loss), conditional


def _right(kind: str, loss: str, conditional: bool) -> str:
    called = f"{'conditional' if conditional else 'unconditional'} runs with the loss {loss}"
    asked = (kind, loss, str(conditional))
    row = next((one for one in _measured() if (one["verdict"], one["loss"], one["conditional"]) == asked), None)
    if row is None:
        return f"How often this tag is right was not measured for {called}."
    bound = Decimal(row["bound"]).quantize(CENT, ROUND_FLOOR)
    return (
        f"Of {row['runs']} held-out {called} with this tag, on {listed(row['sets'].split())}, {row['failing']} were"
        f" poor or worse in blind looks (95\u00a0% lower bound {bound})."
    )


@cache
def _measured() -> list[dict[str, str]]:
    """Return the rows of accuracy.csv, the accuracy of verdicts as analysis/verdicts/measure_tags.py measured it."""
    text = resources.files("gansweep.report").joinpath("accuracy.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
