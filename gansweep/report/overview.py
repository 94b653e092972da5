"""Page 1: a paragraph per sweep, the best configurations, and samples of the best trial and of each kind of failure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.metrics import label
from gansweep.health.verdict import title
from gansweep.report import choose, prose
from gansweep.report.palette import colour
from gansweep.report.pixels import printable
from gansweep.report.study import Block, Cell, Study, head, kind, paragraphs, section, step_of, table, trial_cell
from gansweep.report.words import counted, distinct, listed, measured, short
from gansweep.sweepfile.settings import DATA, DEVICE

MOST_GRIDS = 4  # side by side


def overview(study: Study) -> dict[str, Any]:
    """Return the first section. It has no heading, and the table of contents follows it."""
    texts = [_sweep(study, sweep) for _, sweep in study.tables.sweeps.iterrows()]
    blocks = [paragraphs(*texts, _between(study) if study.several else ""), _best(study), _samples(study)]
    if study.missing:
        missing = f"Samples of {counted(len(study.missing), 'trial')} are missing; they are shown in grey."
        blocks.append(paragraphs(missing))
    return {"blocks": [block for block in blocks if block], "contents": True}


def nothing_yet(study: Study) -> dict[str, Any]:
    """Return the only section of a report on sweeps without a started trial."""
    names = listed(study.tables.sweeps["sweep"])
    return {"blocks": [paragraphs(f"No trial of {names} has started yet: there is nothing to report.")]}


def differences(study: Study) -> dict[str, Any] | None:
    """Return the section with a table of the settings that differ between sweeps; None for a single sweep."""
    if not study.several:
        return None
    rows: list[list[Cell]] = []
    trials = study.trials.rename(columns={"steps": "training.steps"})
    settings = [name for name in trials if "." in name and not name.startswith("parameters.")]
    for key in (*settings, DEVICE):
        values = trials.groupby("sweep", sort=False)[key].agg(_values)
        if values.nunique() > 1:
            rows.append([key, *({"text": value, "strong": True} for value in values)])
    if not rows:
        return section("What differs between the sweeps", paragraphs("The settings are the same; seeds may differ."))
    heads = [head("setting"), *(head(name) for name in study.tables.sweeps["sweep"])]
    return section("What differs between the sweeps", table(heads, rows))


def _values(found: pd.Series) -> str:
    """Return the distinct values of a setting as text, separated by commas; – if it is never set."""
    return ", ".join(short(value) for value in distinct(found)) or "–"


def _sweep(study: Study, sweep: pd.Series) -> str:
    ranking = study.ranking_of(sweep["sweep"])
    trials = study.trials[study.trials["sweep"] == sweep["sweep"]]
    if trials.empty:
        return f"{sweep['sweep']}: no trial has started yet."
    settings = study.settings_of(trials)
    names = prose.called(trials, settings, with_sweep=False)
    sentences = (
        prose.tried(sweep["sweep"], trials, settings),
        prose.ended(trials, int(sweep["planned"]), int((~trials["planned"]).sum())),
        prose.devices(trials["device"], "Trials"),
        "Its data changed between plans, so quality is not compared."
        if DATA in settings
        else prose.best(
            study.configurations_of(sweep["sweep"]), names, ranking.metric, log=ranking.on_log_scale(trials["quality"])
        ),
        prose.failures(trials, settings),
        prose.earlier(int(sweep["earlier"]), shown=not trials["planned"].all()),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def _between(study: Study) -> str:
    """Return sentences on the best configuration of all sweeps, or on why they cannot be compared; "" without one."""
    if study.incomparable:
        return f"The sweeps {study.incomparable}, so their quality is not compared."
    ranked = study.configurations[study.configurations["place"].notna()]
    if ranked.empty:
        return ""
    first = ranked.iloc[0]
    name = study.in_words[first["sweep"], first["configuration"]]
    best = f"The best configuration of all sweeps is {name} ({study.called} {measured(first['estimate'])})."
    return " ".join(filter(None, (best, prose.devices(study.trials["device"], "Sweeps"))))


def _best(study: Study) -> Block | None:
    """Return a table of the best configurations; None if no configuration has a place.

    It shows choose.BEST configurations, or three per sweep if sweeps cannot be compared.
    """
    found = study.configurations[study.configurations["place"].notna()]
    found = found.head(choose.BEST) if study.comparable else found.groupby("sweep", sort=False).head(3)
    if found.empty:
        return None
    replicated = bool((study.configurations["trials"] > 1).any())
    rows: list[list[Cell]] = []
    for place, (_, row) in enumerate(found.iterrows(), 1):
        mine = (study.trials["sweep"] == row["sweep"]) & (study.trials["configuration"] == row["configuration"])
        best = choose.by_rank(study.trials[mine]).iloc[0]
        value = {"text": measured(row["estimate"]), "strong": place == 1}
        rows.append([str(place), *study.cells(best), value, *(_surety(row) if replicated else []), trial_cell(best)])
    sure = ("95\u00a0% interval", "may be best", "healthy seeds") if replicated else ()
    heads = [head(""), *study.columns(), *(head(name, right=True) for name in (study.called, *sure, "best trial"))]
    return table(heads, rows)


def _surety(row: pd.Series) -> list[str]:
    """Return a configuration's interval, whether it may be best, and how many of its seeds did not fail, as texts."""
    return [
        f"{measured(row['low'])} – {measured(row['high'])}" if np.isfinite(row["low"]) else "–",
        "–" if pd.isna(row["may_be_best"]) else "yes" if row["may_be_best"] else "no",
        f"{row['trials'] - row['failed']} of {row['trials']}",
    ]


def _samples(study: Study) -> Block:
    """Return a block with the last sample grids of at most MOST_GRIDS trials.

    They are the best trial and one per kind of failure. If these are few, trials of median and of last rank are added.
    """
    ordered = choose.by_rank(study.trials)
    ranked = [*ordered.index[ordered["rank"].notna()]]
    chosen = ranked[:1] + [choose.cases(study.trials, one).index[0] for one in choose.failing_kinds(study.trials)]
    if len(chosen) < MOST_GRIDS - 1:
        chosen += [*ranked[len(ranked) // 2 : len(ranked) // 2 + 1], *ranked[-1:]]
    chosen = list(dict.fromkeys(chosen))[:MOST_GRIDS] or [ordered.index[0]]
    items = [_grid(study, study.trials.loc[index], best=index in ranked[:1]) for index in chosen]
    return {"kind": "grids", "items": items, "columns": max(MOST_GRIDS - 1, len(items))}


def _grid(study: Study, trial: pd.Series, *, best: bool) -> Block:
    name = title(kind(trial)).capitalize()
    if best:
        name = "Best" if not trial["failed"] else f"Best, {title(kind(trial))}"
    elif not pd.isna(trial["rank"]):
        among = study.comparable | (study.trials["sweep"] == trial["sweep"])
        name = f"Rank {trial['rank']} of {study.trials.loc[among, 'rank'].count()}"
    text = f"{study.captions[trial['sweep'], trial['trial']]}; step {step_of(trial)}"
    if np.isfinite(trial["quality"]):
        text += f", {label(study.ranking_of(trial['sweep']).metric)} {measured(trial['quality'])}"
        if trial["quality_step"] != trial["step"]:
            text += f" at step {trial['quality_step']:,}"
        if remark := study.remarks.get((trial["sweep"], trial["trial"])):
            text += f", {remark}"
    return {
        "file": study.add(
            f"grid-{trial['sweep']}-{trial['trial']}.png", printable(study.last_grid(trial), study.size(trial))
        ),
        "alt": f"Samples of trial {trial['trial'][:8]}, {name}: {text}",
        "title": name,
        "colour": colour(kind(trial)),
        "text": text,
        "to": trial_cell(trial)["to"],
    }
