"""Section on the game between D and G: the trials in which one of them has won, since when, and by which figures."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gansweep.health.metrics import D_AUC, D_FRESH, D_PREFERENCE, LOSS_D, LOSS_G, label
from gansweep.health.verdict import KINDS, STATES, title
from gansweep.report import choose, curves
from gansweep.report.study import Study, head, paragraphs, section, table, trial_cell, verdict_cell
from gansweep.report.words import counted, measured

FIGURES = (D_AUC, D_FRESH, D_PREFERENCE, LOSS_D, LOSS_G)


def states(study: Study) -> list[dict[str, Any]]:
    """Return a heading and one section per state that holds at the end of any trial; [] if no state holds."""
    kinds = [kind for kind in STATES if study.held(kind).any()]
    if not kinds:
        return []
    text = (
        "Facts about the game between the discriminator (D) and the generator (G) at the end of a trial, whatever its"
        " verdict is: samples can be good although D has won, and poor although it has not."
    )
    return [section("Who won: D or G", paragraphs(text)), *(_state(study, kind) for kind in kinds)]


def _state(study: Study, kind: str) -> dict[str, Any]:
    held = study.tables.verdicts[study.tables.verdicts["kind"] == kind].set_index(["sweep", "trial"])
    trials = choose.by_rank(study.trials[study.held(kind)])
    found = [held.loc[trial["sweep"], trial["trial"]] for _, trial in trials.iterrows()]
    figures = [dict(one["evidence"]).get("figures", {}) for one in found]
    names = [name for name in FIGURES if any(name in some for some in figures)]
    rows = [
        [
            *(trial_cell(trial), *study.cells(trial), verdict_cell(trial), f"{int(one['since_step']):,}"),
            *(measured(some.get(name)) for name in names),
        ]
        for (_, trial), one, some in zip(trials.iterrows(), found, figures, strict=True)
    ]
    heads = [head("trial"), *study.columns(), head("verdict", wide=True), head("since step", right=True)]
    heads += [head(curves.WORDS.get(name) or label(name), right=True) for name in names]
    words = paragraphs(f"{title(kind).capitalize()}: {KINDS[kind].meaning}.", study.thresholds(kind))
    return section(
        title(kind).capitalize(), words, _picture(study, kind, trials), table(heads, rows), level=2, label=kind
    )


def _picture(study: Study, kind: str, trials: pd.DataFrame) -> dict[str, Any]:
    shown = trials.head(choose.CASES)
    stacked = {key: caption.replace(", ", "\n") for key, caption in study.captions.items()}
    return study.picture(
        f"state-{kind}",
        curves.game(study.series, shown, stacked, kind, study.metric, label(study.metric)),
        f"Game between D and G in {counted(len(shown), 'trial')} with {title(kind)}: AUC of D and its mean output on"
        f" fresh fakes, losses, and {label(study.metric)} over steps.",
        f"{len(shown)} of {counted(len(trials), 'trial')}, the best first. A vertical line marks the onset.",
    )
