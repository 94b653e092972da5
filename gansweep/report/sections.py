"""The sections between overview and failures: the grid, curves over steps, samples across training, time and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.metrics import LOSS_D
from gansweep.health.verdict import title
from gansweep.report import choose, curves, grid
from gansweep.report.importance import importances
from gansweep.report.pixels import evenly, strip
from gansweep.report.study import Block, Study, kind, paragraphs, section, verdict_cell
from gansweep.report.style import svg
from gansweep.report.words import counted, duration, listed, percent

STEPS = 7  # of a strip
PER_STEP = (5, 2)  # images of a strip's step, columns and rows
PANELS = 12  # of small multiples in one figure, so that it fits a page
LEAST = 3  # trials, for a grid to be worth a picture


def whole_grid(study: Study) -> dict[str, Any] | None:
    """Heat maps over the two most important settings, parallel coordinates over all, importances."""
    varying = [key for key in study.settings if study.trials[key].nunique() > 1]
    if not varying or len(study.trials) < LEAST:
        return None
    shares, caveat = _importances(study, varying)
    blocks: list[Block | None] = []
    if study.comparable:
        matter = shares.get(study.called, {})
        axes = sorted(sorted(varying, key=lambda key: -matter.get(key, 0.0))[:2], key=varying.index)
        words, which = listed(study.names[key] for key in axes), ", which matter most" if len(varying) > 2 else ""
        picture = svg(grid.plane(study.trials, axes, study.called, log=study.log, lower=study.lower))
        alt = f"Two maps over {words}: {study.called}, and the verdicts of the trials."
        caption = f"{study.called} (left) and verdicts (right) over {words}{which}."
        if grid.several(study.trials, axes):
            caption += " Where other settings vary within a cell, it shows the best of them, a mean over seeds alone."
        blocks.append(study.picture("plane", picture, alt, caption))
        if np.isfinite(study.trials["quality"].astype(float)).sum() > 1:
            picture = grid.parallel(study.trials, varying, study.called, log=study.log, lower=study.lower)
            alt = f"Every trial as a line over {listed(study.names[key] for key in varying)} and {study.called}."
            caption = "Every trial as a line over all settings, to its quality on the right; the colour is its verdict."
            blocks.append(study.picture("parallel", picture, alt, caption))
    if shares:
        said = "; ".join(f"{title(what)}: {_shares(study, of)}" for what, of in shares.items())
        caption = (
            "How much of what single settings explain each of them does (functional ANOVA over a random forest), for"
            f" quality and for each kind of failure. {caveat}"
        )
        picture = grid.importance(shares, varying)
        blocks.append(study.picture("importance", picture, f"Importance of settings. {said}.", caption.rstrip()))
    return section("The grid", *blocks)


def _shares(study: Study, of: dict[str, float]) -> str:
    return ", ".join(f"{study.names[key]} {share:.0%}" for key, share in of.items())


def _importances(study: Study, varying: Sequence[str]) -> tuple[dict[str, dict[str, float]], str]:
    """What is explained (quality, a kind of failure) → setting → share; and what to beware of."""
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
        said = next(iter(caveats.values()))
    else:
        said = " ".join(f"{title(what)}: {caveat}" for what, caveat in caveats.items())
    return {what: dict(one.shares) for what, one in explained.items() if any(one.shares.values())}, said


def over_steps(study: Study) -> dict[str, Any] | None:
    """Losses, then quality, as small multiples."""
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
        alt = f"Losses of D and G over steps, a panel for each of {counted(len(part), 'trial')}."
        scaled = f" ({scale}; other losses have other scales)" if several else ""
        caption = f"Losses of D and G{scaled}. A vertical line marks where a failure began."
        blocks.append(study.picture(f"losses-{number}", picture, alt, caption))
    for number, part in enumerate(_parts(chosen)):
        picture = curves.quality(study.series, part, study.captions, study.metric, study.called)
        alt = f"{study.called} over steps, a panel for each of {counted(len(part), 'trial')}."
        caption = f"{study.called} over steps, the other trials in grey behind. The colour is the verdict."
        blocks.append(study.picture(f"quality-{number}", picture, alt, caption))
    return section("Losses and quality over steps", *blocks)


def _parts(chosen: pd.DataFrame) -> list[pd.DataFrame]:
    """What fits a page each."""
    return [chosen.iloc[at : at + PANELS] for at in range(0, len(chosen), PANELS)]


def _which(study: Study, chosen: pd.DataFrame) -> Block | None:
    if len(chosen) == len(study.trials):
        return None
    return paragraphs(
        f"Shown are {len(chosen)} of {counted(len(study.trials), 'trial')}: the best, two middling ones, and some of"
        " each kind of failure. The appendix lists all."
    )


def samples(study: Study) -> dict[str, Any] | None:
    """The same noise across training, one row a trial, by rank."""
    trials = [trial for _, trial in study.chosen.iterrows() if study.sample_steps(trial)]
    if not trials:
        return None
    common = evenly(max((study.sample_steps(trial) for trial in trials), key=len), STEPS)
    rows = [_strip(study, trial, common) for trial in trials]
    text = (
        "The same ten noise vectors across training, the best trial first. A trial that ended early shows its last"
        " samples."
    )
    strips = {"kind": "strips", "steps": [f"step {step:,}" for step in common], "rows": rows}
    return section("Samples across training", paragraphs(text), strips, new_page=True)


def _strip(study: Study, trial: pd.Series, common: Sequence[int]) -> Block:
    steps = study.sample_steps(trial)
    shown = [step for step in common if step in steps]
    if len(shown) < len(common) and steps[-1] not in shown:
        shown.append(steps[-1])
    grids = [study.grid_at(trial, step) for step in shown]
    place = "" if pd.isna(trial["rank"]) else f"{trial['rank']}. "
    ended = "" if steps[-1] == common[-1] else f"; to step {steps[-1]:,}"
    return {
        "name": verdict_cell(trial) | {"text": place + title(kind(trial))},
        "text": study.captions[trial["sweep"], trial["trial"]] + ended,
        "file": study.add(
            f"strip-{trial['sweep']}-{trial['trial']}.png", strip(grids, len(common), study.size(trial), *PER_STEP)
        ),
        "alt": f"Samples of trial {trial['trial'][:8]} at steps {', '.join(f'{step:,}' for step in shown)}",
    }


def cost(study: Study) -> dict[str, Any] | None:
    """Wall time and speed by the networks' shape, and what stopping saved."""
    trials = study.trials
    if not trials["steps_per_s"].notna().any():
        return None
    stopped = trials[trials["outcome"] == "stopped"]
    total = duration(float(trials["wall_s"].sum()))
    text = f"All trials together trained for {total}, {counted(int(trials['step'].sum()), 'step')}. "
    if len(stopped):
        saved = int((stopped["steps"] - stopped["step"]).sum())
        text += (
            f"Stopping saved {counted(saved, 'step')}: {percent(saved / stopped['steps'].sum())} of those of the"
            f" {counted(len(stopped), 'trial')} that it ended, {percent(saved / trials['steps'].sum())} of all."
        )
    else:
        text += "No trial was stopped early."
    picture = curves.cost(trials, study.settings_of(trials), study.names)
    alt = "Steps per second and wall time of each trial by the shape of its networks."
    figure = study.picture("cost", picture, alt, "Speed and wall time, a dot a trial; a bar is the median.")
    return section("Time and cost", paragraphs(text), figure)
