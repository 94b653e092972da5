"""Each metric equals an implementation that others wrote, and its closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from prdc import compute_prdc
from scipy import linalg, stats
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from torchmetrics.image.fid import FrechetInceptionDistance

from gansweep.health.detectors.samples import ModeCollapse
from gansweep.health.quality import (
    NEIGHBOURS,
    Bins,
    Floats,
    Gaussian,
    Histogram,
    TooFewSamplesError,
    auc,
    density_coverage,
    distances,
    duplicate_distance,
    frechet_distance,
    near_duplicates,
    neighbour_radii,
    pairs_within,
    precision_recall,
    within_classes,
)

SEEDS = st.integers(0, 2**32 - 1)
GRID = st.integers(-4, 4).map(float)  # distances come out exact in any implementation, with many ties
LOGITS = st.lists(GRID | st.floats(-1e3, 1e3), min_size=1, max_size=9).map(np.array)
COUNTS = arrays(np.int64, 5, elements=st.integers(0, 50)).filter(np.any)


def points(least: int) -> st.SearchStrategy[Floats]:
    return arrays(np.float64, st.tuples(st.integers(least, 12), st.just(2)), elements=GRID)


def correlated(seed: int, n: int, d: int) -> Floats:
    rng = np.random.default_rng(seed)
    features: Floats = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    return features


def normal(seed: int, n: int, d: int = 8) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, d))


def gaussian(seed: int, d: int = 3) -> Gaussian:
    return Gaussian.of(correlated(seed, 2 * d, d))


def histogram(*counts: int) -> Histogram:
    return Histogram(np.array(counts))


def with_nan(features: Floats) -> Floats:
    found = features.copy()
    found[0, 1] = np.nan
    return found


# Fréchet distance


def test_frechet_distance_equals_that_of_torchmetrics() -> None:
    a, b = correlated(0, 300, 12), correlated(1, 200, 12)
    extractor = torch.nn.Identity()
    extractor.num_features = 12  # type: ignore[assignment]
    theirs = FrechetInceptionDistance(extractor)
    theirs.update(torch.from_numpy(a), real=True)
    theirs.update(torch.from_numpy(b), real=False)
    assert frechet_distance(Gaussian.of(a), Gaussian.of(b)) == pytest.approx(float(theirs.compute()), rel=1e-9)


@settings(max_examples=50)
@given(SEEDS, SEEDS, st.integers(1, 6))
def test_frechet_distance_equals_that_by_a_matrix_root(one: int, other: int, d: int) -> None:
    a, b = gaussian(one, d), gaussian(other, d)
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-5)


@given(SEEDS)
def test_equal_gaussians_have_no_distance(seed: int) -> None:
    a = gaussian(seed)
    assert 0 <= frechet_distance(a, a) == pytest.approx(0, abs=1e-5)


@given(SEEDS, arrays(np.float64, 3, elements=st.floats(-9, 9)))
def test_a_shift_is_its_square(seed: int, shift: Floats) -> None:
    a = gaussian(seed)
    distance = frechet_distance(a, Gaussian(a.mean + shift, a.covariance))
    assert distance == pytest.approx((shift**2).sum(), abs=1e-5)


@given(*[st.floats(-9, 9)] * 2, *[st.floats(0, 9)] * 2)
def test_in_one_dimension_it_compares_means_and_deviations(m: float, n: float, s: float, t: float) -> None:
    a, b = (Gaussian(np.array([mean]), np.array([[sd**2]])) for mean, sd in ((m, s), (n, t)))
    assert frechet_distance(a, b) == pytest.approx((m - n) ** 2 + (s - t) ** 2, abs=1e-9)


def test_one_feature_has_a_variance() -> None:
    features = normal(0, 50, 1)
    assert Gaussian.of(features).covariance.tolist() == [[pytest.approx(stats.tvar(features[:, 0]))]]


def test_a_collapsed_sample_is_as_far_as_the_spread_that_it_lacks() -> None:
    a = gaussian(0)
    collapsed = Gaussian.of(np.tile(a.mean, (9, 1)))
    assert frechet_distance(a, collapsed) == pytest.approx(np.trace(a.covariance))


@given(SEEDS, SEEDS)
def test_frechet_distance_is_blind_to_turns_and_shifts(one: int, other: int) -> None:
    a, b = gaussian(one), gaussian(other)
    turn, _ = np.linalg.qr(correlated(one, 3, 3))

    def moved(g: Gaussian, scale: float) -> Gaussian:
        return Gaussian(scale * turn @ g.mean + 7, scale**2 * turn @ g.covariance @ turn.T)

    expected = pytest.approx(frechet_distance(a, b), abs=1e-5)
    assert frechet_distance(b, a) == expected
    assert frechet_distance(moved(a, 1), moved(b, 1)) == expected
    assert frechet_distance(moved(a, 2), moved(b, 2)) / 4 == expected


def test_float32_features_are_counted_in_float64() -> None:
    features = (normal(0, 400, 4) + 1e3).astype(np.float32)
    exact = features.astype(np.longdouble)
    found = Gaussian.of(features)
    assert found.mean == pytest.approx(exact.mean(axis=0).astype(np.float64), rel=1e-12)
    assert found.covariance == pytest.approx(np.cov(exact, rowvar=False).astype(np.float64), rel=1e-9, abs=1e-12)
    nearest, _ = KDTree(features.astype(np.float64)).query(features, [2])
    assert neighbour_radii(features, 1) == pytest.approx(nearest[:, 0], rel=1e-5)


# Neighbours


@given(points(1), points(1))
def test_distances_equal_those_of_a_tree(a: Floats, b: Floats) -> None:
    assert distances(a, b).tolist() == KDTree(a).sparse_distance_matrix(KDTree(b), 99).toarray().tolist()


@given(points(6), st.integers(1, 5))
def test_radii_equal_those_of_a_tree(features: Floats, k: int) -> None:
    found, _ = KDTree(features).query(features, [k + 1])  # the first is the point itself
    assert neighbour_radii(features, k).tolist() == found[:, 0].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_density_and_coverage_equal_those_of_prdc_where_distances_tie(seed: int) -> None:
    real, samples = np.random.default_rng(seed).integers(-4, 5, (2, 60, 2)).astype(np.float64)
    theirs = compute_prdc(real, samples, NEIGHBOURS)
    found = density_coverage(real, neighbour_radii(real), samples)
    assert found == pytest.approx((theirs["density"], theirs["coverage"]), rel=1e-12)


@pytest.mark.parametrize(("k", "scale"), [(NEIGHBOURS, 1.0), (NEIGHBOURS, 0.5), (3, 1.5)])
def test_density_and_coverage_equal_those_of_prdc(k: int, scale: float) -> None:
    real, samples = normal(0, 300), scale * normal(1, 200)
    theirs = compute_prdc(real, samples, k)
    found = density_coverage(real, neighbour_radii(real, k), samples, k)
    assert found == pytest.approx((theirs["density"], theirs["coverage"]), rel=1e-12)


@pytest.mark.parametrize(("k", "scale"), [(3, 1.0), (3, 0.5), (NEIGHBOURS, 1.5)])
def test_precision_and_recall_equal_those_of_prdc(k: int, scale: float) -> None:
    real, samples = normal(0, 300), scale * normal(1, 200)
    theirs = compute_prdc(real, samples, k)
    found = precision_recall(real, neighbour_radii(real, k), samples, k)
    assert found == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-12)


@given(points(4), points(4))
def test_the_manifolds_of_precision_and_recall_are_closed(real: Floats, samples: Floats) -> None:
    """Unlike prdc's: Kynkäänniemi et al. write ≤."""

    def enclosed(found: Floats, centres: Floats) -> float:
        radii = np.sort(cdist(centres, centres))[:, [3]]
        return float((cdist(centres, found) <= radii).any(axis=0).mean())

    expected = enclosed(samples, real), enclosed(real, samples)
    assert precision_recall(real, neighbour_radii(real, 3), samples) == expected


def test_honest_samples_have_the_expected_density_and_coverage() -> None:
    n, k = 1000, NEIGHBOURS
    real, samples = normal(0, n, 2), normal(1, n, 2)
    density, coverage = density_coverage(real, neighbour_radii(real), samples)
    assert density == pytest.approx(1, abs=0.1)
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))  # Naeem et al. 2020, appendix
    assert coverage == pytest.approx(expected, abs=0.02)


def test_precision_is_blind_to_collapse_and_recall_is_not() -> None:
    real, radii = normal(0, 100), neighbour_radii(normal(0, 100), 3)
    assert precision_recall(real, radii, real) == (1, 1)
    assert precision_recall(real, radii, real + 100) == (0, 0)
    assert precision_recall(real, radii, np.repeat(real[:1], 100, axis=0)) == (1, 0.01)


def test_far_samples_cover_nothing_and_the_real_ones_everything() -> None:
    real = normal(0, 50)
    radii = neighbour_radii(real)
    assert density_coverage(real, radii, real + 100) == (0, 0)
    assert density_coverage(real, radii, real)[1] == 1
    assert density_coverage(real, radii, real[:1])[1] < 0.5


@given(points(6), points(1), SEEDS)
def test_neighbours_are_blind_to_order_place_and_scale(real: Floats, samples: Floats, seed: int) -> None:
    rng = np.random.default_rng(seed)
    expected = density_coverage(real, neighbour_radii(real), samples)
    real, samples = (8 * rng.permutation(x)[:, ::-1] - 5 for x in (real, samples))
    assert density_coverage(real, neighbour_radii(real), samples) == expected


def brute_within(real: Floats, generated: Floats) -> tuple[float, float]:
    """Density and coverage as the paper's equations 3 and 4 say them, one distance after the other."""
    inside = np.zeros((len(real), len(generated)), bool)
    for i, one in enumerate(real):
        others = sorted(math.dist(one, other) for j, other in enumerate(real) if j != i)
        inside[i] = [math.dist(one, sample) < others[NEIGHBOURS - 1] for sample in generated]
    return inside.sum() / (NEIGHBOURS * len(generated)), inside.any(axis=1).mean()


@settings(max_examples=30)
@given(SEEDS, st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4))
def test_within_classes_it_is_density_and_coverage_of_as_many_of_both(seed: int, counts: list[tuple[int, int]]) -> None:
    """counts: of real and of generated images of each class, in random order."""
    rng = np.random.default_rng(seed)
    labels, asked = (rng.permutation(np.repeat(np.arange(len(counts)), n)) for n in zip(*counts, strict=True))
    real, generated = rng.normal(size=(len(labels), 3)), rng.normal(size=(len(asked), 3))
    density, coverage = within_classes(real, labels, generated, asked, len(counts) + 1)
    for label, (there, made) in enumerate([*counts, (0, 0)]):
        expected = (math.nan, math.nan)
        if (n := min(there, made)) > NEIGHBOURS:
            expected = brute_within(real[labels == label][:n], generated[asked == label][:n])
        assert (density[label], coverage[label]) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("classes", "each"), [(10, 25), (2, 128)])
def test_a_collapse_of_one_class_shows_within_it_and_not_in_the_whole(classes: int, each: int) -> None:
    """Its samples are copies of a typical image; honest classes stay far above the threshold of mode collapse."""
    rng = np.random.default_rng(0)
    centres = 90 * rng.normal(size=(classes, 2))
    labels = rng.permutation(np.repeat(np.arange(classes), each))
    real, generated = (centres[labels] + rng.normal(size=(len(labels), 2)) for _ in range(2))
    _, honest = within_classes(real, labels, generated, labels, classes)
    generated[labels == 1] = centres[1]
    density, coverage = within_classes(real, labels, generated, labels, classes)
    assert honest.min() > 0.7
    assert (int(np.argmin(coverage)), coverage[1] < ModeCollapse().within) == (1, True)
    assert density[1] == pytest.approx(coverage[1] * each / NEIGHBOURS), "each ball has all of them or none"
    np.testing.assert_array_equal(np.delete(coverage, 1), np.delete(honest, 1))
    if classes == 10:
        assert density_coverage(real, neighbour_radii(real), generated)[1] > 0.8


def test_one_real_image_in_a_hundred_has_a_near_duplicate() -> None:
    real = normal(0, 1000)
    assert near_duplicates(real, duplicate_distance(real)) == pytest.approx(0.01, abs=0.002)
    assert near_duplicates(real, duplicate_distance(real, 0.5)) == pytest.approx(0.5, abs=0.002)


def test_honest_samples_have_hardly_any_near_duplicates() -> None:
    found = near_duplicates(normal(1, 1000), duplicate_distance(normal(0, 1000)))
    assert 0.003 < found < 0.03


@pytest.mark.parametrize("jitter", [0.0, 1e-3])
@pytest.mark.parametrize("pool", [1, 50, 1000])
def test_samples_from_a_small_pool_are_near_duplicates(pool: int, jitter: float) -> None:
    real, n = normal(0, 1000), 1000
    samples = real[np.random.default_rng(0).integers(0, pool, n)] + jitter * normal(1, n)
    expected = 1 - (1 - 1 / pool) ** (n - 1)  # that another one is drawn from the same point
    assert near_duplicates(samples, duplicate_distance(real)) == pytest.approx(expected, abs=0.05)


@given(points(2), st.integers(0, 9))
def test_near_duplicates_equal_those_of_a_tree(samples: Floats, whole: int) -> None:
    distance = whole + 0.5  # no distance on the grid
    pairs = KDTree(samples).query_pairs(distance)
    assert near_duplicates(samples, distance) == len({i for pair in pairs for i in pair}) / len(samples)


# Bins


def test_bins_equal_those_of_scikit_learn() -> None:
    real, bins = correlated(0, 500, 4), 10
    theirs = KMeans(bins, init=real[::50], n_init=1, max_iter=10, tol=0, algorithm="lloyd").fit(real)
    found = Bins.of(real, bins)
    assert found.centres == pytest.approx(theirs.cluster_centers_)
    assert found.shares == pytest.approx(np.bincount(theirs.labels_, minlength=bins) / 500)
    assert found.real == 500


@pytest.mark.parametrize(("n", "bins", "shift"), [(300, 20, 0.0), (300, 20, 0.5), (2000, 20, 0.3), (1000, 2, 0.13)])
def test_different_bins_are_those_of_the_chi_square_test(n: int, bins: int, shift: float) -> None:
    """The test on a 2×2 table without continuity correction equals the two-proportion z-test."""
    real, samples = normal(0, 1000, 2), normal(1, n, 2) + shift
    ours = Bins.of(real, bins)
    here, there = (KDTree(ours.centres).query(x)[1] for x in (samples, real))
    tables = [[[(x == i).sum(), (x != i).sum()] for x in (here, there)] for i in range(bins)]
    p = [stats.chi2_contingency(table, correction=False).pvalue for table in tables]
    assert ours.different(ours.count(samples)) == pytest.approx(np.mean(np.array(p) < 0.05))


def test_honest_samples_differ_in_one_bin_of_twenty_and_collapsed_ones_in_all() -> None:
    bins = Bins.of(normal(0, 1000, 2), 20)
    found = [bins.different(bins.count(normal(seed, 1000, 2))) for seed in range(1, 31)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.03)
    assert bins.different(bins.count(np.repeat(bins.centres[:1], 1000, axis=0))) == 1


def test_bins_without_an_image_do_not_differ() -> None:
    real = np.repeat(normal(0, 2), 50, axis=0)
    bins = Bins.of(real, 10)  # eight of them stay empty
    assert sorted(bins.shares) == [0] * 8 + [0.5] * 2
    assert bins.different(bins.count(real)) == 0
    assert Bins.of(real, 1).different(np.array([100])) == 0


# Labels


@given(COUNTS)
def test_effective_classes_are_those_of_scipys_entropy(counts: NDArray[np.int64]) -> None:
    assert Histogram(counts).effective_classes() == pytest.approx(math.exp(stats.entropy(counts)))


@pytest.mark.parametrize("classes", [1, 3, 10])
def test_even_classes_count_fully(classes: int) -> None:
    even = Histogram.of(np.repeat(np.arange(classes), 7), classes + 2)
    assert len(even.counts) == classes + 2
    assert even.effective_classes() == pytest.approx(classes)


@given(COUNTS, COUNTS)
def test_divergence_equals_that_of_scipy(counts: NDArray[np.int64], real: NDArray[np.int64]) -> None:
    found = Histogram(counts).divergence_from(Histogram(real))
    assert 0 <= found == pytest.approx(stats.entropy(counts, real), abs=1e-12)
    assert (found == math.inf) == bool(counts[real == 0].any())


def test_rounding_makes_no_divergence_negative() -> None:
    for few in range(1, 9):
        counts = np.array([few, 1]) * 10**8
        assert Histogram(counts).divergence_from(Histogram(counts + np.array([1, 0]))) >= 0


@given(COUNTS, COUNTS, SEEDS)
def test_labels_are_blind_to_order_and_number(counts: NDArray[np.int64], real: NDArray[np.int64], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(5)
    a, b = Histogram(counts), Histogram(3 * counts[order])
    assert b.effective_classes() == pytest.approx(a.effective_classes())
    assert b.divergence_from(Histogram(real[order])) == pytest.approx(a.divergence_from(Histogram(real)), abs=1e-12)


def test_honest_labels_diverge_by_the_stated_bias() -> None:
    classes, n = 10, 500
    draws = np.random.default_rng(0).multinomial(n, [1 / classes] * classes, 1000)
    even = histogram(*[1] * classes)
    found = np.mean([Histogram(draw).divergence_from(even) for draw in draws])
    assert found == pytest.approx((classes - 1) / (2 * n), rel=0.1)


@pytest.mark.parametrize(
    ("counts", "missing"),
    [
        # five at least
        ((19, 5), 0),
        ((20, 4), 1),
        # a tenth of the expected 100
        ((190, 10), 0),
        ((191, 9), 1),
        ((24, 0), 1),
        ((12, 12), 0),
    ],
)
def test_a_class_is_missing_below_a_tenth_of_its_real_share(counts: tuple[int, ...], missing: int) -> None:
    assert histogram(*counts).missing(histogram(30, 30)) == missing


def test_a_rare_class_is_measured_by_its_own_share() -> None:
    real = histogram(900, 100)
    assert histogram(991, 9).missing(real) == 1
    assert histogram(10, 990).missing(real) == 1
    assert histogram(990, 10).missing(real) == histogram(90, 910).missing(real) == 0


def test_a_class_that_real_lacks_is_never_missing() -> None:
    assert histogram(12, 12, 0).missing(histogram(1, 1, 0)) == 0
    assert histogram(0, 0, 24).missing(histogram(1, 1, 0)) == 2


@pytest.mark.parametrize(
    ("real", "least"),
    [((1, 1), 24), ((5,) * 10, 120), ((99, 1), 1200), ((3, 0, 1), 48), ((1,) * 161, 1932), ((3, 44), 188)],
)
def test_counting_needs_twelve_expected_of_the_rarest_class(real: tuple[int, ...], least: int) -> None:
    assert histogram(*real).least_to_miss() == least


def test_twelve_expected_are_the_fewest_that_chance_misses_once_in_a_hundred_times() -> None:
    least = histogram(99, 1).least_to_miss()
    assert stats.binom.cdf(4, least, 0.01) < 0.01 < stats.binom.cdf(4, least * 11 // 12, 0.01)


# AUC


@given(LOGITS, LOGITS)
def test_auc_equals_that_of_scikit_learn(real: Floats, fake: Floats) -> None:
    truth = [1] * len(real) + [0] * len(fake)
    assert auc(real, fake) == pytest.approx(roc_auc_score(truth, np.concatenate([real, fake])))


@given(LOGITS, LOGITS)
def test_auc_has_two_sides_and_knows_only_the_order(real: Floats, fake: Floats) -> None:
    found = auc(real, fake)
    assert auc(fake, real) == pytest.approx(1 - found)
    assert auc(real[::-1], fake[::-1]) == auc(8 * real, 8 * fake) == pytest.approx(found)


def test_auc_of_separated_equal_and_infinite_logits() -> None:
    low, high, infinite = np.zeros(3), np.ones(5), np.full(2, np.inf)
    assert auc(high, low) == auc(infinite, high) == 1
    assert auc(low, high) == auc(-infinite, high) == 0
    assert auc(low, low) == auc(infinite, infinite) == 0.5


# Pairs


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(0, 20))
def test_pairs_are_of_neighbours_of_one_label(labels: list[int], count: int) -> None:
    first, second = pairs_within(np.array(labels, np.int64), count)
    places = [[i for i, label in enumerate(labels) if label == one] for one in range(4)]
    expected = [pair for p in places for pair in zip(p[::2], p[1::2], strict=False)]
    assert [*zip(first, second, strict=True)] == sorted(expected, key=lambda pair: pair[1])[:count]


# Too few samples, and NaN


@pytest.mark.parametrize(
    ("metric", "least", "call"),
    [
        ("a Fréchet distance", 4, lambda n: Gaussian.of(normal(0, n, 3))),
        ("a Fréchet distance", 2, lambda n: Gaussian.of(normal(0, n, 1))),
        ("density and coverage", 6, lambda n: neighbour_radii(normal(0, n))),
        ("density and coverage", 3, lambda n: neighbour_radii(normal(0, n), 2)),
        ("density and coverage", 1, lambda n: density_coverage(normal(0, 9), np.ones(9), normal(0, n))),
        ("NDB with 3 bins", 30, lambda n: Bins.of(normal(0, n), 3)),
        ("NDB", 1, lambda n: Bins.of(normal(0, 30), 3).different(np.array([n, 0, 0]))),
        ("near duplicates", 2, lambda n: near_duplicates(normal(0, n), 1.0)),
        ("a class histogram", 1, lambda n: Histogram.of(np.zeros(n, np.int64), 3)),
        ("counting missing classes", 48, lambda n: histogram(n - 20, 20).missing(histogram(3, 1))),
        ("AUC", 1, lambda n: auc(np.zeros(n), np.zeros(3))),
        ("AUC", 1, lambda n: auc(np.zeros(3), np.zeros(n))),
    ],
)
def test_too_few_samples_are_named(metric: str, least: int, call: Callable[[int], object]) -> None:
    call(least)
    with pytest.raises(TooFewSamplesError) as caught:
        call(least - 1)
    assert str(caught.value) == f"{metric} needs at least {least} samples, got {least - 1}"
    assert caught.value.least == least


def test_precision_and_recall_need_more_samples_than_neighbours() -> None:
    real = normal(0, 9)
    precision_recall(real, neighbour_radii(real, 3), real[:4])
    with pytest.raises(TooFewSamplesError, match="at least 4 samples, got 3"):
        precision_recall(real, neighbour_radii(real, 3), real[:3])


def test_nan_features_make_the_distance_nan() -> None:
    features = normal(0, 20)
    sound, bad = Gaussian.of(features), Gaussian.of(with_nan(features))
    assert math.isnan(frechet_distance(sound, bad))
    assert math.isnan(frechet_distance(bad, sound))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_statistic_that_is_not_finite_makes_the_distance_nan(value: float) -> None:
    mean, covariance = np.zeros(2), np.eye(2)
    sound = Gaussian(mean, covariance)
    for bad in (Gaussian(mean + value, covariance), Gaussian(mean, covariance + value)):
        assert math.isnan(frechet_distance(bad, sound))
        assert math.isnan(frechet_distance(sound, bad))


def test_a_sample_with_nan_counts_as_far_away() -> None:
    real, samples = normal(0, 100), normal(1, 100)
    far = samples.copy()
    far[0] = 1e6
    radii, distance = neighbour_radii(real), duplicate_distance(real, 0.5)
    assert density_coverage(real, radii, with_nan(samples)) == density_coverage(real, radii, far)
    assert near_duplicates(with_nan(samples), distance) == near_duplicates(far, distance) > 0.1
    three = neighbour_radii(real, 3)
    assert precision_recall(real, three, with_nan(samples))[0] == precision_recall(real, three, far)[0]
    assert precision_recall(real, three, with_nan(samples))[1] == precision_recall(real, three, samples[1:])[1]


def test_a_real_one_with_nan_is_near_to_none() -> None:
    real, samples = normal(0, 100), normal(1, 100)
    bad, rest = with_nan(real), real[1:]
    radii = neighbour_radii(bad)
    assert radii[1:] == pytest.approx(neighbour_radii(rest))
    density, coverage = density_coverage(rest, neighbour_radii(rest), samples)
    assert density_coverage(bad, radii, samples) == pytest.approx((density, coverage * 99 / 100))


def test_nan_makes_auc_nan() -> None:
    sound, bad = np.zeros(2), np.array([0, math.nan])
    assert math.isnan(auc(sound, bad))
    assert math.isnan(auc(bad, sound))


def test_exact_copies_among_real_images_do_not_hide_copies_among_samples() -> None:
    real = np.random.default_rng(0).normal(0, 1, (600, 64))
    real[:12] = real[12:24]
    pool = real[100:150][np.random.default_rng(1).integers(0, 50, 500)]
    assert near_duplicates(pool, duplicate_distance(real)) > 0.99
