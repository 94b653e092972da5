"""Table of configurations: one row for the replicates (trials that differ only in the seed) of each."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from gansweep.report.statistics import Interval, best_of, mean_over_seeds

Mode = Literal["min", "max"]
KEY = ["sweep", "configuration"]


def configurations(trials: pd.DataFrame, *, log: bool, mode: Mode) -> pd.DataFrame:
    """Return a table with one row per configuration, best first.

    Columns: sweep, configuration, trials (their number), failed (number of failed trials), quality (Interval of the
    mean over seeds, including failed trials with a finite quality), estimate, low and high (those of quality), place (1
    is best; <NA> if no trial of the configuration is ranked), and may_be_best (see `best_of`; <NA> if the configuration
    or all others have no place, or if none of them has two seeds).

    Args:
        trials: Table of trials.
        log: Whether quality is averaged and compared on a log scale.
        mode: Whether the smallest or the largest quality is best.
    """
    rows = [_row(key, group, log) for key, group in trials.groupby(KEY, sort=False)]
    found = pd.DataFrame(rows, columns=[*KEY, "trials", "failed", "ranked", "quality", "values"])
    found["estimate"] = [q.estimate for q in found["quality"]]
    found["low"] = [q.low for q in found["quality"]]
    found["high"] = [q.high for q in found["quality"]]
    order = found.assign(unable=found.pop("ranked") == 0).sort_values(
        ["unable", "estimate"], ascending=[True, mode == "min"], kind="stable"
    )
    places = pd.array(range(1, len(order) + 1), dtype="Int64")
    order["place"] = places
    order.loc[order["unable"], "place"] = pd.NA
    found = order.drop(columns="unable").reset_index(drop=True)
    return _compared(found, log, mode).drop(columns="values")


def _row(key: Any, group: pd.DataFrame, log: bool) -> tuple[Any, ...]:
    values = group["quality"].to_numpy(float)
    finite = values[np.isfinite(values)]
    quality = mean_over_seeds(finite, log=log) if len(finite) else Interval(np.nan, np.nan, np.nan, 0)
    return (*key, len(group), int(group["failed"].sum()), int(group["rank"].notna().sum()), quality, finite)


def _compared(found: pd.DataFrame, log: bool, mode: Mode) -> pd.DataFrame:
    """Add the column may_be_best: multiple comparisons with the best among the configurations that have a place."""
    able = found[found["place"].notna()]
    found = found.assign(may_be_best=pd.array([pd.NA] * len(found), dtype="boolean"))
    if len(able) < 2:
        return found
    compared = best_of(dict(zip(able.index, able["values"], strict=True)), mode=mode, log=log).set_index("group")
    found.loc[compared.index, "may_be_best"] = compared["may_be_best"]
    return found
