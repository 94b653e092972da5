"""Tables as report.tables has them, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.judge import Judge
from gansweep.health.verdict import FAILURES
from gansweep.report.study import Study
from gansweep.report.tables import Tables

RATE, BETA1 = "training.learning_rate", "training.beta1"
FIXED = {"model.architecture": "dcgan", "dataset.name": "digits", "dataset.image_size": 32}


def trial(varied: Mapping[str, Any], quality: float = 5.0, verdict: str = "healthy", **more: Any) -> dict[str, Any]:
    """A row of trials; configuration, ids and ranks are `frame`'s to give."""
    failed = verdict in FAILURES or more.get("outcome") == "crashed"
    row = {
        "sweep": "s", "seed": 0, "planned": True, "outcome": "completed", "verdict": verdict, "failed": failed,
        "states": "",
        "since_step": 100 if failed else pd.NA, "reason": f"{verdict} since step 100: because", "rule": "", "step": 600,
        "steps": 600, "quality": quality, "quality_step": more.get("step", 600),
        "started": pd.Timestamp("2026-01-02", tz="UTC"), "wall_s": 30.0,
        "steps_per_s": 20.0, "features": "classifier", "features_resolution": 16, "evaluator_accuracy": 0.99,
        "parameters.generator": 10, "parameters.discriminator": 10,
        "device": "CPU", "data_fingerprint": "f", "real_shares": {}, **FIXED, **varied,
    }  # fmt: skip
    return row | more


def frame(rows: Sequence[Mapping[str, Any]], settings: Sequence[str]) -> pd.DataFrame:
    """With configurations numbered, and ranks by the least quality of what did not fail, else of what is poor."""
    found = pd.DataFrame(list(rows))
    found["trial"] = [f"{number:08x}0000" for number in range(len(found))]
    found["run_id"] = found["trial"]
    found["configuration"] = 0
    if settings:
        for _, group in found.groupby("sweep", sort=False):
            keys = group[list(settings)].map(repr).agg("|".join, axis=1)
            found.loc[group.index, "configuration"] = pd.factorize(keys)[0]
    found["since_step"] = pd.array(found["since_step"], dtype="Int64")
    finite = np.isfinite(found["quality"])
    none = ~(finite & ~found["failed"]).groupby(found["sweep"]).transform("any")
    able = found[finite & (~found["failed"] | (none & (found["verdict"] == "poor")))]
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


def steps(until: int, every: int) -> range:
    """0, every, 2 · every … until."""
    return range(0, until + 1, every)


def histories(trials: pd.DataFrame) -> pd.DataFrame:
    """Losses of each trial at every tenth of its steps but the first."""
    names = {"loss_d": 1.0, "loss_g": 2.0}
    rows = [
        {"sweep": row.sweep, "trial": row.trial, "metric": name, "step": step, "value": value}
        for row in trials.itertuples()
        for name, value in names.items()
        for step in steps(0 if pd.isna(row.step) else int(row.step), 60)[1:]
    ]
    return pd.DataFrame(rows, columns=["sweep", "trial", "metric", "step", "value"])


def evaluations(trials: pd.DataFrame, metric: str = "fd_ratio", shares: Mapping[str, float] = {}) -> pd.DataFrame:
    """At every tenth of a trial's steps: a metric that comes down to its quality; and shares of classes."""
    steady = {"coverage": 0.8, "spread_across": 0.7, "spread_within": 0.9, "d_auc": 0.95, "d_fresh": 0.25}
    classes = {f"class_share/{name}": share for name, share in shares.items()}
    rows = [
        {"sweep": row.sweep, "trial": row.trial, "step": step, **steady, **classes, metric: row.quality + 600 - step}
        for row in trials.itertuples()
        for step in steps(0 if pd.isna(row.step) else int(row.step), 60)
    ]
    return pd.DataFrame(rows, columns=["sweep", "trial", "step", metric, *steady, *classes])


def _primary(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[["sweep", "trial", "since_step", "reason"]].assign(place=0, kind=trials["verdict"], evidence=None)


def _states(trials: pd.DataFrame) -> pd.DataFrame:
    """The states of trials, each since step 240, with figures of D."""
    figures = {"d_auc": 0.999, "d_fresh": 0.02, "loss_d": 0.05, "loss_g": 6.5}
    rows = [
        {
            "sweep": row.sweep, "trial": row.trial, "since_step": 240, "reason": f"{kind} since step 240: because",
            "place": 1, "kind": kind, "evidence": {"figures": figures},
        }
        for row in trials.itertuples()
        for kind in str(row.states).split(",")
        if kind
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["sweep", "trial", "since_step", "reason", "place", "kind", "evidence"])


def study(
    trials: pd.DataFrame,
    settings: Sequence[str] = (),
    *,
    objective: str = "fd_ratio",
    mode: str = "min",
    shares: Mapping[str, float] = {},
    recorded: Mapping[str, pd.DataFrame] = {},
    samples: Mapping[str, Mapping[int, bytes | None]] = {},
    judges: Mapping[str, Judge] = {},
    **sweep: Any,
) -> Study:
    """A study of trials made by `frame`.

    Args:
        samples: Trial → step → its grid; None if the store has lost it.
        recorded: Histories and evaluations in place of made-up ones.
        judges: Sweep → its judge, if its thresholds are not the defaults.
        sweep: Further columns of sweeps.
    """
    sweeps = [
        {
            "sweep": name, "objective": objective, "mode": mode, "file": f"name: {name}\n", "path": f"{name}.yaml",
            "command": "", "commit": "", "machine": "made up", "overrides": [],
            "planned": len(group), "to_come": 0, "earlier": 0, **sweep,
        }
        for name, group in trials.groupby("sweep", sort=False)
    ]  # fmt: skip
    verdicts = pd.concat([_primary(trials), _states(trials)], ignore_index=True)
    names = dict(zip(trials["trial"], trials["sweep"], strict=True))
    listed = [
        {"sweep": names[trial], "trial": trial, "step": step, "artifact": str(step)}
        for trial, grids in samples.items()
        for step in grids
    ]
    made = {"histories": histories(trials), "evaluations": evaluations(trials, objective, shares)}
    tables = Tables(
        pd.DataFrame(sweeps), trials, verdicts=verdicts, settings=tuple(settings), **(made | dict(recorded)),
        list_samples=lambda: pd.DataFrame(listed, columns=["sweep", "trial", "step", "artifact"]),
        judges={name: judges.get(name, Judge()) for name in trials["sweep"].unique()},
    )  # fmt: skip
    return Study(tables, lambda key, artifact: samples[key[1]][int(artifact)])
