"""Seeds are replicates: what a setting achieved, by other code than its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import BETA1, RATE, frame, grid, trial
from scipy.stats import gmean, ttest_1samp

from gansweep.report.configurations import configurations
from gansweep.report.statistics import best_of


def by_place(trials: pd.DataFrame, *, log: bool = True, mode: Any = "min") -> list[dict[str, Any]]:
    return configurations(trials, log=log, mode=mode).to_dict("records")


@pytest.mark.parametrize("log", [True, False])
def test_a_setting_is_the_mean_over_its_seeds(log: bool) -> None:
    values = {(1e-3, 0.5): [4.0, 6.0, 5.0], (1e-4, 0.5): [20.0, 30.0, 22.0]}
    first, second = by_place(grid(values), log=log)
    for row, seeds in zip((first, second), values.values(), strict=True):
        mean = gmean(seeds) if log else np.mean(seeds)
        interval = np.array(ttest_1samp(np.log(seeds) if log else seeds, 0).confidence_interval())
        assert row["estimate"] == pytest.approx(mean)
        assert [row["low"], row["high"]] == pytest.approx(list(np.exp(interval) if log else interval))
        assert (row["trials"], row["failed"], row["quality"].n) == (3, 0, 3)
    assert (first["place"], second["place"]) == (1, 2)


def test_the_comparison_is_that_of_all_settings_with_the_best() -> None:
    values: dict[tuple[float, float], list[float]] = {
        (1e-3, 0.5): [4.0, 6.0], (1e-4, 0.5): [5.0, 5.5], (1e-2, 0.5): [90.0, 80.0],
    }  # fmt: skip
    expected = best_of(dict(values.items()), mode="min", log=True).sort_values("estimate")
    found = configurations(grid(values), log=True, mode="min")
    assert found["may_be_best"].tolist() == expected["may_be_best"].tolist() == [True, True, False]


@pytest.mark.parametrize(("mode", "best"), [("min", 1e-3), ("max", 1e-4)])
def test_the_best_comes_first(mode: str, best: float) -> None:
    trials = grid({(1e-3, 0.5): 0.2, (1e-4, 0.5): 0.9, (1e-2, 0.5): 0.5})
    found = configurations(trials, log=False, mode=mode)  # type: ignore[arg-type]
    assert trials.set_index("configuration").loc[found["configuration"].iloc[0], RATE] == best
    assert found["place"].tolist() == [1, 2, 3]


def test_what_failed_with_every_seed_has_no_place_and_some_seeds_count_as_they_are() -> None:
    rows = [
        *(trial({BETA1: 0.9}, 1.0, "mode_collapse", seed=seed) for seed in range(2)),
        trial({BETA1: 0.5}, 4.0, seed=0),
        trial({BETA1: 0.5}, 9.0, "mode_dropping", seed=1),
    ]
    half, failed = by_place(frame(rows, [BETA1]))
    assert (half["place"], half["failed"], half["trials"], half["estimate"]) == (1, 1, 2, pytest.approx(6.0))
    assert failed["place"] is None
    assert failed["may_be_best"] is None
    assert failed["estimate"] == pytest.approx(1.0)


def test_poor_settings_have_places_where_none_ended_well() -> None:
    rows = [
        trial({BETA1: 0.9}, 1.0, "mode_collapse"),
        trial({BETA1: 0.5}, 9.0, "poor"),
        trial({BETA1: 0.7}, 4.0, "poor"),
    ]
    found = configurations(frame(rows, [BETA1]), log=True, mode="min")
    assert found["estimate"].tolist() == pytest.approx([4.0, 9.0, 1.0])
    assert [None if pd.isna(place) else place for place in found["place"]] == [1, 2, None]


def test_quality_that_is_not_finite_is_left_out() -> None:
    trials = grid({(1e-3, 0.5): [4.0, math.nan, math.inf], (1e-4, 0.5): [math.nan, math.inf, math.nan]})
    some, none = by_place(trials)
    assert (some["estimate"], some["quality"].n, some["place"]) == (4.0, 1, 1)
    assert math.isnan(some["low"])
    assert math.isnan(none["estimate"])
    assert none["place"] is None


def test_one_trial_and_trials_without_a_step() -> None:
    (one,) = by_place(frame([trial({}, 3.0)], []))
    assert (one["estimate"], one["place"], one["may_be_best"]) == (pytest.approx(3.0), 1, None)
    (none,) = by_place(frame([trial({}, math.nan, step=pd.NA)], []))
    assert none["place"] is None


def test_configurations_of_several_sweeps_stay_apart() -> None:
    trials = frame([trial({RATE: 1e-3}, quality, sweep=sweep) for sweep, quality in (("a", 2.0), ("b", 1.0))], [RATE])
    assert [(row["sweep"], row["place"]) for row in by_place(trials)] == [("b", 1), ("a", 2)]
