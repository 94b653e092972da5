"""Kernel distances, against the sum over pairs that defines them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gansweep.health.kernel import kernel_distance, squared_mmd
from gansweep.health.quality import TooFewSamplesError

RNG = np.random.default_rng(3)


def test_is_the_mean_over_pairs_without_those_of_a_row_and_itself() -> None:
    a, b = RNG.normal(size=(6, 3)), RNG.normal(1, 1, size=(4, 3))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    within = [np.mean([kernel(x, y) for x, y in itertools.permutations(rows, 2)]) for rows in (a, b)]
    between = np.mean([kernel(x, y) for x, y in itertools.product(a, b)])
    assert squared_mmd(a, b) == pytest.approx(sum(within) - 2 * between)
    assert squared_mmd(b, a) == pytest.approx(squared_mmd(a, b))


def test_is_0_on_average_for_two_draws_of_the_same_and_grows_with_their_distance() -> None:
    draws = RNG.normal(size=(40, 2, 50, 4))
    found = [squared_mmd(a, b) for a, b in draws]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0
    real = RNG.normal(size=(300, 4))
    near, far = (kernel_distance(RNG.normal(shift, 1, (200, 4)), real, subsets=5, size=100)[0] for shift in (0.5, 1))
    assert 0 < near < far


def test_subsets_are_the_same_at_each_call() -> None:
    a, b = RNG.normal(size=(2, 60, 3))
    assert kernel_distance(a, b, 3, 20) == kernel_distance(a, b, 3, 20)
    assert kernel_distance(a, b, 3, 20)[1] > 0


def test_nan_and_too_few() -> None:
    a, b = RNG.normal(size=(2, 5, 3))
    assert np.isnan(squared_mmd(np.where(a > 0, a, np.nan), b))
    with pytest.raises(TooFewSamplesError, match="needs at least 2 samples, got 1"):
        squared_mmd(a[:1], b)
    with pytest.raises(TooFewSamplesError, match="a kernel distance of subsets of 6 needs at least 6 samples, got 5"):
        kernel_distance(a, b, 2, 6)
