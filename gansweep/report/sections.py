"""Sections on the grid, curves over steps, samples during training, and time and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.metrics import LOSS_D, label, own_metrics
from gansweep.health.verdict import title
from gansweep.report import choose, curves, grid
from gansweep.report.importance import importances
from gansweep.report.pixels import evenly, strip
from gansweep.report.study import Block, Study, kind, paragraphs, section, verdict_cell
from gansweep.report.style import svg
from gansweep.report.words import counted, duration, listed, percent

STEPS = 7  # steps in a strip
PER_STEP = (5, 2)  # columns and rows of images per step of a strip
PANELS = 12  # maximum number of panels in one figure, so that it fits a page
LEAST = 3  # minimum number of trials for a picture of the grid


def whole_grid(study: Study) -> dict[str, Any] | None:
    """Return the section on the grid; None if no setting varies or there are fewer than LEAST trials.

    It shows maps over the two most important settings, parallel coordinates over all settings, and importances.
    """
    varying = [key for key in study.settings if study.trials[key].nunique() > 1]
    if not varying or len(study.trials) < LEAST:
        return None
    shares, caveat = _importances(study, varying)
    blocks: list[Block | None] = []
    if study.comparable:
        matter = shares.get(study.called, {})
        axes = sorted(sorted(varying, key=lambda key: -matter.get(key, 0.0))[:2], key=varying.index)
        words, which = (
            listed(study.names[key] for key in axes),
            ", the most important settings" if len(varying) > 2 else "",
        )
        picture = svg(grid.plane(study.trials, axes, study.called, log=study.log, lower=study.lower))
        alt = f"Two maps over {words}: {study.called}, and the verdicts of the trials."
        caption = f"{study.called} (left) and verdicts (right) over {words}{which}."
        if grid.several(study.trials, axes):
            caption += (
                " If other settings vary within a cell, it shows the best configuration, averaged over seeds only."
            )
        blocks.append(study.picture("plane", picture, alt, caption))
        if np.isfinite(study.trials["quality"].astype(float)).sum() > 1:
            picture = grid.parallel(study.trials, varying, study.called, log=study.log, lower=study.lower)
            alt = f"One line per trial across {listed(study.names[key] for key in varying)} and {study.called}."
            caption = f"One line per trial across all settings to its {study.called} on the right, coloured by verdict."
            blocks.append(study.picture("parallel", picture, alt, caption))
    if shares:
        words = "; ".join(f"{title(what)}: {_shares(study, of)}" for what, of in shares.items())
        caption = (
            "Importance of each setting for quality and for each kind of failure: its share of the variance that"
            f" single settings explain (functional ANOVA of a random forest). {caveat}"
        )
        picture = grid.importance(shares, varying)
        blocks.append(study.picture("importance", picture, f"Importance of settings. {words}.", caption.rstrip()))
    return section("The grid", *blocks)


def _shares(study: Study, of: dict[str, float]) -> str:
    return ", ".join(f"{study.names[key]} {share:.0%}" for key, share in of.items())


def _importances(study: Study, varying: Sequence[str]) -> tuple[dict[str, dict[str, float]], str]:
    """Return (result → setting → share, caveats), where a result is the objective or a kind of failure."""
    if len(varying) < 2:
        return {}, ""
    targets = {}
    if study.comparable:
        quality = study.trials["quality"].astype(float)
        targets[study.called] = np.log(quality.where(quality > 0)) if study.log else quality
    for one in choose.failing_kinds(study.trials):
        targets[one] = study.held(one).astype(float)
    explained = {what: importances(study.trials, varying, target) for what, target in targets.items()}
    caveats = {what: one.caveat for what, one in explained.items() if one.caveat}
    if len(set(caveats.values())) == 1:
        caveat = next(iter(caveats.values()))
    else:
        caveat = " ".join(f"{title(what)}: {one}" for what, one in caveats.items())
    return {what: dict(one.shares) for what, one in explained.items() if any(one.shares.values())}, caveat


def over_steps(study: Study) -> dict[str, Any] | None:
    """Return the section on losses and quality over steps, one panel per trial; None if no losses are recorded."""
    keys = zip(study.chosen["sweep"], study.chosen["trial"], strict=True)
    recorded = [len(study.series.training(key, LOSS_D)[0]) > 0 for key in keys]
    chosen = study.chosen[recorded]
    if chosen.empty:
        return None
    blocks: list[Block | None] = [_which(study, chosen)]
    scales = chosen.apply(curves.scale_of, axis=1)
    several = scales.nunique() > 1
    alike = [(scale, part) for scale in scales.unique() for part in _parts(chosen[scales == scale])]
    for number, (scale, part) in enumerate(alike):
        picture = curves.losses(study.series, part, study.captions)
        alt = f"Losses of D and G over steps, one panel for each of {counted(len(part), 'trial')}."
        scaled = f" ({scale}; not comparable with other losses)" if several else ""
        caption = f"Losses of D and G{scaled}. A vertical line marks the onset of a failure."
        if (part["states"] != "").any():
            caption += " A dash-dotted line marks since when D or G has won."
        blocks.append(study.picture(f"losses-{number}", picture, alt, caption))
    shown = dict.fromkeys((study.metric, *own_metrics(study.tables.evaluations)))
    for number, (metric, part) in enumerate((metric, part) for metric in shown for part in _parts(chosen)):
        called = label(metric)
        picture = curves.quality(study.series, part, study.captions, metric, called)
        alt = f"{called} over steps, one panel for each of {counted(len(part), 'trial')}."
        caption = f"{called} over steps, coloured by verdict. The other trials are shown in grey."
        blocks.append(study.picture(f"quality-{number}", picture, alt, caption))
    return section("Losses and quality over steps", *blocks)


def _parts(chosen: pd.DataFrame) -> list[pd.DataFrame]:
    """Split trials into tables of at most PANELS rows, whose panels fit a page."""
    return [chosen.iloc[at : at + PANELS] for at in range(0, len(chosen), PANELS)]


def _which(study: Study, chosen: pd.DataFrame) -> Block | None:
    if len(chosen) == len(study.trials):
        return None
    return paragraphs(
        f"{len(chosen)} of {counted(len(study.trials), 'trial')} are shown: the best, two of median rank, and some of"
        " each kind of failure. The appendix lists all trials."
    )


def samples(study: Study) -> dict[str, Any] | None:
    """Return the section with samples from fixed noise during training, one row per trial; None without samples."""
    trials = [trial for _, trial in study.chosen.iterrows() if study.sample_steps(trial)]
    if not trials:
        return None
    common = evenly(max((study.sample_steps(trial) for trial in trials), key=len), STEPS)
    rows = [_strip(study, trial, common) for trial in trials]
    text = (
        "Samples from the same ten noise vectors during training, the best trial first. For a trial that ended early,"
        " the row ends with its last samples."
    )
    strips = {"kind": "strips", "steps": [f"step {step:,}" for step in common], "rows": rows}
    return section("Samples during training", paragraphs(text), strips, new_page=True)


def _strip(study: Study, trial: pd.Series, common: Sequence[int]) -> Block:
    steps = study.sample_steps(trial)
    shown = [step for step in common if step in steps]
    if len(shown) < len(common) and steps[-1] not in shown:
        shown.append(steps[-1])
    grids = [study.grid_at(trial, step) for step in shown]
    place = "" if pd.isna(trial["rank"]) else f"{trial['rank']}. "
    ended = "" if steps[-1] == common[-1] else f"; up to step {steps[-1]:,}"
    return {
        "name": verdict_cell(trial) | {"text": place + title(kind(trial))},
        "text": study.captions[trial["sweep"], trial["trial"]] + ended,
        "file": study.add(
            f"strip-{trial['sweep']}-{trial['trial']}.png", strip(grids, len(common), study.size(trial), *PER_STEP)
        ),
        "alt": f"Samples of trial {trial['trial'][:8]} at steps {', '.join(f'{step:,}' for step in shown)}",
    }


def cost(study: Study) -> dict[str, Any] | None:
    """Return the section on wall time, speed and steps saved by stopping; None if no trial recorded its speed."""
    trials = study.trials
    if not trials["steps_per_s"].notna().any():
        return None
    stopped = trials[trials["outcome"] == "stopped"]
    total = duration(float(trials["wall_s"].sum()))
    text = f"All trials together took {total} for {counted(int(trials['step'].sum()), 'step')}. "
    if len(stopped):
        saved = int((stopped["steps"] - stopped["step"]).sum())
        text += (
            f"Stopping {counted(len(stopped), 'trial')} early saved {counted(saved, 'step')}:"
            f" {percent(saved / stopped['steps'].sum())} of their steps, {percent(saved / trials['steps'].sum())} of"
            " all planned steps."
        )
    else:
        text += "No trial was stopped early."
    picture = curves.cost(trials, study.settings_of(trials), study.names)
    alt = "Steps per second and wall time of each trial by network settings."
    figure = study.picture("cost", picture, alt, "Speed and wall time: one dot per trial, bars at the medians.")
    return section("Time and cost", paragraphs(text), figure)
