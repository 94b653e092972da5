"""How much of a GPU each trial takes: the decision, and what follows from it for any set of trials."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansweep.planning.cost import shape_of
from gansweep.planning.packing import (
    MARGIN,
    MOST_SHAPES,
    UNITS,
    Shares,
    choose,
    covers,
    measured_for,
    measured_numbers,
    settled,
    share,
    together,
    wanted,
)
from gansweep.planning.plan import Plan

PlanOf = Callable[..., Plan]
GB = 10**9


@pytest.mark.parametrize(
    ("peak_gb", "free_gb", "expected"),
    [
        (10, 80, 7),  # 72 GB are shared out
        (8, 80, 9),
        (9, 80, 8),  # exactly
        (9.01, 80, 7),
        (24, 80, 3),
        (36.1, 80, 1),
        (72, 80, 1),
        (79, 80, 1),  # alone, without a margin
        (80, 80, 1),
        (80.1, 80, 0),
        (0.6, 80, 120),
    ],
)
def test_as_many_as_fit_with_the_margin(peak_gb: float, free_gb: float, expected: int) -> None:
    assert MARGIN == 0.1
    assert together(int(peak_gb * GB), int(free_gb * GB)) == expected


@pytest.mark.parametrize(
    ("cores", "cpus", "trials", "expected"),
    [
        (16, 1, 100, 16),  # cores
        (4.5, 1, 100, 4),
        (16, 5, 100, 3),
        (1, 2, 100, 1),  # fewer cores than a trial takes: what Ray says of that is its own matter
        (16, 1, 2, 2),  # trials: two on each GPU
        (16, 1, 1.5, 2),  # three on two GPUs
        (16, 1, 0.25, 1),  # more GPUs than trials: each has one for itself
    ],
)
def test_no_more_trials_per_gpu_than_cores_and_waiting_trials(
    cores: float, cpus: int, trials: float, expected: int
) -> None:
    assert wanted(cores, cpus, trials) == expected


# Steps per second of captured copies on streams of an H100.
NARROW = {1: 1170.0, 2: 1785.0, 4: 2682.0, 8: 3799.0, 16: 3805.0}
WIDE = {1: 447.0, 2: 535.0, 4: 538.0}


@pytest.mark.parametrize(
    ("rates", "peak_gb", "cores", "trials", "expected"),
    [
        (NARROW, 0.9, 64, 100, 8),  # 16 gain nothing
        (WIDE, 1.7, 64, 100, 2),
        (NARROW, 20, 64, 100, 3),  # memory: 3 make more than 2, though only 2 and 4 were measured
        (NARROW, 0.9, 6, 100, 6),  # cores
        (NARROW, 0.9, 64, 5, 5),  # waiting trials
        (NARROW, 0.9, 64, 10, 8),
        (WIDE, 50, 64, 100, 1),
        (WIDE, 81, 64, 100, 0),  # not even one
        (NARROW, 81, 64, 100, 0),
        ({}, 10, 64, 100, 7),  # rates that are unknown, or do not apply: what memory allows
        ({}, 10, 4, 100, 4),
        ({}, 81, 4, 100, 0),
        ({1: 100.0, 2: 150.0, 4: 200.0}, 1, 64, 100, 4),  # nothing is known beyond
        ({1: 100.0, 2: 104.0}, 1, 64, 100, 1),  # not worth a second one
        ({1: 100.0, 2: 106.0}, 1, 64, 100, 2),
        ({1: 100.0, 2: 90.0}, 1, 64, 100, 1),  # worse together
        ({1: 94.0, 2: 96.0, 4: 100.0, 8: 101.0}, 1, 64, 100, 2),  # within 5 % of the best, not of the next
    ],
)
def test_the_number_of_trials_on_a_gpu(
    rates: dict[int, float], peak_gb: float, cores: float, trials: float, expected: int
) -> None:
    most = min(together(int(peak_gb * GB), 80 * GB), wanted(cores, 1, trials))
    assert choose(rates, most) == expected


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [1]), (2, [1, 2]), (7, [1, 2, 4, 7]), (16, [1, 2, 4, 8, 16]), (500, [1, 2, 4, 8, 16, 32])],
)
def test_numbers_that_are_measured(most: int, expected: list[int]) -> None:
    assert list(measured_numbers(most)) == expected


@pytest.mark.parametrize(
    ("rates", "ended", "covered_up_to"),
    [
        ({}, False, 1),
        ({1: 100.0}, False, 1),
        ({1: 100.0, 2: 160.0}, False, 2),
        ({1: 100.0, 2: 104.0}, True, 1000),
        ({1: 100.0, 2: 90.0}, True, 1000),
        (NARROW, True, 1000),
        ({1: 100.0, 32: 3000.0}, False, 1000),  # more are not measured
    ],
)
def test_measuring_ends_where_more_trials_gain_nothing(
    rates: dict[int, float], ended: bool, covered_up_to: int
) -> None:
    assert settled(rates) is ended
    assert covers(rates, covered_up_to)
    assert covers(rates, covered_up_to + 1) is (covered_up_to == 1000)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [("a", "a"), ("abcd", "abcd"), ("abcde", "abcee"), ("abcdef", "accdff"), ("abcdefgh", "bbddffhh")],
)
def test_shapes_are_measured_as_the_same_or_a_larger_one(shapes: str, expected: str) -> None:
    sizes = {shape: float(ord(shape)) for shape in reversed(shapes)}
    found = measured_for(sizes)
    assert "".join(found[shape] for shape in shapes) == expected
    assert all(sizes[found[shape]] >= size for shape, size in sizes.items())
    assert len({*found.values()}) == min(MOST_SHAPES, len(shapes))


@pytest.mark.parametrize(("number", "expected"), [(0, 0.0), (1, 1.0), (2, 0.5), (3, 0.3333), (7, 0.1428)])
def test_the_share_of_a_trial_is_rounded_down_or_the_last_one_would_not_fit(number: int, expected: float) -> None:
    assert share(number) == expected


PEAKS = st.integers(300 * 10**6, 200 * GB)  # a CUDA context alone takes this much
FREE = st.integers(1 * GB, 200 * GB)


@given(peaks=st.lists(PEAKS, min_size=1, max_size=6), free=FREE, data=st.data())
def test_trials_that_ray_lets_share_a_gpu_fit_on_it_whatever_their_shapes(
    peaks: list[int], free: int, data: st.DataObject
) -> None:
    shares = {peak: found for peak in peaks if (found := share(min(1000, together(peak, free))))}
    units = {peak: Fraction(round(found * UNITS), UNITS) for peak, found in shares.items()}
    room, held = Fraction(1), 0
    while fitting := [peak for peak in units if units[peak] <= room]:
        peak = data.draw(st.sampled_from(fitting))
        room, held = room - units[peak], held + peak
    assert held <= free


@given(peak=PEAKS, free=FREE)
def test_no_gpu_is_left_emptier_than_it_must_be(peak: int, free: int) -> None:
    fit = together(peak, free)
    assert fit == 0 or (fit + 1) * peak > free * (1 - MARGIN)
    found = share(fit)
    assert (found > 0) == (peak <= free)
    if found:
        assert int(Fraction(UNITS, round(found * UNITS))) >= fit


def test_every_shape_has_its_own_share_and_what_was_not_measured_the_largest(plan_of: PlanOf) -> None:
    plan = plan_of("search={method: grid, over: {model.feature_maps: [2, 4], training.beta1: [0.1, 0.5]}}")
    narrow, _, wide, _ = plan.trials
    shares = Shares({shape_of(narrow): 0.25, shape_of(wide): 0.5}, 0.5)
    assert [shares.of(planned) for planned in plan.trials] == [0.25, 0.25, 0.5, 0.5]
    (other,) = plan_of("model.feature_maps=3").trials
    assert shares.of(other) == 0.5
    assert shares.least == 0.25


def test_a_number_in_the_file_holds_for_every_trial(plan_of: PlanOf) -> None:
    (planned,) = plan_of().trials
    assert Shares.equal(0.3).of(planned) == Shares.equal(0.3).least == 0.3
