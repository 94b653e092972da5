from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint, data
from gansweep.gan import reference as module
from gansweep.gan.data import (
    MOST_SEEN,
    MOST_UNSEEN,
    REFERENCE_VERSION,
    ImageSet,
    Pixels,
    evaluation_samples,
    evaluation_split,
)
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.features import small_classifier
from gansweep.gan.features.recipe import Source
from gansweep.gan.reference import Reference, halves, reference_of
from gansweep.health import pixels, quality
from gansweep.health.evidence import RealSide, Samples
from gansweep.health.measure import Metric, Statistic
from gansweep.health.metrics import STATISTICS
from gansweep.health.quality import Gaussian, TooFewSamplesError

MakeSet = Callable[..., ImageSet]


@pytest.fixture
def small(make_set: MakeSet, make_pixels: Callable[..., Pixels]) -> ImageSet:
    """150 images of noise, of two classes."""
    return make_set(make_pixels(150), [i % 2 for i in range(150)])


def file_of(images: ImageSet) -> Path:
    """The only file beside pixels, labels and lock."""
    (found,) = Path(images.file).parent.glob("*.safetensors")
    return found


def equal(a: Reference, b: Reference) -> bool:
    weights, others = (
        {**one.embedding.state_dict(), **(one.intact.state_dict(prefix="intact.") if one.intact else {})}
        for one in (a, b)
    )
    return (
        np.array_equal(a.features, b.features)
        and np.array_equal(a.histogram.counts, b.histogram.counts)
        and (a.statistics, a.classes) == (b.statistics, b.classes)
        and (a.accuracy == b.accuracy or (math.isnan(a.accuracy) and math.isnan(b.accuracy)))
        and all(torch.equal(weights[name], others[name]) for name in weights | others)
    )


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_: object) -> list[str]:
        raise AssertionError("made again")

    monkeypatch.setattr(module, "_make", make)


def test_the_classifier_names_unseen_digits(digits: ImageSet, reference: Reference) -> None:
    seen, unseen = halves(digits.images)
    _, found = reference.embedding.embed(torch.from_numpy(digits.load()[unseen]))
    accuracy = float((found.numpy() == digits.labels()[unseen]).mean())
    assert reference.accuracy == pytest.approx(accuracy, abs=1e-9)
    assert accuracy >= 0.97
    assert reference.classes == 10
    assert (len(seen), len(reference.features)) == (898, 899)


def test_statistics_are_those_of_unseen_images(digits: ImageSet, reference: Reference) -> None:
    unseen = digits.load()[halves(digits.images)[1]]
    features, _ = reference.embedding.embed(torch.from_numpy(unseen))
    np.testing.assert_array_equal(reference.features, features.numpy())
    assert reference.statistics["spread"] == pytest.approx(pixels.spread(unseen))
    assert reference.histogram.counts.tolist() == np.bincount(digits.labels()).tolist()
    labels = digits.labels()[halves(digits.images)[1]]
    pairs = quality.pairs_within(labels, 64)
    alike = pixels.ms_ssim(unseen[pairs[0]], unseen[pairs[1]]).mean()
    assert reference.statistics["ms_ssim"] == pytest.approx(alike)


@pytest.mark.parametrize("images", [2, 3, 101, 1797])
def test_halves_share_no_image_and_are_always_the_same(images: int) -> None:
    seen, unseen = halves(images)
    assert sorted([*seen, *unseen]) == list(range(images))
    assert len(seen) == images // 2
    assert all(np.array_equal(a, b) for a, b in zip(halves(images), (seen, unseen), strict=True))


def test_of_many_images_some_do() -> None:
    assert evaluation_split(70_000) == (MOST_SEEN, MOST_UNSEEN)
    assert len(halves(70_000)[0]) == MOST_SEEN
    assert evaluation_split(5_000) == (2_500, MOST_UNSEEN)
    assert evaluation_split(1_001) == (500, 501)


@pytest.mark.usefixtures("quick")
def test_is_made_once_and_kept_beside_the_images(small: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    first, _ = reference_of(small)
    assert torch.get_num_threads() == threads
    assert file_of(small).name == f"0123.classifier-1.reference-{REFERENCE_VERSION}.safetensors"
    forbid(monkeypatch)
    second, notices = reference_of(small)
    assert equal(first, second)
    assert notices == []
    assert not any(p.requires_grad for p in second.embedding.parameters())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("damage", ["cut short", "empty", "a byte inverted"])
def test_a_damaged_one_is_made_again(small: ImageSet, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    first, _ = reference_of(small)
    file = file_of(small)
    content = file.read_bytes()
    inverted = bytearray(content)
    inverted[-1] ^= 255
    file.write_bytes({"cut short": content[:-1], "empty": b"", "a byte inverted": bytes(inverted)}[damage])
    again, _ = reference_of(small)
    assert equal(again, first)
    forbid(monkeypatch)
    assert equal(reference_of(small)[0], first)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("lacking", ["features", "histogram", "embedding.body.0.bias", "accuracy", "spread", "ms_ssim"])
def test_one_that_lacks_an_array_or_a_value_is_made_again(small: ImageSet, lacking: str) -> None:
    """As a version that stored less wrote it."""
    first, _ = reference_of(small)
    file = file_of(small)
    tensors, meta = checkpoint.load(file)
    assert lacking in tensors | meta
    less = [{name: value for name, value in part.items() if name != lacking} for part in (tensors, meta)]
    checkpoint.save(file, *less)
    assert equal(reference_of(small)[0], first)
    assert lacking in set().union(*checkpoint.load(file))


@pytest.mark.usefixtures("quick")
def test_a_metric_brings_the_statistic_of_real_images_that_it_needs(
    small: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One made without it is made again; the metric finds the value that its function gives for unseen images."""
    reference_of(small)
    brightness = Statistic("brightness", lambda images: float(images.pixels.mean()))
    metric = Metric[Samples](
        "brighter", "x", "x", lambda s: s.pixels.mean() - brightness.of(s.real), statistic=brightness
    )
    monkeypatch.setattr(module, "STATISTICS", (*STATISTICS, brightness))
    evaluator = Evaluator(reference_of(small)[0], 40, 0, [metric])
    unseen = small.load()[halves(small.images)[1]]
    assert evaluator.quality(unseen[:40]) == {"brighter": unseen[:40].mean() - unseen.mean()}
    forbid(monkeypatch)
    assert {*reference_of(small)[0].statistics} == {"spread", "ms_ssim", "brightness"}


@pytest.mark.usefixtures("quick")
def test_a_file_of_another_version_is_left_alone(small: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = reference_of(small)
    content = (file := file_of(small)).read_bytes()
    monkeypatch.setattr(data, "REFERENCE_VERSION", REFERENCE_VERSION + 1)
    assert equal(reference_of(small)[0], first)
    assert len([*file.parent.glob("*.safetensors")]) == 2
    assert file.read_bytes() == content


def at_once(images: ImageSet, count: int = 4) -> list[Reference]:
    """Locks exclude other open files, of this process as of others."""
    barrier = threading.Barrier(count)

    def get(_: int) -> Reference:
        barrier.wait()
        return reference_of(images)[0]

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(get, range(count)))


@pytest.mark.usefixtures("quick")
def test_trials_that_begin_at_once_make_it_once(small: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], module._make

    def slowly(images: ImageSet, source: Source, path: Path) -> list[str]:
        made.append(path)
        time.sleep(0.1)
        return make(images, source, path)

    monkeypatch.setattr(module, "_make", slowly)
    first, *others = at_once(small)
    assert len(made) == 1
    assert all(equal(first, other) for other in others)


@pytest.mark.usefixtures("quick")
def test_trials_that_find_a_damaged_one_at_once_all_get_it(small: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = reference_of(small)
    file_of(small).write_bytes(b"damaged")
    load, barrier, waiting = module._load, threading.Barrier(2), threading.Semaphore(2)

    def together(path: Path, images: ImageSet, source: Source) -> Reference:
        try:
            return load(path, images, source)
        except CheckpointError:
            if waiting.acquire(blocking=False):
                barrier.wait(5)  # both have seen the damage before either mends it
            raise

    monkeypatch.setattr(module, "_load", together)
    assert all(equal(first, other) for other in at_once(small, 2))


@pytest.mark.usefixtures("quick")
def test_one_that_fails_in_the_making_leaves_the_next_a_free_hand(
    small: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(small_classifier, "train", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reference_of(small)
    assert list(Path(small.file).parent.glob("*.safetensors")) == []
    assert reference_of(small)[0].classes == 2


@pytest.mark.parametrize("classes", [("all",), ()])
def test_images_of_one_class_are_judged_without_labels(
    make_set: MakeSet, make_pixels: Callable[..., Pixels], classes: tuple[str, ...]
) -> None:
    images = make_set(make_pixels(150), [0] * 150, classes)
    found, notices = reference_of(images)
    assert found.classes == 0
    assert math.isnan(found.accuracy)
    (notice,) = notices
    assert (
        notice == "the images have one class: they are evaluated without labels (no missing classes, no label entropy)"
    )
    again, notices = reference_of(images)
    assert equal(found, again)
    assert notices == []


@pytest.mark.usefixtures("quick")
def test_a_poor_classifier_of_digits_is_reported(make_set: MakeSet, make_pixels: Callable[..., Pixels]) -> None:
    labels = [i % 10 for i in range(150)]
    found, (notice,) = reference_of(make_set(make_pixels(150), labels, [str(i) for i in range(10)]))
    assert notice == (
        f"the evaluator classifies only {found.accuracy:.1%} of unseen real digits correctly;"
        " verdicts that count classes are less reliable"
    )


@pytest.mark.usefixtures("quick")
def test_a_good_one_is_not(
    make_set: MakeSet, make_pixels: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOOD_ACCURACY", 0.0)
    labels = [i % 10 for i in range(150)]
    assert reference_of(make_set(make_pixels(150), labels, [str(i) for i in range(10)]))[1] == []


@pytest.mark.usefixtures("quick")
def test_nor_one_of_other_images(small: ImageSet) -> None:
    assert reference_of(small)[1] == []


def test_what_samples_are_compared_with(reference: Reference) -> None:
    real = reference.at(100)
    assert np.array_equal(real.features, reference.features[:100])
    assert real.gaussian.mean == pytest.approx(reference.features[:100].astype(float).mean(axis=0))
    assert np.array_equal(real.radii, quality.neighbour_radii(reference.features[:100]))
    assert np.array_equal(real.radii_of_3, quality.neighbour_radii(reference.features[:100], 3))
    assert real.bins.real == 899
    assert reference.at(100).baseline == real.baseline, "always the same"
    assert reference.at(300).baseline < real.baseline / 2


def test_the_baseline_is_what_two_real_samples_of_that_size_differ_by(reference: Reference) -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(20):
        chosen = reference.features[rng.permutation(899)[:200]]
        found.append(quality.frechet_distance(Gaussian.of(chosen[:100]), Gaussian.of(chosen[100:])))
    assert reference.at(100).baseline == pytest.approx(np.mean(found), rel=0.15)


def test_statistics_for_a_number_of_samples_are_stored_beside_the_reference(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = replace(reference, file=None)
    for samples in (100, 300):
        first = reference.at(samples)
        with monkeypatch.context() as patch:
            patch.setattr(quality, "neighbour_radii", lambda *_: pytest.fail("computes them again"))
            stored = reference.at(samples)
        for real in (first, stored):
            assert_same_bits(real, computed.at(samples))


def test_stored_statistics_are_those_of_the_features_or_computed_again(reference: Reference) -> None:
    assert reference.file
    others = replace(reference, features=reference.features[::-1].copy())
    assert_same_bits(reference.at(150), replace(reference, file=None).at(150))
    assert_same_bits(others.at(150), replace(others, file=None).at(150))
    (stored,) = reference.file.parent.glob(f"{reference.file.stem}.150-samples-*.safetensors")
    stored.write_bytes(b"damaged")
    assert_same_bits(reference.at(150), replace(reference, file=None).at(150))


def test_a_home_that_cannot_be_written_computes_them(reference: Reference) -> None:
    assert reference.file
    nowhere = replace(reference, file=reference.file / "nowhere" / "x.safetensors")
    assert_same_bits(nowhere.at(100), reference.at(100))


def assert_same_bits(one: RealSide, other: RealSide) -> None:
    """Compare what depends on the number of samples."""
    for a, b in (
        (one.gaussian.mean, other.gaussian.mean),
        (one.gaussian.covariance, other.gaussian.covariance),
        (one.radii, other.radii),
        (one.radii_of_3, other.radii_of_3),
        (one.bins.centres, other.bins.centres),
        (one.bins.shares, other.bins.shares),
    ):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    names = ("duplicate_distance", "near_duplicates", "baseline")
    assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
    assert one.bins.real == other.bins.real


def test_too_few_samples_are_refused(reference: Reference) -> None:
    with pytest.raises(TooFewSamplesError):
        reference.at(32)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("count", [132, 400])
def test_the_fewest_images_that_a_plan_allows_can_be_evaluated(
    make_set: MakeSet, make_pixels: Callable[..., Pixels], count: int, labels: int
) -> None:
    images = make_set(make_pixels(count), [i % labels for i in range(count)], [str(i) for i in range(labels)])
    samples = evaluation_samples(count, 256)
    found: dict[str, Any] = Evaluator(reference_of(images)[0], samples, 0).quality(make_pixels(samples))
    assert all(math.isfinite(value) for value in found.values())
