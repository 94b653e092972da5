"""Spread and MS-SSIM equal other implementations, and their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim as their_ms_ssim

from gansweep.health.pixels import SSIM_SIGMA, SSIM_WINDOW, ms_ssim, scales, spread
from gansweep.health.quality import TooFewSamplesError

# Spread


@given(arrays(np.uint8, array_shapes(min_dims=4, max_dims=4, min_side=2, max_side=4)))
def test_spread_equals_the_deviations_of_torch(images: NDArray[np.uint8]) -> None:
    pixels = torch.from_numpy(images).double()
    across, within = pixels.std(0, correction=1).mean(), pixels.std((1, 2, 3), correction=0).mean()
    assert spread(images) == pytest.approx((float(across), float(within)), rel=1e-5, abs=1e-5)


def test_spread_of_constant_and_noise_images() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8), np.uint8)
    uniform = pytest.approx(math.sqrt((256**2 - 1) / 12), rel=0.01)
    assert spread(noise) == (uniform, uniform)
    assert spread(np.repeat(noise[:1], 9, axis=0)) == (0, pytest.approx(noise[0].std()))
    assert spread(np.full((1000, 1, 8, 8), 255, np.uint8)) == (0, 0)
    levels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    assert spread(np.tile(levels, (1, 1, 8, 8))) == (pytest.approx(255 / math.sqrt(2)), 0)


def test_large_images_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.random.default_rng(0).integers(0, 256, (2, 7, 3, 16, 16), np.uint8)
    whole = spread(a), ms_ssim(a, b)
    monkeypatch.setattr("gansweep.health.pixels.MOST_VALUES", 3 * 16 * 16 * 16 * 2)  # two pairs at a time
    np.testing.assert_array_equal(ms_ssim(a, b), whole[1])
    monkeypatch.setattr("gansweep.health.pixels.MOST_VALUES", 3_000)  # three images, or 428 pixels of all
    assert spread(a) == pytest.approx(whole[0], rel=1e-6)


def test_the_spread_of_one_image_is_refused() -> None:
    with pytest.raises(TooFewSamplesError, match="the spread across samples needs at least 2 samples, got 1"):
        spread(np.zeros((1, 1, 2, 2), np.uint8))


# MS-SSIM


def similar(channels: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Four pairs: nearly equal, less so, unrelated, inverted."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (4, channels, side, side), np.uint8)
    b = np.clip(a + rng.normal(0, 40, a.shape), 0, 255).astype(np.uint8)
    b[0] = a[0] // 2 + 60
    b[2] = rng.permutation(b[2].ravel()).reshape(b[2].shape)
    b[3] = 255 - a[3]
    return a, b


def theirs(a: NDArray[np.uint8], b: NDArray[np.uint8], weights: list[float]) -> NDArray[np.float64]:
    images = (torch.from_numpy(x).double() for x in (a, b))
    found = their_ms_ssim(*images, size_average=False, win_size=SSIM_WINDOW, win_sigma=SSIM_SIGMA, weights=weights)
    return np.asarray(found)


def test_ms_ssim_equals_that_of_pytorch_msssim() -> None:
    a, b = similar(1, 100)
    assert ms_ssim(a, b) == pytest.approx(theirs(a, b, [1 / 3] * 3), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("side", "count"), [(128, 4), (256, 5)])
def test_larger_images_have_more_scales(side: int, count: int) -> None:
    a, b = similar(1, side)
    # The window of pytorch_msssim is rounded to float32, which shows where a factor is near 0.
    assert ms_ssim(a, b) == pytest.approx(theirs(a, b, [1 / count] * count), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("side", "count"), [(8, 2), (32, 2), (63, 2), (64, 3), (127, 3), (128, 4), (256, 5)])
def test_the_coarsest_scale_has_at_least_16_pixels_unless_there_are_two(side: int, count: int) -> None:
    assert scales(side) == count


@pytest.mark.parametrize(("side", "count"), [(100, 3), (128, 4)])
def test_ms_ssim_of_colour_is_the_product_of_means_over_all_channels(side: int, count: int) -> None:
    """pytorch_msssim averages channels after the product: that of one scale alone is the mean at this scale."""
    a, b = similar(3, side)
    a, b = a[:2], b[:2]  # alike: no factor is negative
    each = [theirs(a, b, [float(one == scale) for one in range(count)]) for scale in range(count)]
    assert ms_ssim(a, b) == pytest.approx(np.prod(each, axis=0) ** (1 / count), rel=1e-5)


@pytest.mark.parametrize("side", [32, 64, 256])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_every_channel_counts_at_full_resolution(channel: int, side: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 3, side, side), np.uint8)
    changed = images.copy()
    changed[:, channel] = images[:, channel, ::-1, ::-1]
    found = ms_ssim(images, changed)
    assert (found < 0.9).all()
    assert (found > 0.3).all()  # the other two are equal
    checks = images.copy()
    checks[:, channel] = 255 * (np.indices((side, side)).sum(0) % 2)  # grey at half the resolution
    assert spread(checks)[0] == pytest.approx(spread(images)[0] * 2 / 3, rel=0.1)
    assert spread(checks)[1] > 1.1 * spread(images)[1]


@pytest.mark.parametrize("side", [8, 9, 13, 14, 15, 16, 64])
def test_ms_ssim_of_equal_images_is_one(side: int) -> None:
    a, b = similar(3, side)
    assert ms_ssim(a, a) == pytest.approx(1)
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(b, a))
    assert ms_ssim(a, b)[3] == 0
    assert ms_ssim(a[1:2], b[1:2]) == pytest.approx(ms_ssim(a, b)[1:2])


def test_ms_ssim_of_grey_images_is_the_same_in_colour() -> None:
    a, b = similar(1, 32)
    assert ms_ssim(*(np.repeat(x, 3, axis=1) for x in (a, b))) == pytest.approx(ms_ssim(a, b))


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 255), (100, 200)])
def test_ms_ssim_of_constant_images_compares_their_levels_at_the_last_scale(a: int, b: int) -> None:
    c = (0.01 * 255) ** 2
    found = ms_ssim(*(np.full((1, 1, 16, 16), level, np.uint8) for level in (a, b)))
    assert found == pytest.approx(math.sqrt((2 * a * b + c) / (a**2 + b**2 + c)))
