"""Intervals and comparisons over seeds. Pure functions on numbers.

Seeds are replicates of a configuration. `log` is for positive quantities that vary by factors, as FD does from seed to
seed: means are geometric, differences are ratios, and intervals are computed from logarithms. Infinite values and NaN
are left out everywhere; callers report their number. With `log`, a value of 0 or less raises ValueError.

Functions load scipy, which takes 0.8 s: the picture that each sweep adds to MLflow at its end rarely needs it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.floating]
# From 20 values on, a bootstrap follows the skew of a few failed seeds. With 3 seeds a percentile bootstrap covers .75.
BOOTSTRAP_FROM = 20
NODES = 64  # nodes of each quadrature: 95 % critical values are exact to 1e-4


@dataclass(frozen=True)
class Interval:
    """Estimate from n values (a mean, ratio or share) with its confidence interval, from `low` to `high`.

    The bounds are NaN if there are too few values, and so is the estimate if n is 0.
    """

    estimate: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Closeness:
    """Verdict with the interval of the ratio a / b (log) or the difference a − b; its n counts both samples."""

    verdict: Literal["equivalent", "different", "undecided"]
    interval: Interval


def mean_over_seeds(values: Sequence[float], *, log: bool, confidence: float = 0.95) -> Interval:
    """Return the mean (log: geometric mean) of a configuration over its seeds, with a t interval.

    From 20 values on, the interval is a seeded BCa bootstrap (Efron 1987). One value has no interval; the interval of
    equal values has no width.
    """
    sample = _sample(values, log)
    low, high = _bounds(sample, confidence)
    return _interval(_mean(sample), low, high, sample.size, log)


def share(hits: int, of: int, confidence: float = 0.95) -> Interval:
    """Return hits / of with Wilson's interval (Wilson 1927), which is valid for small numbers and for no hits.

    All are NaN if `of` is 0.

    Raises:
        ValueError: `hits` is greater than `of`.
    """
    if of == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    from scipy import stats

    found = stats.binomtest(hits, of).proportion_ci(confidence, method="wilson")
    return Interval(hits / of, float(found.low), float(found.high), of)


def within_margin(
    a: Sequence[float], b: Sequence[float], *, margin: float = 0.25, log: bool = True, confidence: float = 0.90
) -> Closeness:
    """Test whether two configurations are equivalent for practical purposes.

    The verdict depends on Welch's t interval of the ratio or difference:

    - equivalent: the interval is within the margin. At 90 % these are two one-sided tests at 5 % (Schuirmann 1987).
    - different: the interval is entirely outside the margin.
    - undecided: neither, or one of the two has fewer than two values (then without an interval).

    Args:
        a: Values of one configuration.
        b: Values of the other configuration.
        margin: Difference without practical importance: with `log` a factor (0.25: from 1/1.25 to 1.25), else in the
            unit of the metric.
        log: Whether to compare by ratio.
        confidence: Confidence of the interval.
    """
    first, second = _sample(a, log), _sample(b, log)
    difference = _mean(first) - _mean(second)
    half = _welch_half_width(first, second, confidence)
    low, high = difference - half, difference + half
    limit = math.log1p(margin) if log else margin
    verdict: Literal["equivalent", "different", "undecided"] = "undecided"
    if -limit < low and high < limit:
        verdict = "equivalent"
    elif low > limit or high < -limit:
        verdict = "different"
    return Closeness(verdict, _interval(difference, low, high, first.size + second.size, log))


def best_of(
    groups: Mapping[Hashable, Sequence[float]], *, mode: Literal["min", "max"], log: bool, confidence: float = 0.95
) -> pd.DataFrame:
    """Return which groups may be the best: multiple comparisons with the best (Hsu 1984; Hsu 1996, section 4.2).

    The table has one row per group, in the given order: group, n, estimate (mean; log: geometric), low and high
    (interval of the difference from the best other group; log: of the ratio, 1.3 = 30 % above it), and may_be_best.
    With the given confidence all intervals hold simultaneously, and the best group is among those that may be best.
    Intervals are constrained: one end is no difference (0, or 1 with log) unless the group may be on either side.

    The spread over seeds is assumed to be the same in all groups (pooled, on the log scale with log), so that a group
    with one value is compared as well. If no group has two values, and for a group without values, low and high are NaN
    and may_be_best is <NA>. For a single group, low and high are NaN and may_be_best is True.
    """
    sign = 1.0 if mode == "min" else -1.0  # below, lower is better
    samples = [sign * _sample(values, log) for values in groups.values()]
    n = np.array([sample.size for sample in samples], dtype=int)
    means = np.array([_mean(sample) for sample in samples], dtype=float)
    low, high = np.full(n.size, np.nan), np.full(n.size, np.nan)
    may_be_best = pd.array([pd.NA] * n.size, dtype="boolean")
    there = np.flatnonzero(n)
    degrees = int(n.sum()) - there.size
    if degrees > 0:
        squares = sum(float(((sample - _mean(sample)) ** 2).sum()) for sample in samples if sample.size)
        low[there], high[there], may_be_best[there] = _compare_with_best(
            means[there], n[there], math.sqrt(squares / degrees), degrees, confidence
        )
    if mode == "max":
        low, high = -high, -low
    estimate, low, high = (_unlog(x) if log else x for x in (sign * means, low, high))
    return pd.DataFrame(
        {"group": list(groups), "n": n, "estimate": estimate, "low": low, "high": high, "may_be_best": may_be_best}
    )


def _compare_with_best(
    means: Floats, n: NDArray[np.integer], deviation: float, degrees: int, confidence: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return low and high of means[i] − min over the others, and whether i may be best, (k,) each. Lower is better."""
    if len(means) == 1:
        return np.array([np.nan]), np.array([np.nan]), np.array([True])
    critical = np.array([critical_value(_lambdas(n, i), degrees, confidence) for i in range(len(n))])
    error = deviation * np.sqrt(1 / n[:, None] + 1 / n[None, :])
    difference = means[:, None] - means[None, :]
    least = difference - critical[:, None] * error
    most = difference + critical[None, :] * error
    for bound in (least, most):
        np.fill_diagonal(bound, -np.inf)
    # Hsu's upper end uses only the candidates; the others could only widen it, and did in none of 20,000 random cases.
    return np.minimum(least.max(axis=1), 0), np.maximum(most.max(axis=1), 0), least.max(axis=1) <= 0


def _lambdas(n: NDArray[np.integer], i: int) -> tuple[tuple[float, int], ...]:
    """Return (λ, number of groups) of the other groups against group i; the differences correlate by λj λk."""
    others = Counter(np.delete(n, i).tolist())
    return tuple(sorted((math.sqrt(size / (size + int(n[i]))), count) for size, count in others.items()))


@cache
def critical_value(lambdas: tuple[tuple[float, int], ...], degrees: int, confidence: float) -> float:
    """Return Dunnett's one-sided d (1955): P(all Tj ≤ d) = confidence, for t variables with correlations λj λk.

    lambdas: (λ, number of groups), λ in (0, 1). Given z and s, Tj are independent (Hsu 1996, eq. 4.6):
    P = E[∏ Φ((λj z + d s) / √(1 − λj²))], z normal, s² a χ² over its degrees of freedom.
    """
    from scipy import optimize, special, stats

    z, z_weights = np.polynomial.hermite_e.hermegauss(NODES)
    u, u_weights = np.polynomial.legendre.leggauss(NODES)
    s = np.sqrt(stats.chi2.ppf((u + 1) / 2, degrees) / degrees)
    weights = np.outer(u_weights / 2, z_weights / z_weights.sum())

    def excess(d: float) -> float:
        product = np.ones_like(weights)
        for λ, count in lambdas:
            product *= special.ndtr((λ * z[None, :] + d * s[:, None]) / math.sqrt(1 - λ**2)) ** count
        return float((weights * product).sum()) - confidence

    bonferroni = stats.t.isf((1 - confidence) / sum(count for _, count in lambdas), degrees)
    return float(optimize.brentq(excess, 0, 1.1 * bonferroni, xtol=1e-9))


def _sample(values: Sequence[float], log: bool) -> Floats:
    given = np.asarray(values, dtype=float)
    finite: Floats = given[np.isfinite(given)]
    if log and (finite <= 0).any():
        raise ValueError(f"no logarithm of {finite.min()}")
    return np.log(finite) if log else finite


def _mean(sample: Floats) -> float:
    """Return the mean, NaN of an empty sample. The mean of equal values is exact, so that ties are found."""
    return float(sample[0] + (sample - sample[0]).mean()) if sample.size else math.nan


def _bounds(sample: Floats, confidence: float) -> tuple[float, float]:
    if sample.size < 2:
        return math.nan, math.nan
    from scipy import stats

    mean = _mean(sample)
    if sample.size < BOOTSTRAP_FROM or np.ptp(sample) == 0:
        half = stats.t.ppf((1 + confidence) / 2, sample.size - 1) * math.sqrt(_squared_error(sample))
        return mean - half, mean + half
    rng = np.random.default_rng(0)
    found = stats.bootstrap((sample,), np.mean, confidence_level=confidence, method="BCa", rng=rng).confidence_interval
    return float(found.low), float(found.high)


def _welch_half_width(a: Floats, b: Floats, confidence: float) -> float:
    """Return half the width (Welch 1947, Satterthwaite's degrees of freedom); NaN if one has fewer than two values."""
    if min(a.size, b.size) < 2:
        return math.nan
    of_a, of_b = _squared_error(a), _squared_error(b)
    if of_a + of_b == 0:
        return 0.0
    from scipy import stats

    degrees = (of_a + of_b) ** 2 / (of_a**2 / (a.size - 1) + of_b**2 / (b.size - 1))
    return float(stats.t.ppf((1 + confidence) / 2, degrees) * math.sqrt(of_a + of_b))


def _squared_error(sample: Floats) -> float:
    """Return the squared standard error of the mean of at least two values."""
    return float(((sample - _mean(sample)) ** 2).sum() / (sample.size - 1) / sample.size)


def _interval(estimate: float, low: float, high: float, n: int, log: bool) -> Interval:
    ends = np.array([estimate, low, high])
    estimate, low, high = (_unlog(ends) if log else ends).tolist()
    return Interval(estimate, low, high, n)


def _unlog(x: Floats) -> Floats:
    """Return exp(x), inf for factors too large for a float, which two very different seeds can cause."""
    with np.errstate(over="ignore"):
        found: Floats = np.exp(x)
    return found
