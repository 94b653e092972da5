"""Measurements by torch equal those by NumPy on the same features: here on the CPU, with a GPU on that as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cached_property, partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import no_waits

from gansweep.health import on_device, pixels, quality
from gansweep.health.evidence import Images, RealSide, Samples
from gansweep.health.memorised import TrainingImages
from gansweep.health.metrics import SAMPLE_METRICS
from gansweep.health.on_device import RealOnDevice, samples_of
from gansweep.health.quality import Bins, Gaussian, Histogram

CLASSES = tuple("abcd")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # pixels, features, labels, requested


def real_side(n: int, seed: int = 0, d: int = 8) -> RealSide:
    """Real images with random features: `n` of them are compared, out of 2n + 40."""
    rng = np.random.default_rng(seed)
    unseen = (rng.normal(size=(2 * n + 40, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)).astype(np.float32)
    real, labels = unseen[:n], rng.integers(0, len(CLASSES), len(unseen))
    return RealSide(
        gaussian=Gaussian.of(real),
        features=real,
        radii=quality.neighbour_radii(real),
        radii_of_3=quality.neighbour_radii(real, 3),
        bins=Bins.of(unseen, 4),
        duplicate_distance=quality.duplicate_distance(real, 0.1),
        near_duplicates=0.1,
        training=TrainingImages.of(unseen[2 * n :], real),
        baseline=0.5,
        unseen=unseen,
        labels=labels,
        histogram=Histogram.of(labels, len(CLASSES)),
        class_names=CLASSES,
        statistics={"spread": (40.0, 70.0), "ms_ssim": 0.4},
    )


def varied(n: int, seed: int = 1) -> Arrays:
    """Samples of a distribution like that of `real_side`, one of them twice."""
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, 8)) @ rng.normal(size=(8, 8))).astype(np.float32)
    features[1] = features[0]
    labels, requested = rng.integers(0, len(CLASSES), (2, n))
    return rng.integers(0, 256, (n, 1, 16, 16), np.uint8), features, labels, requested


def near_real(n: int) -> Arrays:
    pixels, features, labels, requested = varied(n)
    return pixels, real_side(n).unseen[-n:] + 0.01 * features, labels, requested


def all_equal(n: int) -> Arrays:
    return tuple(np.repeat(part[:1], n, axis=0) for part in varied(n))  # type: ignore[return-value]


def two_modes(n: int) -> Arrays:
    return tuple(part[np.arange(n) % 2] for part in varied(n, seed=3))  # type: ignore[return-value]


def constant_images(n: int) -> Arrays:
    pixels, *others = varied(n)
    return (pixels[:, :, :1, :1].repeat(16, axis=2).repeat(16, axis=3), *others)  # type: ignore[return-value]


def a_class_is_never_requested(n: int) -> Arrays:
    *others, requested = varied(n)
    return (*others, requested % 3)  # type: ignore[return-value]


def a_nan(n: int) -> Arrays:
    pixels, features, labels, requested = varied(n)
    features[2, 1] = np.nan
    return pixels, features, labels, requested


SAMPLES = [varied, near_real, all_equal, two_modes, constant_images, a_class_is_never_requested]


def by_numpy(real: RealSide, arrays: Arrays) -> Samples:
    pixels, features, labels, requested = arrays
    return Samples(pixels, features, labels, requested, real)


def by_torch(real: RealSide, arrays: Arrays, device: str = "cpu", *, asked: bool = True) -> Samples:
    pixels, features, labels = (torch.from_numpy(part).to(device) for part in arrays[:3])
    requested = arrays[3] if asked else None
    found = RealOnDevice(real, torch.device(device)).measure(pixels, features, labels, requested)
    return samples_of({name: tensor.cpu() for name, tensor in found.items()}, requested, real)


def metrics(samples: Samples) -> dict[str, float]:
    """Metrics for which there are enough samples."""
    n, real = len(samples.pixels), samples.real
    enough = [metric for metric in SAMPLE_METRICS if metric.least is None or metric.least(real) <= n]
    return {name: value for metric in enough for name, value in metric.record(samples).items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [9, 60, 256])
@pytest.mark.parametrize("make", SAMPLES)
def test_every_metric_equals_that_of_numpy(make: Callable[[int], Arrays], n: int, device: str) -> None:
    """Metrics that count samples included: without ties, rounding changes no count."""
    real, arrays = real_side(n), make(n)
    expected = metrics(by_numpy(real, arrays))
    assert metrics(by_torch(real, arrays, device)) == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("asked", [False, True])
def test_numpy_repeats_nothing_that_takes_time(monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    """Every value that torch has computed is that of a property, and every property that takes time has one."""
    real, arrays = real_side(256), varied(256)
    samples = by_torch(real, arrays, asked=asked)
    properties = {name for name, one in {**vars(Images), **vars(Samples)}.items() if isinstance(one, cached_property)}
    assert {*vars(samples)} - {field.name for field in fields(samples)} <= properties
    for module, name in ((quality, "distances"), (pixels, "ms_ssim"), (pixels, "spread"), (np, "cov")):
        monkeypatch.setattr(module, name, None)
    given = {*samples.given}
    assert {name for one in SAMPLE_METRICS if one.needs <= given for name in one.record(samples)} >= {"ndb", "ms_ssim"}


@pytest.mark.parametrize("device", DEVICES)
def test_with_a_nan_what_counts_neighbours_equals_that_of_numpy(device: str) -> None:
    real, arrays = real_side(60), a_nan(60)
    expected, found = by_numpy(real, arrays), by_torch(real, arrays, device)
    for name in ("density_coverage", "precision_recall", "near_duplicates", "memorised", "spread", "ms_ssim"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
    np.testing.assert_allclose(found.density_coverage_within, expected.density_coverage_within, rtol=1e-6)
    assert np.isnan(quality.frechet_distance(found.gaussian, real.gaussian))
    assert found.bin_counts.sum() == 60


@pytest.mark.parametrize("device", DEVICES)
def test_without_training_images_it_is_unknown_whether_samples_are_memorised(device: str) -> None:
    real = real_side(60)
    real = replace(real, training=TrainingImages(real.training.features[:0], 0.0))
    for samples in (by_numpy(real, varied(60)), by_torch(real, varied(60), device)):
        assert np.isnan(metrics(samples)["memorised"])


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_pairs_are_those_of_numpy(labels: list[int]) -> None:
    expected = quality.pairs_within(np.array(labels), on_device.PAIRS)
    first, second, exist = on_device._pairs_within(torch.tensor(labels), on_device.PAIRS)
    assert (first[exist].tolist(), second[exist].tolist()) == (expected[0].tolist(), expected[1].tolist())


@pytest.mark.parametrize("device", DEVICES)
def test_without_two_samples_of_a_class_there_is_no_similarity(device: str) -> None:
    pixels, features, _, requested = varied(9)
    found = by_torch(real_side(9), (pixels, features, np.arange(9), requested), device)
    assert np.isnan(found.ms_ssim)


@pytest.mark.parametrize("device", DEVICES)
def test_images_that_hardly_differ_have_an_exact_spread(device: str) -> None:
    """In float32, deviations of bright images would be lost in rounding."""
    pixels = np.full((300, 3, 64, 64), 254, np.uint8)
    assert on_device._spread(torch.from_numpy(pixels).to(device)).tolist() == [0, 0]
    pixels[::2] = 255
    across, within = on_device._spread(torch.from_numpy(pixels).to(device)).tolist()
    assert (across, within) == (pytest.approx(pixels[:, 0, 0, 0].astype(float).std(ddof=1), rel=1e-12), 0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", [32, 64, 128])
def test_large_images_in_colour_are_as_alike_as_by_numpy(side: int, device: str) -> None:
    _, *others = varied(40)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, side, side), np.uint8) // 4 + 90
    samples = [by(real_side(40), (pixels, *others)) for by in (by_numpy, partial(by_torch, device=device))]
    assert samples[1].ms_ssim == pytest.approx(samples[0].ms_ssim, rel=1e-6)
    assert samples[1].spread == pytest.approx(samples[0].spread, rel=1e-6)


@pytest.mark.gpu
def test_the_host_waits_for_no_measurement() -> None:
    real, arrays = real_side(256), varied(256)
    on_gpu, requested = RealOnDevice(real, torch.device("cuda")), arrays[3]
    pixels, features, labels = (torch.from_numpy(part).cuda() for part in arrays[:3])
    on_gpu.measure(pixels, features, labels, requested)  # what is copied once per process is waited for
    with no_waits():
        on_gpu.measure(pixels, features, labels, requested)
