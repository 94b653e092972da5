"""How much of a GPU each trial takes: the decision, and what follows from it for any set of trials."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansweep.planning.cost import shape_of
from gansweep.planning.packing import MARGIN, UNITS, Shares, share, together
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
    ("peak_gb", "cores", "cpus", "trials", "expected"),
    [
        (10, 16, 1, 100, 0.1428),  # memory: 7; rounded down, or the seventh would not fit
        (10, 4, 1, 100, 0.25),  # cores: 4
        (10, 4.5, 1, 100, 0.25),
        (10, 16, 5, 100, 0.3333),
        (10, 1, 2, 100, 1.0),  # fewer cores than a trial takes: what Ray says of that is its own matter
        (10, 16, 1, 2, 0.5),  # trials: two on each GPU
        (10, 16, 1, 1.5, 0.5),  # three on two GPUs
        (10, 16, 1, 0.25, 1.0),  # more GPUs than trials: each has one for itself
        (40, 16, 1, 100, 1.0),
        (81, 16, 1, 100, 0.0),  # not even one
    ],
)
def test_the_share_of_a_trial(peak_gb: int, cores: float, cpus: int, trials: float, expected: float) -> None:
    assert share(peak_gb * GB, 80 * GB, cores, cpus, trials) == expected


PEAKS = st.integers(300 * 10**6, 200 * GB)  # a CUDA context alone takes this much
FREE = st.integers(1 * GB, 200 * GB)


@given(peaks=st.lists(PEAKS, min_size=1, max_size=6), free=FREE, data=st.data())
def test_trials_that_ray_lets_share_a_gpu_fit_on_it_whatever_their_shapes(
    peaks: list[int], free: int, data: st.DataObject
) -> None:
    shares = {peak: found for peak in peaks if (found := share(peak, free, 1000, 1, 1000))}
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
    found = share(peak, free, 10**6, 1, 10**6)
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
