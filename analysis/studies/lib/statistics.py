"""Intervals and tests for the studies' claims. Pure functions.

Values that are not finite are excluded; `n` is the number of the others. With fewer than two there is no interval."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of n values. NaN if there is none; NaN compares as neither above nor below a value."""

    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    n: int = 0

    def above(self, bound):
        return self.low > bound

    def below(self, bound):
        return self.high < bound

    def __str__(self):
        if math.isnan(self.low):
            return f"{self.estimate:.3g} (no interval)"
        return f"{self.estimate:.3g} ({self.low:.3g} to {self.high:.3g})"


NOTHING = Interval()


def mean(values):
    """Return the mean with Student's t interval."""
    values = np.array([value for value in values if np.isfinite(value)])
    if not len(values):
        return NOTHING
    estimate = float(values.mean())
    if len(values) == 1:
        return Interval(estimate, n=1)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return Interval(estimate, estimate - float(half), estimate + float(half), len(values))


def ratio(logs):
    """Return the geometric mean of ratios, given their logarithms, one per pair."""
    return _transformed(mean(logs), math.exp)


def correlation(z):
    """Return the mean correlation, given Fisher's z of each (Fisher 1921)."""
    return _transformed(mean(z), math.tanh)


def _transformed(interval, function):
    return Interval(*(function(x) for x in (interval.estimate, interval.low, interval.high)), interval.n)


def wilson(hits, of):
    """Return a share with its interval (Wilson 1927)."""
    if not of:
        return NOTHING
    found = stats.binomtest(hits, of).proportion_ci(0.95, "wilson")
    return Interval(hits / of, float(found.low), float(found.high), of)


def rejected(shares, real, samples=80, draws=20_000):
    """Return the probability that a chi-squared test at 5 % rejects the real shares.

    The test sees samples whose classes have the given shares. Simulated with a fixed seed; accurate to .004.
    """
    shares, expected = np.asarray(shares, float), samples * np.asarray(real, float)
    counts = np.random.default_rng(0).multinomial(samples, shares / shares.sum(), draws)
    statistic = ((counts - expected) ** 2 / expected).sum(axis=1)
    return float((statistic > stats.chi2.ppf(0.95, len(expected) - 1)).mean())


def friedman(table):
    """Return Friedman's p and Kendall's W of (blocks, letters), corrected for ties (Friedman 1937).

    W is the statistic divided by its maximum. If all are tied: p 1, W 0. NaN with fewer than two blocks or three
    letters.
    """
    table = np.asarray(table, float)
    if table.ndim < 2 or table.shape[0] < 2 or table.shape[1] < 3:
        return NAN, NAN
    if (table == table[:, :1]).all():
        return 1.0, 0.0
    found = stats.friedmanchisquare(*table.T)
    return float(found.pvalue), float(found.statistic) / (table.shape[0] * (table.shape[1] - 1))
