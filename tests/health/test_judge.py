from __future__ import annotations

import json
import math
import random
import re
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansweep.errors import UserError
from gansweep.health.detectors.base import EvaluationDetector
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
from gansweep.health.history import History
from gansweep.health.judge import ENOUGH, Judge, judge_of
from gansweep.health.metrics import (
    CLASSES,
    CLASSES_MISSING,
    CONDITIONAL,
    COVERAGE,
    D_AUC,
    D_FRESH,
    D_GAP,
    D_STD,
    DENSITY,
    DISCRIMINATOR,
    FD_RATIO,
    INTACT,
    LABEL_KL,
    LOSS_D,
    MEMORISED,
    MS_SSIM,
    NEAR_DUPLICATES,
    NONFINITE_STEP,
    R_V,
    SPREAD_ACROSS,
    SPREAD_WITHIN,
)
from gansweep.health.verdict import CONCLUSIONS, FAILURES, INFORMATION, ORDER, STATES, Verdict, by_precedence
from gansweep.records import journal
from gansweep.records.journal import Journal, Record

NAN, INF = math.nan, math.inf
Values = Mapping[str, float]
# Quick to fire, so that random histories show every kind.
STALLED: dict[str, Any] = {"takeoff": 0, "over": 2, "improvement": 0.5, "good": 0.2}
QUICK = Judge((
    Divergence(),
    DeadGenerator(1, 1, 0, 0, across=0.5),
    ModeCollapse(1, 2, 0, 0, **STALLED, density=0.7, coverage=0.5, classes=1.5, duplicates=0.6, alike=0.5, within=0.4),
    NeverTookOff(1, 2, 0.3, 0, **STALLED, density=0.6, share=0.5, across=0.0),
    LateInstability(1, 1, 0, 0, stable=2, within=2, factor=1.0, deviations=0.5, least=0.5),
    ConditionIgnored(1, 2, 0, 0, times=1.5, worst=0.6),
    ModeDropping(1, 2, 0, 0, missing=1, dense=0.1, covered=0.1),
    Poor(1, 2, 0, 0, over=1, intact=0.5),
    DiscriminatorWon(1, 1, 0, 0, over=2, auc=0.6, sigma=0.6),
    GeneratorWon(1, 2, 0, 0, auc=0.6, std=0.5, share=0.2),
    CriticStalled(1, 1, 0, 0, **STALLED, auc=0.6),
    DiscriminatorOverfitting(2, 2, 0, 0, r_v=0.5, gap=0.1),
    Memorised(2, 2, 0, 0, share=0.5),
    Imbalance(2, 3, 0, 0, kl=0.2),
))  # fmt: skip
BLANK = {SPREAD_ACROSS: 0.0, SPREAD_WITHIN: 0.0}
DROPPED = {CLASSES_MISSING: 2.0, CLASSES: 7.0, LABEL_KL: 0.3, DENSITY: 0.9, COVERAGE: 0.7}
OVERFIT = {R_V: 0.9, D_GAP: 0.5}


def history(*rows: Values, budget: int = 100) -> History:
    """Evaluations at steps 10, 20, …"""
    return History.of(((10 * i, row) for i, row in enumerate(rows, 1)), budget, compared=True)


def kinds(verdicts: tuple[Verdict, ...]) -> list[str]:
    return [v.kind for v in verdicts]


def test_every_kind_that_holds_is_reported_by_precedence() -> None:
    everything = {**BLANK, **DROPPED, **OVERFIT, D_AUC: 0.5, NONFINITE_STEP: 15.0}
    assert kinds(QUICK(history(everything, everything))) == [
        "divergence", "dead_generator", "mode_dropping", "discriminator_overfitting",
    ]  # fmt: skip


def test_nothing_is_reported_while_nothing_holds() -> None:
    assert Judge()(history()) == QUICK(history()) == ()
    assert QUICK(history({SPREAD_ACROSS: 1.0})) == ()


def test_the_order_has_each_kind_once_failures_first() -> None:
    assert (*FAILURES, *CONCLUSIONS, *STATES, *INFORMATION) == ORDER
    assert len(set(ORDER)) == len(ORDER) == len(DETECTORS) + len(CONCLUSIONS)
    assert kinds(by_precedence(Verdict(kind, 0, "") for kind in reversed(ORDER))) == list(ORDER)


def good(ratio: float = 2.0) -> Values:
    return {FD_RATIO: ratio, SPREAD_ACROSS: 1.0}


def test_a_run_without_failure_is_healthy_after_enough_evaluations() -> None:
    rows = [good(3.0), *[good()] * (ENOUGH - 1)]
    found = Judge().conclude(history(*rows))
    assert kinds(found) == ["healthy"]
    assert found[0].evidence["figures"] == {FD_RATIO: 2.0, "best_fd_ratio": 2.0}
    assert "best FD ratio 2" in found[0].reason
    assert f"{ENOUGH} evaluations" in found[0].reason


@pytest.mark.parametrize("last", [good(NAN), good(INF), {SPREAD_ACROSS: 1.0}], ids=["nan", "inf", "missing"])
def test_evaluations_that_say_nothing_of_quality_do_not_count(last: Values) -> None:
    few = [good()] * (ENOUGH - 1)
    (undecided,) = Judge().conclude(history(*few, last))
    assert (undecided.kind, undecided.evidence["figures"]) == ("undecided", {"evaluations": ENOUGH - 1})
    (healthy,) = Judge().conclude(history(*few, good(), last))
    assert healthy.kind == "healthy"
    assert json.dumps(healthy.to_json(), allow_nan=False)


def test_the_burn_in_does_not_count_towards_a_healthy_run() -> None:
    assert kinds(Judge().conclude(history(*[good()] * ENOUGH, budget=100))) == ["healthy"]
    assert kinds(Judge().conclude(history(*[good()] * ENOUGH, budget=101))) == ["undecided"]
    assert kinds(Judge().conclude(history())) == ["undecided"]


def test_a_conclusion_stands_before_information_and_not_beside_a_failure() -> None:
    overfit = [{**good(), **OVERFIT}] * ENOUGH
    assert kinds(QUICK.conclude(history(*overfit))) == ["healthy", "discriminator_overfitting"]
    assert kinds(QUICK.conclude(history(*overfit[:2]))) == ["undecided", "discriminator_overfitting"]
    failed = history(*overfit, {**good(), **OVERFIT, **DROPPED})
    assert QUICK.conclude(failed) == QUICK(failed)
    assert kinds(QUICK(failed)) == ["mode_dropping", "discriminator_overfitting"]


def test_thresholds_can_be_changed_by_kind_and_name() -> None:
    judge = judge_of({"dead_generator": {"need": 3, "window": 4, "across": 0.5}, "imbalance": {"kl": 1}})
    dead = judge.detector("dead_generator")
    assert isinstance(dead, DeadGenerator)
    assert (dead.need, dead.window, dead.across) == (3, 4, 0.5)
    pairs = zip(judge.detectors, Judge().detectors, strict=True)
    assert [now.kind.name for now, before in pairs if now != before] == ["dead_generator", "imbalance"]
    assert judge_of({}) == Judge()


def test_changed_thresholds_change_the_verdict() -> None:
    """Density .9 and coverage .3 are mode collapse by default, and none where coverage may be .2."""
    rows = [{DENSITY: 0.0, COVERAGE: 0.9, FD_RATIO: 50.0}, *[{DENSITY: 0.9, COVERAGE: 0.3, FD_RATIO: 50.0}] * 9]
    assert kinds(Judge()(history(*rows))) == ["mode_collapse"]
    assert judge_of({"mode_collapse": {"coverage": 0.2}})(history(*rows)) == ()


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.kind.name)
def test_every_field_is_a_threshold(detector: Any) -> None:
    same = {f.name: getattr(detector, f.name) for f in fields(detector)}
    assert detector.thresholds() == same
    assert Judge().with_thresholds({detector.kind.name: same}) == Judge()


@pytest.mark.parametrize(
    ("thresholds", "error"),
    [
        ({"mode_colapse": {}}, "mode_colapse: no detector has this name; did you mean 'mode_collapse'?"),
        ({"healthy": {}}, "healthy: no detector has this name; known: 'divergence', "),
        ({"imbalance": {"kul": 0.3}}, "imbalance.kul: no threshold has this name; did you mean 'kl'?"),
        ({"imbalance": {"kl": -0.1}}, "imbalance.kl: must lie between 0 and 100, got -0.1"),
        ({"imbalance": {"kl": "0.3"}}, "imbalance.kl: must be a number, got '0.3'"),
        ({"imbalance": {"need": 2.0}}, "imbalance.need: must be a whole number, got 2.0"),
        ({"imbalance": {"need": 3, "window": 2}}, "imbalance.need: must be at most window, 2, got 3"),
        ({"dead_generator": {}, "imbalance": {"kl": 101}}, "imbalance.kl: must lie between 0 and 100, got 101"),
    ],
)
def test_names_the_threshold_that_is_wrong(thresholds: Any, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}"):
        Judge().with_thresholds(thresholds)


@pytest.mark.parametrize("thresholds", [{"later": {"kl": 1}}, {"imbalance": 0.3}, {"imbalance": None}, [1]])
def test_a_plan_with_thresholds_of_another_version_is_refused_in_one_line(thresholds: Any) -> None:
    with pytest.raises(UserError, match=r"^thresholds: .*; read the sweep with the version that ran it$"):
        judge_of(thresholds)


# A run judged as it goes is judged as when it has ended.

NUMBERS = (0.0, 0.1, 0.5, 0.55, 0.9, 1.0, 2.0, 20.0, NAN, INF)
METRICS = (
    FD_RATIO, DENSITY, COVERAGE, NEAR_DUPLICATES, SPREAD_ACROSS, SPREAD_WITHIN, CLASSES, CLASSES_MISSING, LABEL_KL,
    MS_SSIM, MEMORISED, INTACT, D_AUC, D_FRESH, D_STD, D_GAP, R_V, LOSS_D, *CONDITIONAL,
)  # fmt: skip


def random_rows(seed: int) -> dict[int, Values]:
    """Step → values, as a journal has them: spells of like evaluations, some with a metric missing or broken."""
    rng, found = random.Random(seed), dict[int, Values]()
    values = {name: rng.choice(NUMBERS) for name in METRICS}
    for step in range(0, 5 * rng.randint(0, 12), 5):
        values |= {name: rng.choice(NUMBERS) for name in rng.sample(METRICS, rng.randint(0, 3))}
        missing = rng.sample(METRICS, rng.randint(0, 2))
        found[step] = {name: value for name, value in values.items() if name not in missing}
        if rng.random() < 0.05:
            found[step] = {**found[step], NONFINITE_STEP: float(step)}
    return found


def random_history(seed: int) -> History:
    return History.of(random_rows(seed).items(), 60, compared=True)


ROWS = st.integers(0, 10**9).map(random_rows)
GROWTH = st.none() | st.integers(0, 60)


def test_random_histories_show_every_kind() -> None:
    """The properties below would hold of a judge that says nothing."""
    seen = {kind for seed in range(200) for kind in kinds(QUICK(random_history(seed)))}
    assert {*FAILURES, *STATES, *INFORMATION} - seen == {"critic_stalled"}


@settings(max_examples=20)
@given(ROWS, st.sampled_from([30, 60, 120]), st.booleans(), GROWTH)
def test_judging_what_was_known_then_is_judging_as_it_goes(
    found: dict[int, Values], budget: int, critic: bool, growth: int | None
) -> None:
    whole = History.of(found.items(), budget, critic, growth)
    so_far: list[tuple[int, Values]] = []
    for step, values in found.items():
        so_far += [(step, values), (step, dict.fromkeys(values, 77.0))]  # recorded twice: the first holds
        verdicts = QUICK(History.of(so_far, budget, critic, growth))
        assert verdicts == QUICK(whole.until(step))
        assert all(json.dumps(v.to_json(), allow_nan=False) for v in verdicts)


@given(ROWS, st.integers(0, 60), st.booleans())
def test_no_signal_depends_on_what_comes_later(found: dict[int, Values], step: int, critic: bool) -> None:
    whole = History.of(found.items(), 60, critic)
    until = whole.until(step)
    with np.errstate(all="ignore"):
        for detector in QUICK.detectors:
            if not isinstance(detector, EvaluationDetector):
                continue
            early, late = (detector.signals(known.evaluated()).tolist() for known in (until, whole))
            assert early == late[: len(early)], detector.kind.name


@given(ROWS, st.integers(0, 60), st.integers(0, 60), st.booleans())
def test_growth_is_as_if_d_had_no_records_before_it(
    found: dict[int, Values], step: int, growth: int, critic: bool
) -> None:
    """From the first evaluation of the grown D on, and not before."""
    told = History.of(found.items(), 60, critic, growth).until(step)
    past = any(growth < at <= step and values.keys() - {LOSS_D} for at, values in found.items())
    forgotten = {
        at: {k: NAN if past and at <= growth and k in DISCRIMINATOR else v for k, v in values.items()}
        for at, values in found.items()
    }
    assert QUICK(told) == QUICK(History.of(forgotten.items(), 60, critic).until(step))


@settings(max_examples=20)
@given(ROWS, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=3))
def test_judging_is_the_same_from_a_journal_however_often_the_run_was_killed(
    found: dict[int, Values], kills: list[tuple[int, int]]
) -> None:
    """`kills`: number of records after which the process dies, and number of records before them at which the next
    resumes.
    """
    whole = History.of(found.items(), 60)
    expected = {step: QUICK(whole.until(step)) for step in found}
    steps = list(found)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        first = 0
        for end, back in [*kills, (len(steps), 0)]:
            end = max(first, min(end, len(steps)))
            with Journal(path) as open_journal:
                known = journal.read(path)
                for step in steps[first:end]:
                    record = Record(step, 0.0, found[step])
                    known += [record] if open_journal.append(record) else []
                    so_far = ((r.step, r.values) for r in known if r.step <= step)
                    assert QUICK(History.of(so_far, 60)) == expected[step]
            with path.open("ab") as file:
                file.write(b'{"step": 1')  # half a line, as a killed process leaves it
            first = max(0, end - back)
        again = [(r.step, r.values) for r in journal.read(path)]
    assert [step for step, _ in again] == steps
    assert QUICK.conclude(History.of(again, 60)) == QUICK.conclude(whole)


def test_a_run_of_few_steps_is_undecided_however_often_it_was_evaluated() -> None:
    """A run of 49 steps is not judged, one of 50 is."""
    fine = {FD_RATIO: 2.0, DENSITY: 0.9, COVERAGE: 0.9, SPREAD_ACROSS: 1.0}
    for last, kind in ((49, "undecided"), (50, "healthy")):
        steps = [*range(30, 40), last]
        found = Judge().conclude(History.of(((step, fine) for step in steps), last, compared=True))
        assert kinds(found) == [kind]
    assert "too few to judge" not in found[0].reason


def test_healthy_says_where_poor_samples_would_go_unnoticed() -> None:
    def words(**values: float) -> str:
        fine = [(step, {FD_RATIO: 2.0, **values}) for step in range(10, 110, 10)]
        return Judge().conclude(History.of(fine, 100))[0].reason

    assert words() == words(intact=0.9) + "; whether samples are poor was not measured"
