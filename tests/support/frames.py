"""Tables as report.tables has them, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.verdict import FAILURES

RATE, BETA1 = "training.learning_rate", "training.beta1"
FIXED = {"model.architecture": "dcgan", "dataset.name": "digits", "dataset.image_size": 32}


def trial(varied: Mapping[str, Any], quality: float = 5.0, verdict: str = "healthy", **more: Any) -> dict[str, Any]:
    """A row of trials; configuration, ids and ranks are `frame`'s to give."""
    failed = verdict in FAILURES or more.get("outcome") == "crashed"
    row = {
        "sweep": "s", "seed": 0, "outcome": "completed", "verdict": verdict, "failed": failed,
        "since_step": 100 if failed else pd.NA, "reason": f"{verdict} since step 100: because", "rule": "", "step": 600,
        "steps": 600, "quality": quality, "started": pd.Timestamp("2026-01-02", tz="UTC"), "wall_s": 30.0,
        "steps_per_s": 20.0, "evaluator_accuracy": 0.99, "parameters.generator": 10, "parameters.discriminator": 10,
        "data_fingerprint": "f", "real_shares": {}, **FIXED, **varied,
    }  # fmt: skip
    return row | more


def frame(rows: Sequence[Mapping[str, Any]], settings: Sequence[str]) -> pd.DataFrame:
    """With configurations numbered, and ranks by the least quality of what did not fail."""
    found = pd.DataFrame(list(rows))
    found["trial"] = [f"{number:012x}" for number in range(len(found))]
    found["run_id"] = found["trial"]
    found["configuration"] = 0
    if settings:
        for _, group in found.groupby("sweep", sort=False):
            keys = group[list(settings)].astype(str).agg("|".join, axis=1)
            found.loc[group.index, "configuration"] = pd.factorize(keys)[0]
    found["since_step"] = pd.array(found["since_step"], dtype="Int64")
    able = found[~found["failed"] & np.isfinite(found["quality"])]
    found["rank"] = able.groupby("sweep")["quality"].rank(method="first").astype("Int64")
    found["rank"] = found["rank"].astype("Int64")
    return found


def grid(qualities: Mapping[tuple[float, float], float | Sequence[float]], **more: Any) -> pd.DataFrame:
    """(learning rate, beta1) → quality; a sequence: one for each seed. inf and NaN as they are."""
    rows = []
    for (rate, beta1), values in qualities.items():
        for seed, value in enumerate(values if isinstance(values, Sequence) else [values]):
            rows.append(trial({RATE: rate, BETA1: beta1}, value, seed=seed, **more))
    return frame(rows, [RATE, BETA1])
