"""Choice of the trials that a report shows in detail: the best, two of median rank, two of each kind of failure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gansweep.health.verdict import FAILURES

MOST = 24  # maximum number of trials in detail
BEST = 5
CASES = 4  # maximum number of trials in the figure of a kind of failure


def in_detail(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that are shown in detail, at most MOST, in the order of `by_rank`.

    If there are more than MOST trials, these are the BEST best ones, two of median rank, and two of each kind of
    failure.
    """
    ordered = by_rank(trials)
    if len(ordered) <= MOST:
        return ordered
    ranked, failed = ordered[ordered["rank"].notna()], ordered[ordered["failed"]]
    chosen = [*ranked.index[:BEST], *ranked.index[len(ranked) // 2 : len(ranked) // 2 + 2]]
    chosen += [index for kind in failing_kinds(failed) for index in cases(failed, kind).index[:2]]
    chosen = list(dict.fromkeys(chosen))[:MOST]
    return ordered.loc[[index for index in ordered.index if index in chosen]]


def by_rank(trials: pd.DataFrame) -> pd.DataFrame:
    """Sort trials: first those that did not fail, by rank (unranked ones last), then failed ones, by rank and kind."""
    kinds = [*FAILURES, "crashed"]
    kind = trials["verdict"].where(trials["outcome"] != "crashed", "crashed")
    place = kind.map({name: number for number, name in enumerate(kinds)}).fillna(-1)
    keys = trials.assign(_failed=trials["failed"], _rank=trials["rank"].astype(float).fillna(np.inf), _kind=place)
    order = keys.sort_values(["_failed", "_rank", "_kind", "sweep", "trial"], kind="stable").index
    return trials.loc[order]


def failing_kinds(trials: pd.DataFrame) -> list[str]:
    """Return the failures that are the primary verdict of at least one trial, by precedence."""
    named = set(trials["verdict"])
    return [kind for kind in FAILURES if kind in named]


def cases(trials: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the trials with this primary verdict, earliest onset first."""
    found = trials[trials["verdict"] == kind]
    return found.sort_values(["since_step", "trial"], kind="stable")
