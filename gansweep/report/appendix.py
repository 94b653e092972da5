"""Appendix: all trials, the commands that rerun them, the sweep files, and their environment."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gansweep.health.verdict import STATES
from gansweep.report import choose
from gansweep.report.study import Cell, Study, head, paragraphs, section, step_of, table, trial_cell, verdict_cell
from gansweep.report.words import listed, measured


def appendix(study: Study) -> list[dict[str, Any]]:
    """Return the heading and sections of the appendix."""
    trials = [trial for _, trial in choose.by_rank(study.trials).iterrows()]
    found = study.tables.verdicts.sort_values("place")
    kinds = {key: list(group["kind"]) for key, group in found.groupby(["sweep", "trial"], sort=False)}
    heads = [
        *(head("trial"), head("rank", right=True), *study.columns(), head("seed", right=True), head("outcome")),
        *(head("verdicts", wide=True), head("step", right=True), head(study.called, right=True)),
        *(head(name, right=True) for name in study.final_names),
    ]
    rows = [_row(study, trial, kinds.get((trial["sweep"], trial["trial"]), [])) for trial in trials]
    commands = [[trial_cell(trial), {"text": study.command(trial), "mono": True}] for trial in trials]
    rerun = table([head("trial"), head("command", wide=True)], commands)
    return [
        section("Appendix"),
        section("All trials", table(heads, rows), level=2),
        *(_sweep_file(study, sweep) for _, sweep in study.tables.sweeps.iterrows()),
        section(
            "Commands to rerun single trials",
            paragraphs("Each command trains one trial again. It reads the sweep file at the path that it names."),
            rerun,
            level=2,
        ),
    ]


def _row(study: Study, trial: pd.Series, kinds: list[str]) -> list[Cell]:
    """Return the row of a trial. kinds: kinds of all its verdicts, by precedence."""
    return [
        {"text": trial["trial"], "label": str(trial_cell(trial)["to"])},
        "" if pd.isna(trial["rank"]) else str(trial["rank"]),
        *study.cells(trial),
        str(trial["seed"]),
        str(trial["outcome"]),
        verdict_cell(trial, [kind for kind in kinds[1:] if kind not in STATES]),
        step_of(trial),
        _quality(study, trial),
        *study.finals(trial),
    ]


def _quality(study: Study, trial: pd.Series) -> Cell:
    """Return a cell with the value of the objective at a trial's last evaluation, and its remark in grey."""
    value, remark = measured(trial["quality"]), study.remarks.get((trial["sweep"], trial["trial"]))
    return {"text": value, "more": f" ({remark})"} if remark else value


def _sweep_file(study: Study, sweep: pd.Series) -> dict[str, Any]:
    text = {"kind": "code", "text": sweep["file"].rstrip(), "lang": "yaml"}
    name = f"Sweep file of {sweep['sweep']}"
    return section(name, text, paragraphs(_ran_on(study, sweep)), level=2, label=f"file-{sweep['sweep']}")


def _ran_on(study: Study, sweep: pd.Series) -> str:
    """Return a sentence on the command, machine, versions, commit, devices, data and evaluation of a sweep."""
    versions = [
        f"{name.removeprefix('version.')} {sweep[name]}"
        for name in sweep.index
        if name.startswith("version.") and sweep[name]
    ]
    trials = study.trials[study.trials["sweep"] == sweep["sweep"]]
    accuracy = trials["evaluator_accuracy"].dropna()
    parts = [
        f"Command: {sweep['command']}" if sweep["command"] else "",
        sweep["machine"],
        ", ".join(versions),
        f"commit {sweep['commit'][:12]}" if sweep["commit"] else "",
        f"trained on {listed(used)}" if (used := sorted({*trials["device"]} - {""})) else "",
        f"data {listed(sorted(set(trials['data_fingerprint'])))}",
        f"judged in the features {listed(used)}" if (used := sorted({*trials["features"]} - {""})) else "",
        f"the evaluation names the class of {100 * accuracy.iloc[0]:.1f}\u00a0% of held-out real images correctly"
        if len(accuracy)
        else "",
    ]
    return "; ".join(part for part in parts if part) + "."
