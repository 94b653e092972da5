"""Training images that samples may be copies of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gansweep.health import memorised
from gansweep.health.memorised import TrainingImages, nearest
from gansweep.health.quality import distances

Features = NDArray[np.float32]


def draw(rng: np.random.Generator, n: int) -> Features:
    """Features of n images that are all different."""
    return (rng.normal(size=(n, 8)) * np.arange(1, 9) + 5).astype(np.float32)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
def test_the_nearest_is_the_smallest_distance_however_many_at_a_time(n: int, m: int, at_a_time: int) -> None:
    rng = np.random.default_rng(n + 100 * m)
    rows, others = draw(rng, n), draw(rng, m)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memorised, "AT_A_TIME", at_a_time)
        found = nearest(rows, others)
    assert found == pytest.approx(distances(rows, others).min(axis=1), rel=1e-9, abs=1e-6)
    assert nearest(others[:1], others) == pytest.approx([0], abs=1e-6)


def test_of_fresh_real_images_one_in_a_hundred_counts_and_of_copies_all() -> None:
    rng = np.random.default_rng(0)
    training, fresh = draw(rng, 3_000), draw(rng, 2_000)
    found = TrainingImages.of(training, fresh)
    assert len(found.features) == 3_000
    assert found.share(fresh) == pytest.approx(0.01, abs=1e-3)
    assert found.share(draw(rng, 4_000)) == pytest.approx(0.01, abs=0.005)
    noise = rng.normal(0, 0.01, (256, 8)).astype(np.float32)
    assert found.share(training[:256] + noise) == 1
    assert found.share(fresh[:256] + 100) == 0
    both = np.concatenate([training[:64], fresh[:192]])
    assert found.share(both) == pytest.approx(0.25 + 0.75 * 0.01, abs=0.02)


def test_images_that_the_set_repeats_are_no_evidence() -> None:
    """Half of the images occur in both halves: fresh ones would otherwise look memorised."""
    rng = np.random.default_rng(0)
    training, fresh, repeated = draw(rng, 1_500), draw(rng, 1_000), draw(rng, 500)
    found = TrainingImages.of(np.concatenate([training, repeated]), np.concatenate([fresh, repeated]))
    assert np.array_equal(found.features, training)
    assert found.share(np.concatenate([fresh, repeated])) == pytest.approx(0.01, abs=2e-3)
    assert found.share(training) == 1


def test_near_duplicates_in_the_set_lower_the_distance_and_not_the_share() -> None:
    """Every training image has another take, as frames of a film have."""
    rng = np.random.default_rng(0)
    scenes = draw(rng, 2_000)
    takes = [scenes + rng.normal(0, 0.05, scenes.shape).astype(np.float32) for _ in range(2)]
    found = TrainingImages.of(takes[0][:1_500], takes[1])
    assert len(found.features) == 1_500
    assert found.share(takes[1]) == pytest.approx(0.01, abs=1e-3)
    assert found.share(takes[0][:1_500]) == 1


def test_without_training_images_of_its_own_there_is_no_share() -> None:
    images = draw(np.random.default_rng(0), 100)
    found = TrainingImages.of(np.concatenate([images, images]), images)
    assert (len(found.features), found.distance) == (0, 0)
    assert math.isnan(found.share(images))


def test_what_is_not_a_number_is_near_nothing() -> None:
    rng = np.random.default_rng(0)
    found = TrainingImages.of(draw(rng, 300), draw(rng, 200))
    samples = found.features[:10].copy()
    samples[:5, 3] = np.nan
    assert found.share(samples) == 0.5
