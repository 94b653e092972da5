from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gansweep.health.detectors.base import BURN_IN, PERSISTS, Detector, EvaluationDetector, Finding, Spell
from gansweep.health.detectors.discriminator import (
    CriticStalled,
    DiscriminatorOverfitting,
    DiscriminatorWon,
    GeneratorWon,
)
from gansweep.health.detectors.divergence import Divergence
from gansweep.health.detectors.memorised import Memorised
from gansweep.health.detectors.registry import DETECTORS
from gansweep.health.detectors.samples import (
    ConditionIgnored,
    DeadGenerator,
    Imbalance,
    LateInstability,
    ModeCollapse,
    ModeDropping,
    NeverTookOff,
    Poor,
)
from gansweep.health.history import Evaluations, History
from gansweep.health.metrics import (
    CLASSES,
    CLASSES_MISSING,
    COVERAGE,
    COVERAGE_WITHIN_WORST,
    CRITIC_TRAINING,
    D_AUC,
    D_FRESH,
    D_GAP,
    D_PREFERENCE,
    D_STD,
    DENSITY,
    DENSITY_WITHIN_WORST,
    DISCRIMINATOR,
    FD_RATIO,
    INTACT,
    LABEL_KL,
    LOSS_D,
    LOSS_G,
    MEMORISED,
    MS_SSIM,
    NDB,
    NEAR_DUPLICATES,
    NONFINITE_STEP,
    QUALITY,
    R_V,
    REQUESTED,
    REQUESTED_WORST,
    SPREAD_ACROSS,
    SPREAD_WITHIN,
    TRAINING,
)

NAN, INF = math.nan, math.inf
Columns = Mapping[str, Sequence[float]]


def history(columns: Columns, budget: int = 100, critic: bool = False, first: int = 0) -> History:
    """Evaluations at steps first, first + 10, …"""
    length = len(next(iter(columns.values())))
    rows = [{name: values[i] for name, values in columns.items()} for i in range(length)]
    return History.of(
        ((first + 10 * i, row) for i, row in enumerate(rows)), budget, critic, logits=not critic, compared=True
    )


# Thresholds are given in full: other defaults change nothing here.
EARLY: dict[str, Any] = {"earliest": 0, "from_step": 0}
DEAD = DeadGenerator(need=2, window=2, **EARLY, across=0.05, slight=0.25, duplicates=0.97, late=0.2)
STALLED: dict[str, Any] = {**EARLY, "takeoff": 0, "over": 2, "improvement": 0.9, "good": 0}
COLLAPSE = ModeCollapse(
    **{**STALLED, "good": 4},
    need=2,
    window=3,
    density=0.7,
    coverage=0.5,
    classes=1.5,
    duplicates=0.5,
    alike=0.5,
    within=0.4,
    share=0.5,
    dense=0.3,
    intact=0.35,
)
DROPPING = ModeDropping(need=3, window=5, **EARLY, missing=1, dense=0.5, covered=0.5, intact=0.35)
IGNORED = ConditionIgnored(need=3, window=5, **EARLY, times=1.5, worst=0.6, intact=0.35)
IMBALANCE = Imbalance(need=3, window=5, **EARLY, kl=0.2)
WON = DiscriminatorWon(need=1, window=1, **EARLY, over=2, auc=0.99, sigma=0.1)
CRITIC = CriticStalled(**STALLED, need=1, window=1, auc=0.99)
BEATEN = GeneratorWon(need=4, window=5, **EARLY, auc=0.55, std=1e-3, share=0.25)
NEVER = NeverTookOff(
    **STALLED, need=3, window=5, density=0.3, share=0.5, across=0.05, intact=0.35, covered=0.1, medians=3
)
POOR = Poor(need=3, window=5, **EARLY, over=1, intact=0.35)
LATE = LateInstability(
    need=2, window=2, **EARLY, stable=3, within=1.1, factor=2.0, deviations=6.0, least=0, intact=0.35
)
MEMORY = Memorised(need=3, window=5, **EARLY, share=0.1)
OVERFITTING = DiscriminatorOverfitting(need=4, window=5, **EARLY, r_v=0.5, gap=0.1)


@dataclass(frozen=True)
class Case:
    """The smallest history that fires, beginning with an evaluation that is no signal.

    needed: metrics without which it must not. signal: index of the first signal. figures: those in its reason.
    """

    detector: EvaluationDetector
    columns: Columns
    since: int
    signal: int
    needed: tuple[str, ...]
    figures: tuple[str, ...]
    critic: bool = False

    def history(self, **changes: Any) -> History:
        return history(self.columns, **{"critic": self.critic, **changes})

    @property
    def length(self) -> int:
        return len(self.columns[self.needed[0]])


CASES = [
    Case(
        DEAD,
        {SPREAD_ACROSS: [1, 0.04, 0.03], SPREAD_WITHIN: [1, 0.1, 0.1], NEAR_DUPLICATES: [0, 1, 1]},
        10, 1, (SPREAD_ACROSS,), ("blank", "0.030"),
    ),
    Case(
        COLLAPSE,
        {
            DENSITY: [0, 0.8, 0.9], COVERAGE: [0, 0.4, 0.3], NEAR_DUPLICATES: [0, 0.1, 0.2], CLASSES: [9, 3, 2.5],
            FD_RATIO: [1, 1, 1],
        },
        10, 1, (DENSITY, COVERAGE, FD_RATIO), ("30%", "0.90", "20%", "2.5 effective classes"),
    ),
    Case(
        DROPPING,
        {
            CLASSES_MISSING: [0, 1, 2, 3], CLASSES: [9, 8, 7, 6.5], LABEL_KL: [0, 0.1, 0.2, 0.3],
            DENSITY: [0, 0.5, 0.6, 0.7], COVERAGE: [0, 0.5, 0.6, 0.7],
        },
        10, 1, (CLASSES_MISSING, CLASSES, DENSITY, COVERAGE), ("3 classes", "6.5 effective classes", "0.30"),
    ),
    Case(
        IGNORED,
        {REQUESTED: [0.9, 0.1, 0.1, 0.12], REQUESTED_WORST: [0.8, 0.0, 0.0, 0.01], CLASSES: [9, 8, 9, 9.5]},
        10, 1, (REQUESTED, REQUESTED_WORST, CLASSES), ("12% of", "of one class 1%", "9.5 effective"),
    ),
    Case(
        IMBALANCE,
        {LABEL_KL: [0, 0.3, 0.4, 0.5], CLASSES_MISSING: [0, 0, 0, 0]},
        10, 1, (LABEL_KL, CLASSES_MISSING), ("0.50",),
    ),
    Case(
        WON,
        {D_AUC: [0.5, 1, 0.999], D_FRESH: [0.5, 0.05, 0.03], LOSS_D: [1, 1, 0.02], LOSS_G: [1, 1, 8.1]},
        10, 2, (D_AUC, D_FRESH), ("AUC 1.000", "σ(D(G)) 0.04", "loss_d 0.02", "loss_g 8.1"),
    ),
    Case(
        CRITIC,
        {D_AUC: [0.5, 1, 0.998], D_FRESH: [0, 1, 0.5], FD_RATIO: [100, 91, 92]},
        10, 2, (D_AUC, FD_RATIO), ("AUC 0.999", "2 evaluations"), critic=True,
    ),
    Case(
        BEATEN,
        {D_AUC: [0.9, 0.5, 0.47, 0.3, 0.52], D_STD: [1, 1, 1, 1, 1], FD_RATIO: [100, 26, 26, 26, 27]},
        10, 1, (D_AUC, FD_RATIO), ("AUC 0.520", "FD ratio 27"),
    ),
    Case(
        NEVER,
        {FD_RATIO: [100, 91, 92, 93, 94], DENSITY: [1, 1, 0.29, 0.2, 0.1], SPREAD_ACROSS: [1, 0.5, 0.5, 0.5, 0.5]},
        20, 2, (FD_RATIO, DENSITY, SPREAD_ACROSS), ("FD ratio is 94", "began at 100", "0.10"),
    ),
    Case(
        NEVER,
        {
            INTACT: [0.9, 0.3, 0.3, 0.3, 0.2], COVERAGE: [0.1, 0.05, 0.1, 0.1, 0.1],
            SPREAD_ACROSS: [0, 0, 0.5, 0.5, 0.5], DENSITY: [9.0] * 5, FD_RATIO: [100.0] + [40.0] * 4,
        },
        20, 2, (INTACT, COVERAGE, SPREAD_ACROSS, FD_RATIO), ("at 20% of the rate", "more than 10% of these"),
    ),
    Case(
        POOR,
        {INTACT: [0.9, 0.3, 0.3, 0.2], FD_RATIO: [9, 9, 9, 12]},
        10, 1, (INTACT,), ("recognisable at 20% of the rate", "FD ratio 12"),
    ),
    Case(LATE, {FD_RATIO: [10, 10, 10, 21, 22]}, 30, 3, (FD_RATIO,), ("FD ratio is 22", "best of 10")),
    Case(
        OVERFITTING,
        {R_V: [0, 0.6, 0.6, 0.6, 0.7], D_GAP: [0, 0.2, 0.2, 0.2, 0.3], D_AUC: [0.7] * 5},
        10, 1, (R_V, D_GAP), ("30%", "r_v 0.70"),
    ),
    Case(MEMORY, {MEMORISED: [0.01, 0.2, 0.3, 0.42]}, 10, 1, (MEMORISED,), ("42% of the samples",)),
]  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.detector.kind.name)


def strict(found: Finding) -> Finding:
    """Through JSON that knows neither NaN nor infinity."""
    return Finding(**json.loads(json.dumps(asdict(found), allow_nan=False)))


@each_case
def test_fires_with_its_figures(case: Case) -> None:
    verdict = case.detector(case.history())
    assert verdict is not None
    assert verdict.since_step == case.since
    assert verdict.reason.startswith(f"{case.detector.kind.name.replace('_', ' ')} since step {case.since}: ")
    assert [words for words in case.figures if words not in verdict.reason] == []
    evidence = verdict.evidence
    assert (evidence["at_step"], evidence["evaluations"]) == (10 * (case.length - 1), case.detector.need)
    assert evidence["thresholds"] == {f.name: getattr(case.detector, f.name) for f in fields(case.detector)}
    assert all(math.isfinite(figure) for figure in evidence["figures"].values())
    assert strict(verdict) == verdict


@each_case
def test_is_silent_one_evaluation_earlier(case: Case) -> None:
    assert case.detector(case.history().until(10 * (case.length - 1) - 1)) is None


@each_case
def test_the_first_evaluation_is_no_signal_but_a_start(case: Case) -> None:
    assert case.detector(history({name: [values[0]] * 9 for name, values in case.columns.items()})) is None


@each_case
def test_goes_on_until_it_is_broken_and_begins_again(case: Case) -> None:
    long = {name: [*values, *[values[-1]] * 3] for name, values in case.columns.items()}
    found = case.detector(history(long, critic=case.critic))
    assert found is not None
    assert found.since_step == case.since
    quiet = 6
    broken = {name: [*values, *[values[0]] * quiet] for name, values in case.columns.items()}
    assert case.detector(history(broken, critic=case.critic)) is None
    again = {name: [*broken[name], *values[1:]] for name, values in case.columns.items()}
    verdict = case.detector(history(again, critic=case.critic))
    assert verdict is not None
    assert verdict.since_step == case.since + 10 * (case.length - 1 + quiet)


@each_case
def test_what_the_burn_in_shows_does_not_count(case: Case) -> None:
    budget = round(10 * case.signal / BURN_IN)
    assert case.detector(case.history(budget=budget)) is not None
    assert case.detector(case.history(budget=budget + 1)) is None


@each_case
def test_nothing_is_flagged_before_the_earliest_share_of_the_budget(case: Case) -> None:
    share = (case.length - 1) / 10  # its last evaluation
    assert replace(case.detector, earliest=share + 0.01)(case.history()) is None
    verdict = replace(case.detector, earliest=share)(case.history())
    assert verdict is not None
    assert verdict.since_step == case.since, "what came before it counts"


@pytest.mark.parametrize(
    ("budget", "begins"),
    [(5_000, 1_750), (2_900, 1_015), (2_000, 1_000), (1_500, 1_000), (1_000, 700), (600, 420)],
)
def test_a_g_that_may_still_take_off_is_waited_for(budget: int, begins: float) -> None:
    """By the share of a long run, by steps of a shorter one, by another share of one that ends before those steps."""
    for detector in (ModeCollapse(), NeverTookOff(), CriticStalled()):
        assert detector.begins(budget) == pytest.approx(begins)
    columns = {DENSITY: [0.9] * 4, COVERAGE: [0.1] * 4, FD_RATIO: [80.0] * 4}
    sure = replace(COLLAPSE, earliest=0.35, takeoff=1_000)
    late, early = ([round(begins) + 10 * n - shift for n in range(4)] for shift in (30, 31))
    for steps, flagged in ((late, True), (early, False)):
        points = [(step, {k: v[n] for k, v in columns.items()}) for n, step in enumerate(steps)]
        assert (sure(History.of(points, budget)) is not None) is flagged


def test_at_the_end_of_a_run_it_has_failed_although_it_improves() -> None:
    falling = {DENSITY: [0.9] * 5, COVERAGE: [0.1] * 5, FD_RATIO: [80.0, 60, 40, 20, 10]}
    slow = {DENSITY: [0.0] * 5, SPREAD_ACROSS: [0.9] * 5, FD_RATIO: [90.0, 80, 70, 60, 50]}
    for detector, columns in ((COLLAPSE, falling), (NEVER, slow)):
        assert detector(history(columns, budget=100)) is None, "slow learning is learning"
        assert detector(history(columns, budget=40)) is not None


@each_case
def test_no_verdict_without_the_metrics_that_it_needs(case: Case) -> None:
    for metric in case.needed:
        rest = {name: values for name, values in case.columns.items() if name != metric} or {LOSS_D: [1.0]}
        assert case.detector(history({**rest, NDB: [0.5] * case.length}, critic=case.critic)) is None, metric


@each_case
def test_no_verdict_out_of_nan(case: Case) -> None:
    for metric in case.needed:
        for column in ([*case.columns[metric][:-1], NAN], [NAN] * case.length):
            assert case.detector(history({**case.columns, metric: column}, critic=case.critic)) is None, metric


@each_case
def test_where_single_evaluations_lack_a_metric_they_are_no_signals(case: Case) -> None:
    for metric in case.needed:
        made = case.history()
        gap = replace(made, series={**made.series, metric: made.until(10 * case.length - 20)[metric]})
        assert case.detector(gap) is None, metric


@each_case
def test_what_else_is_missing_not_a_number_or_infinite_breaks_nothing(case: Case) -> None:
    for metric in case.columns:
        others = {name: values for name, values in case.columns.items() if name != metric} | {NDB: [0.5] * case.length}
        worst = {**case.columns, metric: [*case.columns[metric][:-1], INF]}
        wild = {**case.columns, metric: [(INF, -INF, NAN)[i % 3] for i in range(case.length)]}
        for columns in (others, worst, wild, {**others, metric: [INF] * case.length}):
            found = case.detector(history(columns, critic=case.critic))
            assert found is None or strict(found) == found
        if metric not in case.needed:
            assert case.detector(history(others, critic=case.critic)) is not None, metric


@pytest.mark.parametrize("detector", [case.detector for case in CASES], ids=lambda detector: detector.kind.name)
def test_an_empty_history_says_nothing(detector: EvaluationDetector) -> None:
    for critic in (False, True):
        assert detector(replace(History.of([], 100), critic=critic)) is None
        assert detector(history({name: [1.0] * 9 for name in TRAINING}, critic=critic)) is None
        for name in QUALITY:
            assert detector(history({name: [NAN] * 9}, critic=critic)) is None


def separation(auc: Sequence[float], fresh: Sequence[float], **more: Sequence[float]) -> Columns:
    return {D_AUC: auc, D_FRESH: fresh, **more}


def constant(length: int, **values: float) -> dict[str, Sequence[float]]:
    """A start, then the same at every evaluation."""
    return {name: [100.0 if name == FD_RATIO else 0.9, *[value] * (length - 1)] for name, value in values.items()}


NOTHING = constant(9, fd_ratio=50, density=0, spread_across=0.05, intact=0.1, coverage=0.1)


def collapsed(density: Sequence[float], coverage: Sequence[float], **others: Sequence[float]) -> Columns:
    """Columns of a run on a labelled set, without other signs."""
    n = len(density)
    quiet = {NEAR_DUPLICATES: [0.0] * n, MS_SSIM: [1.0] * n, CLASSES: [9.0] * n, FD_RATIO: [10.0, *[1.0] * (n - 1)]}
    return {DENSITY: density, COVERAGE: coverage, **quiet, **others}


def dropped(missing: Sequence[float], density: float = 0.9, coverage: float = 0.9) -> Columns:
    """Columns of a run on a set of ten classes."""
    n = len(missing)
    remaining = [10 - number for number in missing]
    return {CLASSES_MISSING: missing, CLASSES: remaining, DENSITY: [density] * n, COVERAGE: [coverage] * n}


def asked(right: Sequence[float], worst: Sequence[float], classes: float) -> Columns:
    """Columns of a conditional run."""
    return {REQUESTED: right, REQUESTED_WORST: worst, CLASSES: [classes] * len(right)}


def within(density: Sequence[float], coverage: Sequence[float]) -> Columns:
    """Columns of a conditional run whose samples cover the data as a whole."""
    whole = collapsed([0.9] * len(density), [0.9] * len(density))
    return {**whole, DENSITY_WITHIN_WORST: density, COVERAGE_WITHIN_WORST: coverage}


TABLE: list[tuple[EvaluationDetector, Columns, int | None]] = [
    (DEAD, {SPREAD_ACROSS: [1, 0.0499, 0.0499]}, 10),
    (DEAD, {SPREAD_ACROSS: [1, 0.05, 0.05]}, None),
    (DEAD, {SPREAD_ACROSS: [1, 0, 1, 0]}, None),
    (DEAD, {SPREAD_ACROSS: [1, 0, 1, 0, 0]}, 30),
    (DEAD, {SPREAD_ACROSS: [1, 0.2, 0.2, 0.2], NEAR_DUPLICATES: [0, 0.97, 0.97, 0.97]}, 20),  # late in the run only
    (DEAD, {SPREAD_ACROSS: [1, 0.2, 0.2], NEAR_DUPLICATES: [0, 0.97, 0.97]}, None),
    (DEAD, {SPREAD_ACROSS: [1, 1, 0.25, 0.25], NEAR_DUPLICATES: [0, 0, 1, 1]}, None),
    (DEAD, {SPREAD_ACROSS: [1, 1, 0.2, 0.2], NEAR_DUPLICATES: [0, 0, 0.96, 0.96]}, None),
    (COLLAPSE, collapsed([0, 0.71, 0.71], [0, 0.49, 0.49]), 10),
    (COLLAPSE, collapsed([0, 0.7, 0.7], [0, 0.4, 0.4]), None),
    (COLLAPSE, collapsed([0, 0.8, 0.8], [0, 0.5, 0.5]), None),
    (COLLAPSE, collapsed([0, 0.8, 0, 0.8], [0, 0.4, 0, 0.4]), 10),  # two of three
    (COLLAPSE, collapsed([0, 0.8, 0, 0, 0.8], [0, 0.4, 0, 0, 0.4]), None),  # two of four
    (COLLAPSE, collapsed([0, 0.8, 0.8, 0], [0, 0.4, 0.4, 0.9]), 10),  # the last does not show it: it lasts
    (COLLAPSE, collapsed([0, 0.8, 0.8, 0, 0, 0], [0, 0.4, 0.4, 0.9, 0.9, 0.9]), None),  # and passes
    (COLLAPSE, collapsed([0] * 3, [0] * 3, effective_classes=[9, 1.5, 1.5]), 10),
    (COLLAPSE, collapsed([0] * 3, [0] * 3, effective_classes=[9, 1.51, 1.51]), None),
    (COLLAPSE, collapsed([0] * 3, [0] * 3, near_duplicates=[0, 0.51, 0.51]), 10),
    (COLLAPSE, collapsed([0] * 3, [0] * 3, near_duplicates=[0, 0.5, 0.5]), None),
    (COLLAPSE, collapsed([0] * 3, [0] * 3, near_duplicates=[0, 1, 1], ms_ssim=[0, 0.51, 0.51]), 10),
    (COLLAPSE, collapsed([0] * 3, [0] * 3, near_duplicates=[0, 1, 1], ms_ssim=[1, 0.5, 0.5]), None),  # noise
    (COLLAPSE, collapsed([0] * 3, [0] * 3, near_duplicates=[0, 1, 1], ms_ssim=[1, 1, NAN]), None),
    (COLLAPSE, collapsed([0, 1, 0], [0] * 3, near_duplicates=[0, 0, 0.6]), 10),  # one sign and then another
    (COLLAPSE, {**collapsed([0, 0.8, 0.8], [0, 0.4, 0.4]), INTACT: [0.9, 0.35, 0.35]}, 10),
    (COLLAPSE, {**collapsed([0, 0.8, 0.8], [0, 0.4, 0.4]), INTACT: [0.9, 0.349, 0.349]}, None),  # of nothing
    (COLLAPSE, within([0, 0.71, 0.71], [0.9, 0.39, 0.39]), 10),
    (COLLAPSE, within([0, 0.7, 0.7], [0.9, 0.39, 0.39]), None),
    (COLLAPSE, within([0, 0.71, 0.71], [0.9, 0.4, 0.4]), None),
    (COLLAPSE, within([0, 0.71, NAN], [0.9, 0.1, 0.1]), None),  # too few samples of any class
    (DROPPING, dropped([0, 1, 0, 1, 0, 1]), 10),  # three of five
    (DROPPING, dropped([0, 1, 0, 1, 0, 0, 1]), None),
    (DROPPING, dropped([0, 4, 4, 4], coverage=0.3), 10),  # half of the six classes that remain
    (DROPPING, dropped([0, 4, 4, 4], coverage=0.29), None),
    (DROPPING, dropped([0, 4, 4, 4], density=0.49), None),
    (DROPPING, {**dropped([0, 4, 4, 4]), INTACT: [0.9, 0.35, 0.35, 0.35]}, 10),
    (DROPPING, {**dropped([0, 4, 4, 4]), INTACT: [0.9, 0.35, 0.349, 0.35]}, None),
    (replace(DROPPING, missing=2), dropped([0, 1, 1, 1]), None),
    (replace(DROPPING, missing=2), dropped([0, 2, 2, 2]), 10),
    (IGNORED, asked([0.149] * 4, [0.59] * 4, 10), 10),
    (IGNORED, asked([0.151] * 4, [0.59] * 4, 10), None),
    (IGNORED, {**asked([0.149] * 4, [0.59] * 4, 10), INTACT: [0.9, *[0.35] * 4]}, 10),
    (IGNORED, {**asked([0.149] * 4, [0.59] * 4, 10), INTACT: [0.9, *[0.349] * 4]}, None),  # of no class
    (IGNORED, asked([0.149] * 4, [0.6] * 4, 10), None),
    (IGNORED, asked([1, 0.5, 0.5, 0.9, 0.9, 0.5], [1, 0.4, 0.4, 0.9, 0.9, 0.4], 2), 10),  # three of five
    (IGNORED, asked([0.7] * 4, [0.5] * 4, 10), None),  # one class of ten comes out wrong half of the time
    (IGNORED, asked([0.97] * 4, [0.9] * 4, 1.2), None),  # one class is rare, and comes out
    (IMBALANCE, {LABEL_KL: [0, 0.21, 0.21, 0.21], CLASSES_MISSING: [0, 0, 0, 0]}, 10),
    (IMBALANCE, {LABEL_KL: [0, 0.2, 0.2, 0.2], CLASSES_MISSING: [0, 0, 0, 0]}, None),
    (IMBALANCE, {LABEL_KL: [0, 0.3, 0.3, 0.3], CLASSES_MISSING: [0, 0, 1, 0]}, None),
    (WON, separation([0.5, 0.991, 0.991], [0.5, 0.09, 0.09]), 10),
    (WON, separation([0.5, 0.99, 0.99], [0.5, 0.09, 0.09]), None),
    (WON, separation([0.5, 1, 1], [0.5, 0.1, 0.1]), None),
    (WON, separation([1], [0]), None),  # no window
    (WON, separation([0.5, 1, 1, 1, 1], [0, 0, 0, 0, 0]), 10),
    (WON, separation([0.5, 1, 1, 0.5, 0.5, 0.5, 1, 1], [0] * 8), 60),  # medians of two: a mean
    (replace(WON, over=3), separation([0.5, 0.5, 0.5, 1, 0.9, 1], [0] * 6), 30),  # of three: the middle
    (WON, {D_AUC: [0.5, 1, 1], D_PREFERENCE: [0.5, 0.91, 0.91]}, 10),  # relativistic
    (WON, {D_AUC: [0.5, 1, 1], D_PREFERENCE: [0.5, 0.9, 0.9]}, None),
    (BEATEN, constant(5, d_auc=0.55, d_std=1, fd_ratio=26), 10),
    (BEATEN, constant(5, d_auc=0.1, d_std=1, fd_ratio=26), 10),  # D takes fakes for more real than real images
    (BEATEN, constant(5, d_auc=0.56, d_std=1, fd_ratio=26), None),
    (BEATEN, constant(5, d_auc=0.54, d_std=1, fd_ratio=25), None),
    (BEATEN, constant(5, d_auc=0.9, d_std=0.9e-3, fd_ratio=26), 10),
    (BEATEN, constant(5, d_auc=0.9, d_std=1e-3, fd_ratio=26), None),
    (NEVER, constant(6, fd_ratio=50, density=0.29, spread_across=0.05), 10),
    (NEVER, constant(6, fd_ratio=49.9, density=0.29, spread_across=0.05), None),
    (NEVER, constant(6, fd_ratio=51, density=0.3, spread_across=0.05), None),
    (NEVER, constant(6, fd_ratio=51, density=0.29, spread_across=0.049), None),  # a dead generator
    (NEVER, {**constant(6, density=0, spread_across=1), FD_RATIO: [100, 49, 90, 90, 90, 90]}, None),  # it did once
    (NEVER, {**constant(5, density=0, spread_across=1), FD_RATIO: [100, 89, 80, 71, 63]}, None),  # it learns
    (NEVER, {**constant(5, density=0, spread_across=1), FD_RATIO: [100, 91, 90.1, 82, 82]}, 10),
    (NEVER, constant(6, fd_ratio=50, density=9, spread_across=0.05, intact=0.349, coverage=0.1), 20),
    (NEVER, constant(6, fd_ratio=50, density=0, spread_across=0.05, intact=0.35, coverage=0.1), None),
    (NEVER, constant(6, fd_ratio=50, density=0, spread_across=0.05, intact=0.349, coverage=0.101), None),
    (NEVER, constant(6, fd_ratio=50, density=0, spread_across=0.049, intact=0.349, coverage=0.1), None),
    (NEVER, constant(6, fd_ratio=50, density=0, spread_across=0.05, intact=0.349), None),  # coverage is not known
    (NEVER, NOTHING | {COVERAGE: [0.1, 0.1, 0.9, *[0.1] * 6]}, 20),  # medians
    (NEVER, NOTHING | {COVERAGE: [0.1, 0.9, 0.9, *[0.1] * 6]}, None),  # it did once
    (NEVER, NOTHING | {FD_RATIO: [100, *[49] * 8]}, 20),  # textures are nearer than noise
    (POOR, constant(4, intact=0.349), 10),
    (POOR, constant(4, intact=0.35), None),
    (replace(POOR, over=3, need=1), {INTACT: [1, 0.3, 0.9, 0.3]}, 10),  # medians
    (replace(POOR, over=3, need=1), {INTACT: [1, 0.3, 0.9, 0.9]}, None),
    (LATE, {FD_RATIO: [10, 10, 10, 20.1, 20.1]}, 30),
    (LATE, {FD_RATIO: [10, 10, 10, 20.1, 20.1], INTACT: [0.9, 0.9, 0.9, 0.349, 0.349]}, 30),
    (LATE, {FD_RATIO: [10, 10, 10, 20.1, 20.1], INTACT: [0.9, 0.9, 0.9, 0.349, 0.35]}, None),
    (LATE, {FD_RATIO: [10, 10, 10, 20, 20]}, None),
    (LATE, {FD_RATIO: [10, 10, 21, 21]}, None),  # not stable for long enough
    (LATE, {FD_RATIO: [10, 11, 10, 21, 21]}, 30),
    (LATE, {FD_RATIO: [10, 11.1, 10, 21, 21]}, None),  # not stable
    (LATE, {FD_RATIO: [10, 40, 40, 40, 40]}, None),  # stable, but not at its best
    (LATE, {FD_RATIO: [30, 20, 10, 10, 10, 21, 10, 21]}, None),
    (LATE, {FD_RATIO: [20, 20, 20, 41, 41, 5, 6, 4, 41, 41]}, 80),  # it was calm, as far as was known then
    (LATE, {FD_RATIO: [30, 20, 10, 10, 10, 21, 10, 21, 21]}, 70),
    (replace(LATE, least=21), {FD_RATIO: [10, 10, 10, 21, 21]}, None),
    (replace(LATE, least=21), {FD_RATIO: [10, 10, 10, 21.1, 21.1]}, 30),
    (replace(LATE, factor=1.0), {FD_RATIO: [11, 10.5, 10, 13.6, 13.6]}, 30),
    (replace(LATE, factor=1.0), {FD_RATIO: [11, 10.5, 10, 13.5, 13.5]}, None),  # six deviations of 0.5
    (OVERFITTING, {R_V: [0] + [0.51] * 4, D_GAP: [0] + [0.11] * 4, D_AUC: [1] * 5}, 10),
    (OVERFITTING, {R_V: [0] + [0.5] * 4, D_GAP: [0] + [0.11] * 4, D_AUC: [1] * 5}, None),
    (OVERFITTING, {R_V: [0] + [0.51] * 4, D_GAP: [0] + [0.1] * 4, D_AUC: [1] * 5}, None),
    (OVERFITTING, {R_V: [0, 1, 1, NAN, 1, 1], D_GAP: [0, 1, 1, 1, 1, 1], D_AUC: [1] * 6}, 10),  # four of five
    (MEMORY, constant(5, memorised=0.11), 10),
    (MEMORY, constant(5, memorised=0.1), None),
    (MEMORY, {MEMORISED: [0.01, 0.2, 0.01, NAN, 0.2, 0.2]}, 10),  # three of five
    (MEMORY, {MEMORISED: [0.01, 0.2, 0.2, 0.2, 0.01, 0.01, 0.01]}, None),  # not at the end
]


@pytest.mark.parametrize(("detector", "columns", "since"), TABLE, ids=[f"{row[0].kind.name}-{row[2]}" for row in TABLE])
def test_fires_where_the_table_says(detector: EvaluationDetector, columns: Columns, since: int | None) -> None:
    verdict = detector(history(columns))
    assert (verdict.since_step if verdict else None) == since
    if verdict:
        assert strict(verdict) == verdict


@pytest.mark.parametrize(
    ("fd", "since"),
    [
        ([100, 40, 36.1, 38], 10),  # the best of two is hardly better than the best before
        ([100, 40, 38, 36.1], 10),
        ([100, 40, 36, 38], None),
        ([100, 40, 38, 36], None),
        ([100, NAN, 40], None),
        ([NAN, 95, 95], None),
        ([100, 4, 3.9], 10),  # it is good
        ([100, 3.9, 3.9], 10),
    ],
)
def test_a_collapse_is_one_only_where_quality_stands_still(fd: list[float], since: int | None) -> None:
    n = len(fd)
    signs = collapsed([0] * n, [0] * n, effective_classes=[1] * n, fd_ratio=fd)
    verdict = replace(COLLAPSE, need=1, window=1)(history(signs))
    assert (verdict.since_step if verdict else None) == since


def test_a_critic_stalls_and_wins_nothing() -> None:
    still = separation([0.5, 1, 1], [0, 0, 0], fd_ratio=[100, 90.1, 90.1])
    better = separation([0.5, 1, 1], [0, 0, 0], fd_ratio=[100, 90, 90])
    for columns in (still, better):
        assert WON(history(columns, critic=True)) is None
        assert CRITIC(history(columns)) is None
    assert CRITIC(history(still, critic=True)) is not None
    assert CRITIC(history(better, critic=True)) is None
    assert CRITIC(history({**still, D_AUC: [0.5, 0.99, 0.99]}, critic=True)) is None


def test_without_probabilities_d_has_won_by_its_auc() -> None:
    """Hinge and least squares: σ(D) means nothing, and D is no critic either."""
    hinge = separation([0.5, 1, 1], [0.9, 0.9, 0.9])
    assert WON(history(hinge)) is None
    found = WON(replace(history(hinge), logits=False))
    assert found is not None
    assert "AUC 1.000" in found.reason


def test_a_relativistic_critic_does_not_stall() -> None:
    columns = {D_AUC: [0.5, 1, 1], D_PREFERENCE: [0.5, 1, 1], FD_RATIO: [100, 95, 95]}
    assert CRITIC(history(columns, critic=True)) is None
    found = WON(history(columns, critic=True))
    assert found is not None
    assert "σ(D(x) − D(G)) 1.00" in found.reason


def test_what_is_good_is_known_only_in_an_embedding_that_was_compared_with_looks() -> None:
    columns = dropped([0, 4, 4, 4])
    assert DROPPING(history(columns)) is not None
    assert DROPPING(replace(history(columns), compared=False)) is None


def test_noise_that_never_became_anything_has_not_collapsed() -> None:
    """Near copies of one texture, far from the data all along; once it had taken off, it has."""
    alike = {"near_duplicates": [0.0, 1, 1, 1], "ms_ssim": [1.0, 1, 1, 1]}
    assert COLLAPSE(history(collapsed([0] * 4, [0] * 4, **alike, fd_ratio=[100, 95, 95, 95]))) is None
    for changed in ({"fd_ratio": [100, 49, 95, 95]}, {"density": [0, 0.3, 0.3, 0.3], "fd_ratio": [100, 95, 95, 95]}):
        columns = {**collapsed([0] * 4, [0] * 4, **alike), **changed}
        assert COLLAPSE(history(columns)) is not None


def test_a_verdict_lasts_for_two_evaluations_more() -> None:
    """It does not come and go with single evaluations; what has passed is told when it holds again."""
    spread = [1, 0, 0, 1, 1, 1, 1, 0, 0, 1]
    found = {
        step: DEAD(history({SPREAD_ACROSS: spread, SPREAD_WITHIN: [1] * 10}).until(step)) for step in range(0, 100, 10)
    }
    assert [step for step, one in found.items() if one] == [20, 30, 40, 80, 90]
    assert [one.since_step for one in found.values() if one] == [10, 10, 10, 70, 70]
    assert [one.evidence["at_step"] for one in found.values() if one] == [20, 20, 20, 80, 80]
    last = found[90]
    assert last is not None
    assert last.evidence["earlier"] == [[10, 50]]
    assert last.reason.endswith("(at step 80); it held before from step 10 to 50")
    assert [*DEAD.spells(history({SPREAD_ACROSS: spread}))] == [Spell(10, 20, 50), Spell(70, 80, None)]


def test_what_holds_again_since_a_step_did_not_hold_before_it_from_that_step_on() -> None:
    """Not: since step 10; it held before from step 10 to 40."""
    spread = {SPREAD_ACROSS: [1, 0, 1, 1, 1, 0], SPREAD_WITHIN: [1.0] * 6}
    detector = replace(DEAD, need=1, window=5)
    found = detector(history(spread))
    assert found is not None
    assert found.since_step == 10
    assert "held before" not in found.reason
    assert "earlier" not in found.evidence


def test_of_a_critic_whose_outputs_are_tiny_the_auc_alone_counts() -> None:
    """Clipped weights make them so."""
    tiny = constant(5, d_auc=0.9, d_std=0.9e-3, fd_ratio=26)
    assert BEATEN(history(tiny)) is not None
    assert BEATEN(history(tiny, critic=True)) is None
    assert BEATEN(history({**tiny, D_AUC: [0.9, *[0.52] * 4]}, critic=True)) is not None


def test_what_is_not_recorded_of_a_critic_says_nothing() -> None:
    """No σ, no accuracies: with all that is left, and held-out images."""
    columns = {D_AUC: [0.5, 1, 1], D_STD: [0.0] * 3, R_V: [0.9] * 3, FD_RATIO: [100.0, 95, 95]}
    for detector in (WON, replace(OVERFITTING, need=1, window=1), replace(BEATEN, need=1, window=1)):
        assert detector(history(columns, critic=True)) is None
    verdict = CRITIC(history(columns, critic=True))
    assert verdict is not None
    assert (strict(verdict), D_FRESH in verdict.evidence["figures"]) == (verdict, False)


# D grew after step 40: evaluations 0 to 4 are of the smaller one.


def grown(columns: Columns) -> History:
    return replace(history(columns), growth=40)


@pytest.mark.parametrize(
    ("auc", "since"),
    [
        ([0.5] + [1] * 3, 10),  # it has not grown yet
        ([0.5] + [1] * 4, 10),  # nor at the very step
        ([0.5] + [1] * 5, None),
        ([0.5] + [1] * 6, 50),  # the window is full again
        ([0.5] * 5 + [1, 1], 50),
        ([0.5] + [1] * 4 + [0.5, 0.5], None),
        ([0.5] * 3 + [1] * 2 + [1, 0.5, 1, 1], 70),
    ],
)
def test_a_won_game_begins_anew_when_d_has_grown(auc: list[float], since: int | None) -> None:
    still = separation(auc, [0.0] * len(auc))
    verdict = WON(grown(still))
    assert (verdict.since_step if verdict else None) == since


def test_signs_that_are_counted_do_not_count_across_growth() -> None:
    blind = constant(9, d_auc=0.5, d_std=1, fd_ratio=26)
    overfitting = {R_V: [0.9] * 9, D_GAP: [0.9] * 9, D_AUC: [0.9] * 9}
    for detector, columns in ((BEATEN, blind), (OVERFITTING, overfitting)):
        whole = grown(columns)
        onsets = {step: verdict.since_step for step in range(0, 81, 10) if (verdict := detector(whole.until(step)))}
        assert onsets == {40: 10, 80: 50}, detector.kind.name


def test_growth_hides_what_d_showed_and_nothing_of_the_samples() -> None:
    names = (*DISCRIMINATOR, *QUALITY)
    at = Evaluations(grown({name: [1.0] * 7 for name in names}))
    for name in names:
        expected = [NAN] * 5 + [1.0] * 2 if name in DISCRIMINATOR else [1.0] * 7
        assert at[name].tolist() == pytest.approx(expected, nan_ok=True), name


def test_a_break_after_growth_is_late_instability_as_any_other() -> None:
    columns = {FD_RATIO: [10.0, 10, 10, 10, 10, 21, 22]}
    assert LATE(grown(columns)) == LATE(history(columns))
    assert LATE(grown({FD_RATIO: [*columns[FD_RATIO], 12.0, 12.0, 12.0]})) is None, "and passes when it has"


def test_a_collapse_within_a_class_says_so() -> None:
    """And where the whole has collapsed, but no class by itself, it does not."""
    inside = COLLAPSE(history(within([0, 1.1, 1.2], [0.9, 0.2, 0.12])))
    assert inside is not None
    assert (
        "within the class asked for, at worst 12% of its images are covered; in all, samples cover 90%" in inside.reason
    )
    assert inside.evidence["figures"][COVERAGE_WITHIN_WORST] == 0.12
    apart = collapsed([0, 0.8, 0.8], [0, 0.4, 0.4])
    for columns in (apart, {**apart, DENSITY_WITHIN_WORST: [1.0] * 3, COVERAGE_WITHIN_WORST: [0.9] * 3}):
        outside = COLLAPSE(history(columns))
        assert outside is not None
        assert "within" not in outside.reason


def test_a_reason_says_what_the_images_look_like() -> None:
    blank = DEAD(history({SPREAD_ACROSS: [1, 0, 0], SPREAD_WITHIN: [1, 0.19, 0.19]}))
    same = DEAD(history({SPREAD_ACROSS: [1, 0, 0], SPREAD_WITHIN: [1, 0.2, 0.2]}))
    assert blank is not None
    assert same is not None
    assert ("blank" in blank.reason, "the same image" in blank.reason) == (True, False)
    assert ("blank" in same.reason, "the same image" in same.reason) == (False, True)


def test_one_sign_of_mode_collapse_is_enough_where_the_others_are_missing() -> None:
    copies = {NEAR_DUPLICATES: [0, 0.6, 0.6], MS_SSIM: [1, 1, 1]}
    for columns in (copies, {CLASSES: [9, 1, 1]}, {DENSITY: [0, 1, 1], COVERAGE: [0, 0, 0]}):
        verdict = COLLAPSE(history({**columns, FD_RATIO: [10, 1, 1]}))
        assert verdict is not None
        assert strict(verdict) == verdict


def test_images_without_labels_are_judged_by_the_rest() -> None:
    columns = {DENSITY: [0, 0.8, 0.8], COVERAGE: [0, 0.4, 0.4], NEAR_DUPLICATES: [0, 0, 0], FD_RATIO: [1, 1, 1]}
    verdict = COLLAPSE(history(columns))
    assert verdict is not None
    assert "classes" not in verdict.reason


# What all detectors share.


class Above(EvaluationDetector):
    """NDB is above one half."""

    kind = ModeCollapse.kind

    def signals(self, at: Evaluations) -> NDArray[np.bool_]:
        above: NDArray[np.bool_] = at[NDB] > 0.5
        return above

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {NDB: float(at[NDB][-1])}

    def reason(self, found: Mapping[str, float]) -> str:
        return f"NDB {found[NDB]:.1f}"


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 5), st.integers(0, 4))
def test_a_spell_lasts_while_the_last_and_need_of_the_window_show_it(
    signals: list[bool], need: int, slack: int
) -> None:
    window = need + slack
    expected, last = None, -PERSISTS
    for i in range(len(signals)):
        recent = range(max(0, i - window + 1), i + 1)
        if signals[i] and sum(signals[j] for j in recent) >= need:
            if expected is None:
                expected = 10 + 10 * next(j for j in recent if signals[j])
            last = i
        elif i >= last + PERSISTS:
            expected = None
    verdict = Above(need, window, **EARLY)(history({NDB: [float(s) for s in signals]}, first=10)) if signals else None
    assert (verdict.since_step if verdict else None) == expected
    if verdict:
        assert verdict.evidence["evaluations"] == sum(signals[max(0, last - window + 1) : last + 1])
        assert verdict.reason.startswith(f"mode collapse since step {expected:,}: NDB ")


ALL = [type(case.detector) for case in CASES]
FIELDS = [(kind, field) for kind in ALL for field in fields(kind)]


@pytest.mark.parametrize(
    ("detector", "field"), FIELDS, ids=[f"{kind.kind.name}.{field.name}" for kind, field in FIELDS]
)
def test_a_threshold_out_of_its_range_is_refused(detector: type[EvaluationDetector], field: Any) -> None:
    low, high = field.metadata["range"]
    whole = isinstance(field.default, int)
    lowest = 0 if field.name == "need" else low
    for value in (lowest, high):
        given = {"need": 1, "window": 100} | {field.name: max(value, low)}
        assert getattr(detector(**given), field.name) == max(value, low)
    wrong: list[tuple[Any, str]] = [
        (low - 1, f"must lie between {low:g} and {high:g}, got {low - 1:g}"),
        (high + 1, f"must lie between {low:g} and {high:g}, got {high + 1:g}"),
        (True, f"must be a {'whole ' if whole else ''}number, got True"),
        ("1", f"must be a {'whole ' if whole else ''}number, got '1'"),
        (None, f"must be a {'whole ' if whole else ''}number, got None"),
    ]
    if whole:
        wrong.append((low + 0.5, f"must be a whole number, got {low + 0.5}"))
    else:
        wrong += [(x, f"must lie between {low:g} and {high:g}, got {x:g}") for x in (NAN, INF, -INF)]
    for value, message in wrong:
        with pytest.raises(ValueError, match="must") as caught:
            detector(**{field.name: value})
        assert str(caught.value).startswith(f"{field.name}: {message}"), caught.value


def test_a_threshold_that_no_float_can_hold_is_refused() -> None:
    for detector, name in ((DEAD, "need"), (DEAD, "across")):
        with pytest.raises(ValueError, match=f"^{name}: must lie between"):
            replace(detector, **{name: 10**400})


def test_no_more_evaluations_can_be_needed_than_are_looked_at() -> None:
    with pytest.raises(ValueError, match=r"^need: must be at most window, 3, got 4$"):
        Above(need=4, window=3)
    assert Above(need=3, window=3).need == 3


# Divergence.

divergence = Divergence()


def diverged(step: float, **means: float) -> History:
    """Recorded at step 24, after a sound record at 12; other metrics are 1."""
    sound = dict.fromkeys(TRAINING, 1.0)
    return History.of([(12, sound), (24, {**sound, **means, NONFINITE_STEP: step}), (36, sound)], 100)


@pytest.mark.parametrize(
    ("step", "means", "reason", "figures"),
    [
        (21, {"loss_d": NAN}, "at step 21: loss_d is nan", {"loss_d": "nan"}),
        (23, {"loss_g": INF}, "at step 23: loss_g is inf", {"loss_g": "inf"}),
        (24, {"grad_norm_g": -INF}, "at step 24: grad_norm_g is -inf", {"grad_norm_g": "-inf"}),
        (
            13,
            {"loss_g": INF, "d_fake": NAN},
            "at step 13: loss_g is inf, d_fake is nan",
            {"loss_g": "inf", "d_fake": "nan"},
        ),
        (24, {}, "at step 24: a parameter or running statistic is not finite", {"weights": "not finite"}),
    ],
)
def test_divergence_says_what_is_not_finite(
    step: int, means: Mapping[str, float], reason: str, figures: Mapping[str, str]
) -> None:
    verdict = divergence(diverged(step, **means))
    assert verdict == Finding(step, f"divergence {reason}", {"figures": figures, "at_step": 24})
    assert strict(verdict) == verdict


@pytest.mark.parametrize(
    ("metric", "critic"), [*((name, False) for name in TRAINING), *((name, True) for name in CRITIC_TRAINING)]
)
def test_divergence_watches_every_metric(metric: str, critic: bool) -> None:
    verdict = divergence(History.of([(1200, {metric: NAN, NONFINITE_STEP: 1200.0})], 2000, critic))
    assert verdict is not None
    assert verdict.reason == f"divergence at step 1,200: {metric} is nan"


def test_divergence_is_final_and_speaks_of_its_first_record() -> None:
    first, later = {NONFINITE_STEP: 5.0, LOSS_D: INF}, {NONFINITE_STEP: 20.0}
    found = History.of([(8, first), (16, {LOSS_D: 1.0}), (24, later)], 99)
    for step in (8, 16, 24):
        assert divergence(found.until(step)) == divergence(History.of([(8, first)], 99))
    assert divergence(found.until(7)) is None


@pytest.mark.parametrize("value", [0.0, -5.0, 3.4e38, 1e-40, NAN, INF])
def test_divergence_says_nothing_before_a_record_says_so(value: float) -> None:
    assert divergence(History.of([(10, dict.fromkeys(TRAINING, value))], 100)) is None
    assert divergence(History.of([], 100)) is None


def test_values_are_compared_without_a_warning() -> None:
    """pytest makes warnings errors; NumPy's own state is what it was."""
    before = np.geterr()
    for case in CASES:
        case.detector(history({name: [NAN, INF, -INF, NAN, INF] for name in case.columns}, critic=case.critic))
    assert np.geterr() == before


def test_one_missing_class_is_no_plural() -> None:
    figures = {CLASSES: 8.0, LABEL_KL: 0.2}
    detector = ModeDropping()
    assert detector.reason({**figures, CLASSES_MISSING: 1.0}).startswith("1 class is missing, ")
    assert detector.reason({**figures, CLASSES_MISSING: 2.0}).startswith("2 classes are missing, ")


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.kind.name)
def test_thresholds_are_words_for_readers_of_reports(detector: Detector) -> None:
    """None is shown by the name of its field, followed by the value. One evaluation of one goes without saying."""
    words, shown = detector.in_words(), detector.thresholds()
    assert [name for name in shown if re.search(rf"(^|, ){name} [\d.]+(,|$)", words)] == []
    if shown.get("window") == 1:
        assert "evaluations, not before" not in words
        shown = {name: value for name, value in shown.items() if name not in ("need", "window")}
    assert all(f"{value:g}" in words.replace(",", "") for value in shown.values())


def test_a_changed_threshold_keeps_the_words_of_the_base_class() -> None:
    assert ModeDropping(need=4, missing=2).in_words() == (
        "signal in at least 4 of the last 5 evaluations, not before 0.7 of the steps, nor before step 50,"
        " at least 2 classes missing, density of at least 0.5, coverage of at least 0.5 times the share of the other"
        " classes, samples intact at least 0.42, if recorded"
    )


def test_before_a_step_it_does_not_fire_although_it_has_signals() -> None:
    blank = {SPREAD_ACROSS: [1.0, 0, 0, 0, 0]}
    detector = replace(DEAD, from_step=35)
    assert detector(history(blank).until(30)) is None
    found = detector(history(blank))
    assert found is not None
    assert found.since_step == 10  # the signals before it count
