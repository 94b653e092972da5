from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansweep.health.history import History, MetricValues, traits
from gansweep.health.metrics import (
    D_AUC,
    D_STD,
    DENSITY,
    FD_RATIO,
    LABELLED,
    LOSS_D,
    QUALITY,
    R_V,
    TRAINING,
)
from gansweep.records.layout import flat
from gansweep.sweepfile.schema import TrialConfig

NAN, INF, LARGEST = math.nan, math.inf, 1.7976931348623157e308
METRICS = (LOSS_D, D_AUC, DENSITY)
POINTS = st.dictionaries(st.integers(0, 30), st.dictionaries(st.sampled_from(METRICS), st.floats(-9, 9))).map(
    lambda points: dict(sorted(points.items()))
)


def history(points: Mapping[int, Mapping[str, float]]) -> History:
    return History.of(points.items(), 1000)


def one(*values: float) -> MetricValues:
    """Recorded at steps 0, 10, …"""
    return history({10 * i: {LOSS_D: value} for i, value in enumerate(values)})[LOSS_D]


def column(points: Mapping[int, Mapping[str, float]], metric: str) -> list[tuple[int, float]]:
    return [(step, values[metric]) for step, values in points.items() if metric in values]


@given(POINTS)
def test_gives_back_what_was_recorded(points: Mapping[int, Mapping[str, float]]) -> None:
    found = history(points)
    assert found.budget == 1000
    for metric in METRICS:
        assert list(found[metric]) == column(points, metric)
        assert len(found[metric]) == len(column(points, metric))


def test_arrays_hold_whole_steps_and_floats() -> None:
    series = history({5: {LOSS_D: 1}, 7: {LOSS_D: 2}})[LOSS_D]
    assert (series.steps.dtype, series.values.dtype) == (np.int64, np.float64)


def test_a_metric_that_was_not_recorded_is_empty() -> None:
    assert list(history({5: {LOSS_D: 1.0}})[D_AUC]) == []
    assert list(history({})[D_AUC]) == []


def test_the_first_value_of_a_repeated_step_holds() -> None:
    points = [(10, {LOSS_D: 1.0}), (20, {LOSS_D: NAN}), (20, {LOSS_D: 3.0, D_AUC: 0.5}), (20, {D_AUC: 0.9})]
    found = History.of(points, 1000)
    assert list(found[D_AUC]) == [(20, 0.5)]
    assert found[LOSS_D].values == pytest.approx([1.0, NAN], nan_ok=True)


def test_nan_is_kept() -> None:
    assert one(1.0, NAN, 2.0).values == pytest.approx([1.0, NAN, 2.0], nan_ok=True)
    assert one(1.0, NAN, 2.0).steps.tolist() == [0, 10, 20]


def test_what_mlflow_makes_of_infinity_is_infinity_again() -> None:
    assert one(LARGEST, -LARGEST, INF, -INF, 0.0).values.tolist() == [INF, -INF, INF, -INF, 0.0]


@given(st.floats(-1.79e308, 1.79e308))
def test_any_smaller_number_stays(value: float) -> None:
    assert one(value).values.tolist() == [value]


@given(POINTS, st.integers(-1, 31))
def test_until_is_what_was_known_then(points: Mapping[int, Mapping[str, float]], step: int) -> None:
    cut = history(points).until(step)
    known = {at: values for at, values in points.items() if at <= step}
    assert {m: list(cut[m]) for m in METRICS} == {m: column(known, m) for m in METRICS}
    assert cut.evaluations().tolist() == history(known).evaluations().tolist()


def test_until_keeps_what_the_run_is() -> None:
    whole = History.of([(10, {LOSS_D: 1.0})], 500, critic=True, growth=7)
    cut = whole.until(5)
    assert (cut.budget, cut.critic, cut.growth) == (500, True, 7)
    assert list(whole[LOSS_D]) == [(10, 1.0)]


def test_a_plain_run_has_no_critic_and_does_not_grow() -> None:
    plain = history({10: {LOSS_D: 1.0}})
    assert (plain.critic, plain.growth) == (False, None)


@pytest.mark.parametrize("loss", [None, "non_saturating", "hinge", "wasserstein_clip", "wasserstein_gp"])
@pytest.mark.parametrize("at", [None, 1000])
def test_what_a_run_is_is_read_from_its_settings(loss: str | None, at: int | None) -> None:
    """Nested, as trial.json and the schema have them; dotted; as MLflow's text. Not set, or from before there were
    such keys: neither."""
    config = {
        "training": {"steps": 2000} | ({"loss": loss} if loss else {}),
        "model": {"discriminator": {"growth": {"at": at}}} if at else {"latent_dim": 16},
        "dataset": {"path": None},
    }
    expected = (loss in ("wasserstein_clip", "wasserstein_gp"), at, loss in (None, "non_saturating"))
    assert traits(config) == expected
    assert traits(flat(config)) == expected
    assert traits({key: str(value) for key, value in flat(config).items()}) == expected
    whole = {"training": {"loss": loss or "hinge"}, "model": {"discriminator": {"growth": {"at": at}}}}
    assert traits(whole) == (*expected[:2], loss == "non_saturating")
    assert traits({}) == (False, None, True)
    assert traits({"training": {"loss": "mylosses:Mine"}}) == (False, None, False)


def test_the_settings_that_are_read_are_those_of_sweep_files() -> None:
    config = TrialConfig.model_validate(
        {"model": {"discriminator": {"growth": {"at": 9}}}, "training": {"steps": 20, "loss": "wasserstein_gp"}}
    )
    assert traits(config.model_dump()) == traits(flat(config.model_dump())) == (True, 9, False)
    plain = TrialConfig.model_validate({"training": {"steps": 20}})
    assert traits(plain.model_dump()) == (False, None, True)


@given(POINTS)
def test_evaluations_are_the_steps_of_quality_and_of_d(points: Mapping[int, Mapping[str, float]]) -> None:
    expected = [step for step, values in points.items() if {D_AUC, DENSITY} & values.keys()]
    assert history(points).evaluations().tolist() == expected


@pytest.mark.parametrize("metric", [*QUALITY, D_AUC])
def test_each_of_them_marks_an_evaluation(metric: str) -> None:
    found = history({10: {LOSS_D: 1.0}, 20: {metric: NAN}, 30: {LOSS_D: 1.0}})
    assert found.evaluations().tolist() == [20]


def test_other_metrics_mark_no_evaluation() -> None:
    assert history({10: dict.fromkeys(TRAINING, 1.0)}).evaluations().tolist() == []
    assert history({}).evaluations().dtype == np.int64


def test_an_evaluation_without_labels_or_quality_is_one() -> None:
    unlabelled = {metric: 1.0 for metric in QUALITY if metric not in LABELLED}
    found = history({10: unlabelled, 20: {D_AUC: 0.5, D_STD: 1.0, R_V: 0.0}, 30: {FD_RATIO: 2.0}})
    assert found.evaluations().tolist() == [10, 20, 30]


@given(POINTS, st.sets(st.integers(0, 30)).map(sorted), st.sampled_from(METRICS))
def test_at_is_the_value_or_nan(points: Mapping[int, Mapping[str, float]], steps: list[int], metric: str) -> None:
    found = history(points).at(np.array(steps, np.int64), metric)
    expected = [points.get(step, {}).get(metric, NAN) for step in steps]
    assert found == pytest.approx(np.array(expected), rel=0, abs=0, nan_ok=True)
