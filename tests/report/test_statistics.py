"""Intervals and comparisons agree with others' implementations and tables, and cover what they promise to."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from gansweep.report.statistics import (
    BOOTSTRAP_FROM,
    Interval,
    best_of,
    critical_value,
    mean_over_seeds,
    share,
    within_margin,
)

NAN = math.nan
Floats = NDArray[np.floating]


def normal(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def equal_groups(k: int, confidence: float, degrees: float) -> float:
    return critical_value(((math.sqrt(0.5), k),), degrees, confidence)


# Means


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_mean_of_few_seeds_is_a_t_interval(confidence: float) -> None:
    values = np.array([3.0, 4.5, 9.0])
    theirs = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    on_logs = stats.ttest_1samp(np.log(values), 0).confidence_interval(confidence)
    plain, geometric = (mean_over_seeds(values, log=log, confidence=confidence) for log in (False, True))
    assert (plain.estimate, plain.low, plain.high) == pytest.approx((5.5, *theirs))
    assert (geometric.estimate, geometric.low, geometric.high) == pytest.approx(
        (stats.gmean(values), *np.exp(on_logs)), rel=1e-9
    )
    assert plain.n == geometric.n == 3
    assert plain.known


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_mean_of_few_seeds_is_covered_as_often_as_promised(seeds: int) -> None:
    truth = 7.0
    runs = truth * np.exp(0.5 * normal(3000, seeds))
    covered = np.mean([holds(mean_over_seeds(run, log=True), truth) for run in runs])
    assert covered == pytest.approx(0.95, abs=0.012)


def test_percentile_bootstrap_of_three_seeds_covers_far_less() -> None:
    """Why it is not used. All 27 resamples of each run: the interval is from the least to the greatest value."""
    resamples = normal(3000, 3)[:, list(itertools.product(range(3), repeat=3))].mean(axis=2)
    low, high = np.quantile(resamples, [0.025, 0.975], axis=1, method="inverted_cdf")
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.75, abs=0.02)


def test_bootstrap_of_many_seeds_covers_nearly_as_promised_and_repeats() -> None:
    runs = np.exp(normal(250, BOOTSTRAP_FROM))
    found = [mean_over_seeds(run, log=True) for run in runs]
    assert np.mean([holds(interval, 1.0) for interval in found]) == pytest.approx(0.93, abs=0.03)
    assert mean_over_seeds(runs[0], log=True) == found[0]


def test_bootstrap_of_many_seeds_follows_their_skew() -> None:
    """A few seeds that failed: the mean is more likely to be far above than far below."""
    values = [1.0] * 10 + [1.1] * 7 + [9.0] * 3
    found = mean_over_seeds(values, log=False)
    assert found.high - found.estimate > 1.3 * (found.estimate - found.low)
    below = mean_over_seeds(values[1:], log=False)
    assert below.high - below.estimate == pytest.approx(below.estimate - below.low)


@pytest.mark.parametrize("log", [True, False])
def test_one_seed_has_a_mean_and_no_interval(log: bool) -> None:
    found = mean_over_seeds([NAN, 3.0, math.inf], log=log)
    assert (found.estimate, found.n, found.known) == (pytest.approx(3.0), 1, False)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_seed_has_nothing() -> None:
    found = mean_over_seeds([NAN, -math.inf], log=True)
    assert math.isnan(found.estimate)
    assert (found.n, found.known) == (0, False)


@pytest.mark.parametrize("n", [2, 3, BOOTSTRAP_FROM + 3])
def test_equal_seeds_have_an_interval_of_no_width(n: int) -> None:
    found = mean_over_seeds([0.1] * n, log=False)
    assert (found.estimate, found.low, found.high, found.n) == (0.1, 0.1, 0.1, n)


def test_what_is_not_finite_is_left_out() -> None:
    assert mean_over_seeds([2.0, NAN, 3.0, math.inf], log=True) == mean_over_seeds([2.0, 3.0], log=True)


def test_no_logarithm_of_what_is_not_above_zero() -> None:
    with pytest.raises(ValueError, match=r"no logarithm of -1\.0"):
        mean_over_seeds([2.0, -1.0], log=True)
    assert mean_over_seeds([2.0, -1.0], log=False).estimate == 0.5


def test_an_interval_wider_than_a_float_is_not_known() -> None:
    found = mean_over_seeds([1e-300, 1e300], log=True)
    assert (found.low, found.high, found.known) == (0.0, math.inf, False)


# Shares


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)]
)  # the last: Newcombe 1998, table I
def test_share_is_wilsons_interval(hits: int, of: int, low: float, high: float) -> None:
    found = share(hits, of)
    assert (found.estimate, found.low, found.high) == pytest.approx((hits / of, low, high), abs=1e-4)
    assert found.n == of


def test_share_of_nothing_is_unknown() -> None:
    found = share(0, 0)
    assert math.isnan(found.estimate)
    assert (found.n, found.known) == (0, False)


@pytest.mark.parametrize("of", [5, 10, 30])
def test_shares_are_covered_as_often_as_promised_on_average(of: int) -> None:
    found = [share(hits, of) for hits in range(of + 1)]
    truths = np.linspace(0.01, 0.99, 99)
    covered = [sum(stats.binom.pmf(hits, of, p) for hits, i in enumerate(found) if holds(i, p)) for p in truths]
    assert np.mean(covered) == pytest.approx(0.953, abs=0.008)
    assert min(covered) > 0.83  # near 0 and 1, as Wilson's does


# The best


@pytest.mark.parametrize(
    ("confidence", "degrees", "table"),
    [
        (0.95, 5, "2.02 2.44 2.68 2.85 2.98 3.08 3.16 3.24 3.30"),
        (0.95, 10, "1.81 2.15 2.34 2.47 2.56 2.64 2.70 2.76 2.81"),
        (0.95, 20, "1.72 2.03 2.19 2.30 2.39 2.46 2.51 2.56 2.60"),
        (0.95, 10**6, "1.64 1.92 2.06 2.16 2.23 2.29 2.34 2.38 2.42"),
        (0.99, 10, "2.76 3.11 3.31 3.45 3.56 3.64 3.71 3.78 3.83"),
    ],
)
def test_critical_values_are_those_of_dunnett_1955_tables_1a_and_1b(
    confidence: float, degrees: int, table: str
) -> None:
    found = [equal_groups(k, confidence, degrees) for k in range(1, 10)]
    assert found == pytest.approx([float(d) for d in table.split()], abs=0.0055)


@pytest.mark.parametrize("degrees", [1, 2, 3, 10, 100])
def test_critical_value_against_one_other_is_students(degrees: int) -> None:
    expected = stats.t.ppf(0.95, degrees)
    assert [critical_value(((λ, 1),), degrees, 0.95) for λ in (0.3, 0.7, 0.97)] == pytest.approx(
        [expected] * 3, abs=1e-4
    )


@pytest.mark.parametrize(
    ("lambdas", "degrees"), [([0.5, 0.6, 0.9], 1), ([0.5, 0.6, 0.6, 0.9], 2), ([0.3, 0.95], 12), ([0.7] * 5, 8)]
)
def test_critical_value_is_a_quantile_of_the_multivariate_t(lambdas: list[float], degrees: int) -> None:
    correlation = np.outer(lambdas, lambdas)
    np.fill_diagonal(correlation, 1)
    counted = tuple((λ, lambdas.count(λ)) for λ in sorted(set(lambdas)))
    d = critical_value(counted, degrees, 0.95)
    theirs = stats.multivariate_t(shape=correlation, df=degrees, seed=0).cdf(np.full(len(lambdas), d), maxpts=100_000)
    assert theirs == pytest.approx(0.95, abs=1e-4)


UNEQUAL = {"a": [1.0, 1.4, 0.9], "b": [1.2, 1.5], "c": [1.7, 1.3, 1.6, 1.9], "d": [4.0, 4.4, 3.9], "e": [1.1]}


def test_comparisons_agree_with_dunnetts_test_against_each_group() -> None:
    """Hsu 1996: MCB is Dunnett's one-sided comparison with each group in turn as the control."""
    found = best_of(UNEQUAL, mode="min", log=False).set_index("group")
    upper: dict[tuple[str, str], float] = {}  # of each other − control
    for control in UNEQUAL:
        others = [name for name in UNEQUAL if name != control]
        result = stats.dunnett(
            *(UNEQUAL[o] for o in others), control=UNEQUAL[control], alternative="less", rng=np.random.default_rng(0)
        )
        upper |= {(o, control): u for o, u in zip(others, result.confidence_interval(0.95).high, strict=True)}
    may = {g: all(upper[o, g] >= 0 for o in UNEQUAL if o != g) for g in UNEQUAL}
    assert found["may_be_best"].to_dict() == may == {"a": True, "b": True, "c": False, "d": False, "e": True}
    for g in UNEQUAL:
        low = -min(upper[o, g] for o in UNEQUAL if o != g) if may[g] else 0.0
        high = max(upper[g, o] for o in UNEQUAL if o != g and may[o])
        assert (found["low"][g], found["high"][g]) == pytest.approx((low, high), abs=5e-3)
    assert found["n"].to_dict() == {"a": 3, "b": 2, "c": 4, "d": 3, "e": 1}
    assert found["estimate"].to_dict() == pytest.approx({name: np.mean(values) for name, values in UNEQUAL.items()})


SIZES = {"equal": (3, 3, 3, 3, 3, 3), "unequal": (2, 5, 3, 1, 4, 3)}


def sweeps(sizes: Sequence[int], means: Sequence[float], count: int) -> list[dict[int, Floats]]:
    drawn = normal(count, sum(sizes)) + np.repeat(means, sizes)
    return [dict(enumerate(np.split(run, np.cumsum(sizes)[:-1]))) for run in drawn]


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("means", [(0, 0.5, 1, 1.5, 2, 3), (0, 0, 9, 9, 9, 9), (2, 1, 0, 0, 1, 4)])
def test_all_intervals_hold_at_once_as_often_as_promised(sizes: tuple[int, ...], means: tuple[float, ...]) -> None:
    truth = np.array([mean - min(means[:i] + means[i + 1 :]) for i, mean in enumerate(means)])
    best = int(np.argmin(means))
    found = [best_of(run, mode="min", log=False) for run in sweeps(sizes, means, 500)]
    assert np.mean([((f["low"] <= truth) & (truth <= f["high"])).all() for f in found]) >= 0.94
    assert np.mean([f["may_be_best"][best] for f in found]) >= 0.94


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_best_group_in_a_tie_of_all_is_kept_no_more_often_than_promised(sizes: tuple[int, ...]) -> None:
    """The least favourable case: there the promise is met exactly, whichever group it is."""
    found = [best_of(run, mode="min", log=False)["may_be_best"].to_numpy(bool) for run in sweeps(sizes, [0] * 6, 750)]
    assert np.mean(found, axis=0) == pytest.approx([0.95] * 6, abs=0.024)


def test_much_better_groups_are_told_apart() -> None:
    found = best_of({"a": [1.0, 1.1, 1.2], "b": [3.0, 3.3, 3.2], "c": [9.0, 8.0, 9.5]}, mode="min", log=True)
    assert found["may_be_best"].tolist() == [True, False, False]
    assert found["low"].tolist()[1:] == [1.0, 1.0]
    assert found["high"].tolist()[0] == 1.0


def test_with_log_differences_are_ratios() -> None:
    logs = {name: np.log(values) for name, values in UNEQUAL.items()}
    ratios, differences = best_of(UNEQUAL, mode="min", log=True), best_of(logs, mode="min", log=False)
    for column in ("estimate", "low", "high"):
        assert ratios[column].tolist() == pytest.approx(np.exp(differences[column]).tolist())
    assert ratios["may_be_best"].equals(differences["may_be_best"])


def test_with_mode_max_more_is_better() -> None:
    mirrored = {name: [-v for v in values] for name, values in UNEQUAL.items()}
    least, most = best_of(UNEQUAL, mode="min", log=False), best_of(mirrored, mode="max", log=False)
    assert most["estimate"].tolist() == (-least["estimate"]).tolist()
    assert most["low"].tolist() == (-least["high"]).tolist()
    assert most["high"].tolist() == (-least["low"]).tolist()
    assert most["may_be_best"].equals(least["may_be_best"])
    assert best_of(UNEQUAL, mode="max", log=True)["may_be_best"].tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("log", [True, False])
def test_ties_without_any_spread_may_all_be_best(log: bool) -> None:
    none = 1.0 if log else 0.0
    found = best_of({"a": [0.1] * 2, "b": [0.1] * 3, "c": [0.1], "d": [0.4] * 7}, mode="min", log=log)
    assert found["may_be_best"].tolist() == [True, True, True, False]
    assert found["low"].tolist()[:3] == found["high"].tolist()[:3] == [none] * 3
    assert found["high"][3] == pytest.approx(4.0 if log else 0.3)


def test_one_seed_each_gives_no_interval() -> None:
    found = best_of({"a": [1.0], "b": [2.0, NAN]}, mode="min", log=True)
    assert found["n"].tolist() == [1, 1]
    assert found["estimate"].tolist() == pytest.approx([1.0, 2.0])
    assert found[["low", "high", "may_be_best"]].isna().all(axis=None)


def test_a_group_without_values_is_kept_and_not_compared() -> None:
    found = best_of({"a": UNEQUAL["a"], "x": [NAN, math.inf], "d": UNEQUAL["d"]}, mode="min", log=True)
    without = best_of({"a": UNEQUAL["a"], "d": UNEQUAL["d"]}, mode="min", log=True)
    assert found.drop(index=1).reset_index(drop=True).equals(without)
    assert found["n"][1] == 0
    assert found.loc[1, ["estimate", "low", "high", "may_be_best"]].isna().all()


def test_one_group_alone_is_the_best() -> None:
    found = best_of({(3, "x"): [1.0, 2.0]}, mode="min", log=True)
    assert found["group"].tolist() == [(3, "x")]
    assert found["may_be_best"].tolist() == [True]
    assert found[["low", "high"]].isna().all(axis=None)


def test_no_groups_are_no_rows() -> None:
    assert best_of({}, mode="min", log=True).empty


# Margins


def test_ratio_is_a_welch_interval() -> None:
    a, b = [1.0, 1.3, 2.0], [3.0, 3.1, 2.9, 3.3, 3.0]
    theirs = stats.ttest_ind(np.log(a), np.log(b), equal_var=False).confidence_interval(0.9)
    found = within_margin(a, b).interval
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(theirs)))
    assert found.estimate == pytest.approx(stats.gmean(a) / stats.gmean(b))
    assert found.n == 8
    plain = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    found = within_margin(a, b, log=False).interval
    assert (found.low, found.high) == pytest.approx(tuple(plain))


NEAR = [0.98, 1.0, 1.02]


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "equivalent"), (1.1, "equivalent"), (1.25, "undecided"), (1.5, "different"), (1 / 1.5, "different")],
)
def test_a_verdict_is_where_the_interval_lies(factor: float, verdict: str) -> None:
    assert within_margin([factor * v for v in NEAR], NEAR).verdict == verdict
    assert within_margin(NEAR, [factor * v for v in NEAR]).verdict == verdict


def test_a_difference_that_is_sure_and_small_is_equivalent_not_different() -> None:
    found = within_margin([1.1 * v for v in NEAR], NEAR)
    assert found.interval.low > 1
    assert found.verdict == "equivalent"
    assert within_margin([1.1 * v for v in NEAR], NEAR, margin=0.01).verdict == "different"


def test_without_log_a_margin_is_a_difference() -> None:
    assert within_margin([-0.1, 0.1], [-0.11, 0.09], margin=1.0, log=False).verdict == "equivalent"
    assert within_margin([9.9, 10.1], [-0.1, 0.1], margin=1.0, log=False).verdict == "different"


@pytest.mark.parametrize("few", [[1.0], [1.0, NAN], []])
def test_fewer_than_two_seeds_leave_it_undecided(few: list[float]) -> None:
    for found in (within_margin(few, NEAR), within_margin(NEAR, few)):
        assert (found.verdict, found.interval.known) == ("undecided", False)


def test_configurations_without_any_spread_are_compared_as_they_are() -> None:
    assert within_margin([2.0] * 3, [2.0] * 2).verdict == "equivalent"
    assert within_margin([2.0] * 3, [3.0] * 2).verdict == "different"
    assert within_margin([2.0] * 3, [2.0, 2.02]).interval.known


@pytest.mark.parametrize("deviations", [(0.1, 0.1), (0.05, 0.15)])
def test_at_the_margin_both_errors_are_at_most_one_in_twenty(deviations: tuple[float, float]) -> None:
    drawn = normal(2000, 2, 5)
    a, b = 1.25 * np.exp(deviations[0] * drawn[:, 0]), np.exp(deviations[1] * drawn[:, 1])
    found = [within_margin(x, y).verdict for x, y in zip(a, b, strict=True)]
    for verdict in ("equivalent", "different"):
        assert found.count(verdict) / len(found) == pytest.approx(0.05, abs=0.012)


def test_the_end_of_a_sweep_does_not_load_scipy() -> None:
    code = "import sys, gansweep.report.make; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
