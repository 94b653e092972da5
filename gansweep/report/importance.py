"""Importance of settings: the share of a result's variance that each one explains. Imports optuna on first use."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gansweep.words import counted

TRIALS_A_SETTING = 10  # with fewer, shares are rough: pure noise assigns about two thirds to one of two settings
EXPLAINED = 0.5  # below this, single settings explain the smaller part of the variance
TREES = 32  # 200 trials × 4 settings in a second; 256 give the same shares to .03


@dataclass(frozen=True)
class Importances:
    """Importance of settings for one result.

    Args:
        shares: Setting → its share, 0 to 1, of the variance that single settings explain, largest first. The shares sum
            to 1, or are all 0 if no setting varies or the result does not.
        explained: Share of the variance that single settings explain, 0 to 1. The rest is interaction and chance. It is
            about .3 for pure noise in many trials (more in few), and near 0 if only the combination of two settings
            matters.
        caveat: A warning for the reader, one or two sentences. It is "" if there are many trials and single settings
            explain most of the variance.
    """

    shares: Mapping[str, float]
    explained: float
    caveat: str


def importances(trials: pd.DataFrame, settings: Sequence[str], target: pd.Series, *, seed: int = 0) -> Importances:
    """Return the importance of each setting for a target, by functional ANOVA of a random forest (Hutter et al. 2014).

    The values of each setting are replaced by their ranks, so that every value that was tried has the same weight on
    any scale. (optuna's evaluator works on a linear scale, even for log distributions. In a grid from 1e-4 to 0.2, only
    the range from 0.02 to 0.2 would matter.) The same arguments return the same result.

    Args:
        trials: One row per trial, one column per setting. Replicates are separate rows.
        settings: Columns of `trials`.
        target: One number per trial, with the index of `trials`: a result (its logarithm if it varies by factors), or 0
            and 1 for an event. Trials with a missing or infinite target are left out.
        seed: Seed of the forest.
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
    """Return the ranks of values: 0, 1, 2, … Equal values have the same rank.

    Numbers are ranked by value, all other columns, and those with missing values, by the text of their values.
    """
    if not pd.api.types.is_numeric_dtype(column) or column.isna().any():
        column = column.map(repr)
    return column.rank(method="dense") - 1


def _parts(ranks: pd.DataFrame, values: NDArray[np.floating], seed: int) -> dict[str, float]:
    """Return setting → share of the forest's variance that it explains by itself, 0 to 1."""
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Half a rank is added at both ends, so that every value covers the same range.
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
    parts = []
    if trials < TRIALS_A_SETTING * settings:
        parts.append(f"The shares are rough: {counted(trials, 'trial')} for {counted(settings, 'setting')}.")
    if explained < EXPLAINED:
        parts.append(f"Single settings explain {explained:.0%} of the variance; the rest is interaction or chance.")
    return " ".join(parts)
