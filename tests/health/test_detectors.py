from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest

from gansweep.health.detectors import divergence
from gansweep.health.metrics import TRAINING
from gansweep.health.verdict import Verdict

NAN, INF = float("nan"), float("inf")


def window(bad: Mapping[tuple[int, str], float], steps: int = 4) -> np.ndarray:
    """Sound numbers, but for (row, metric) → value."""
    values = np.ones((steps, len(TRAINING)), np.float32)
    for (row, metric), value in bad.items():
        values[row, TRAINING.index(metric)] = value
    return values


@pytest.mark.parametrize(
    ("bad", "weights_finite", "since", "reason", "evidence"),
    [
        ({(0, "loss_d"): NAN}, True, 21, "at step 21: loss_d is nan", {"loss_d": "nan"}),
        ({(2, "loss_g"): INF}, True, 23, "at step 23: loss_g is inf", {"loss_g": "inf"}),
        ({(3, "grad_norm_g"): -INF}, True, 24, "at step 24: grad_norm_g is -inf", {"grad_norm_g": "-inf"}),
        ({(1, "d_real"): NAN}, False, 22, "at step 22: d_real is nan", {"d_real": "nan"}),
        # the earliest step, and its first metric, speak
        ({(3, "loss_d"): NAN, (1, "loss_g"): INF}, True, 22, "at step 22: loss_g is inf", {"loss_g": "inf"}),
        ({(1, "d_fake"): NAN, (1, "loss_g"): INF}, True, 22, "at step 22: loss_g is inf", {"loss_g": "inf"}),
        ({}, False, 24, "by step 24: a parameter or running statistic is not finite", {"weights": "not finite"}),
    ],
)
def test_fires(
    bad: Mapping[tuple[int, str], float], weights_finite: bool, since: int, reason: str, evidence: Mapping[str, str]
) -> None:
    verdict = divergence(window(bad), range(21, 25), weights_finite)
    assert verdict == Verdict("divergence", since, f"divergence {reason}", evidence)


@pytest.mark.parametrize("value", [0.0, -5.0, 3.4e38, 1e-40])
def test_is_silent_on_any_finite_number(value: float) -> None:
    values = np.full((4, len(TRAINING)), value, np.float32)
    assert divergence(values, range(1, 5), True) is None


def test_an_empty_window_says_nothing() -> None:
    assert divergence(np.empty((0, len(TRAINING))), range(0), True) is None


@pytest.mark.parametrize("metric", TRAINING)
def test_watches_every_metric(metric: str) -> None:
    verdict = divergence(window({(0, metric): NAN}, steps=1), [1200], True)
    assert verdict is not None
    assert verdict.reason == f"divergence at step 1,200: {metric} is nan"


def test_a_verdict_survives_strict_json() -> None:
    verdict = divergence(window({(2, "loss_g"): INF}), range(21, 25), True)
    assert verdict is not None
    text = json.dumps(verdict.to_json(), allow_nan=False)
    assert Verdict.from_json(json.loads(text)) == verdict
    with pytest.raises(TypeError):
        Verdict.from_json({**verdict.to_json(), "colour": "red"})
