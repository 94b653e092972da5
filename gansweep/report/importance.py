"""Which settings matter? The share of a result's variance that each one explains. optuna is loaded when it is asked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gansweep.words import counted

TRIALS_A_SETTING = 10  # fewer leave the shares rough: pure noise gives one setting of two about two thirds
EXPLAINED = 0.5  # below this the shares are of the smaller part of what varies
TREES = 32  # 200 trials × 4 settings in a second; 256 give the same shares to .03


@dataclass(frozen=True)
class Importances:
    """shares: setting → 0…1, the greatest first; they sum to 1, or are all 0 where nothing varies.

    explained: what single settings explain of all that varies, 0…1. The rest is how settings act together, and chance:
    about .3 for pure noise in many trials (more in few), near 0 where only the combination of two settings matters.
    caveat: a sentence or two, "" where trials are many and single settings explain most.
    """

    shares: Mapping[str, float]
    explained: float
    caveat: str


def importances(trials: pd.DataFrame, settings: Sequence[str], target: pd.Series, *, seed: int = 0) -> Importances:
    """Of each setting for target, by functional ANOVA of a random forest (Hutter et al. 2014; optuna's evaluator).

    trials: a row a trial, a column a setting; replicates are rows of their own. target: of the same index; a number
    (its logarithm for what varies by factors), or 0 and 1 for whether something happened. Rows whose target is missing
    or not finite are left out. The same arguments give the same result.

    Each value of a setting stands for itself as much as any other value that was tried: it goes in as its rank, so
    that the shares are of the variance over what was tried, whatever the scale. (optuna's own space would be linear,
    even of distributions marked as log: a grid of 1e-4…0.2 would be judged by what happens between 0.02 and 0.2.)
    """
    values = target.reindex(trials.index).to_numpy(dtype=float, na_value=np.nan)
    known = np.isfinite(values)
    ranks = pd.DataFrame({setting: _ranks(trials.loc[known, setting]) for setting in settings}, dtype=float)
    varied = [setting for setting in settings if ranks[setting].nunique() > 1]
    if not varied or np.ptp(values[known]) == 0:
        return Importances(dict.fromkeys(settings, 0.0), 0.0, "")
    parts = dict.fromkeys(settings, 0.0) | _parts(ranks[varied], values[known], seed)
    explained = sum(parts.values())
    scale = 1 / explained if explained > 0 else 0.0
    shares = {setting: scale * parts[setting] for setting in sorted(settings, key=lambda s: -parts[s])}
    return Importances(shares, explained, _caveat(len(ranks), len(varied), explained))


def _ranks(column: pd.Series) -> pd.Series:
    """0, 1, 2, … in the order of numbers; of anything else, or where some are missing, in that of their text."""
    if not pd.api.types.is_numeric_dtype(column) or column.isna().any():
        column = column.map(repr)
    return column.rank(method="dense") - 1


def _parts(ranks: pd.DataFrame, values: NDArray[np.floating], seed: int) -> dict[str, float]:
    """Shares of the forest's variance, without what settings do together."""
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Half a rank at both ends: every value has the same room.
    space: dict[str, BaseDistribution] = {s: FloatDistribution(-0.5, ranks[s].max() + 0.5) for s in ranks}
    study = optuna.create_study()
    rows = zip(ranks.to_dict("records"), values, strict=True)
    study.add_trials([optuna.create_trial(params=row, distributions=space, value=value) for row, value in rows])
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # normalize=False
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    return {setting: float(part) for setting, part in found.items()}


def _caveat(trials: int, settings: int, explained: float) -> str:
    said = []
    if trials < TRIALS_A_SETTING * settings:
        said.append(f"{counted(trials, 'trial')} for {counted(settings, 'setting')}: these shares are rough.")
    if explained < EXPLAINED:
        said.append(f"Single settings explain {explained:.0%} of what varies, the rest is their interplay or chance.")
    return " ".join(said)
