"""The registry of evaluation metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gansweep.health import metrics as m
from gansweep.health.measure import Metric, Need

DOCS = Path(__file__).parents[2] / "docs" / "operation.md"
# All metrics in the order of records, which is that of the registries: first those of samples, then those of D, then
# those that are measured once.
# Names and order of existing ones do not change, because journals have them. A new
# metric of samples stands before d_auc.
RECORDED = (
    "fd_ratio", "density", "coverage", "precision", "recall", "ndb", "near_duplicates", "spread_across",
    "spread_within", "ms_ssim", "effective_classes", "label_kl", "classes_missing", "class_share/", "requested",
    "requested_worst", "coverage_within", "coverage_within_worst", "density_within_worst", "requested/", "memorised",
    "intact",
    "d_auc", "d_std", "r_v", "d_accuracy", "r_t", "d_gap", "d_fresh", "d_preference",
    "gradient_coherence", "fid", "kid", "kid_std",
    "inception_score", "inception_score_std", "frechet/", "kernel/", "kernel_std/", "score/", "score_std/",
)  # fmt: skip


def test_names_and_their_order_in_records_do_not_change() -> None:
    assert tuple(m.METRICS) == RECORDED


def test_sets_of_names_follow_from_needs() -> None:
    assert m.LABELLED == ("effective_classes", "label_kl", "classes_missing", "intact")
    assert m.CONDITIONAL == (
        "requested", "requested_worst", "coverage_within", "coverage_within_worst", "density_within_worst",
    )  # fmt: skip
    assert m.PROBABILITIES == ("d_real", "d_fake", "d_accuracy", "r_t", "d_gap", "d_fresh")
    assert m.HELD_OUT == ("val_loss_d", "val_loss_g", "r_v", "d_gap")
    assert m.needing(Need.CONDITION) == m.CONDITIONAL


def test_statistics_of_real_images_have_names_of_their_own() -> None:
    """The stored reference of a data set has them next to "accuracy"."""
    names = [one.name for one in m.STATISTICS]
    assert names == ["spread", "ms_ssim"]
    assert len({*names, "accuracy"}) == len(names) + 1


@pytest.mark.parametrize("name", m.METRICS)
def test_every_metric_is_documented_and_explains_itself(name: str) -> None:
    documented = re.findall(r"`([\w/]+)`", DOCS.read_text())
    assert f"{name}NAME" in documented if name.endswith("/") else name in documented
    assert len(m.METRICS[name].label) < 32
    assert not m.METRICS[name].explanation.endswith(".")


def test_a_metric_records_a_value_one_per_class_or_nothing() -> None:
    def record(name: str, value: object) -> dict[str, float]:
        return Metric[object](name, "x", "x", lambda _: value).record(None)  # type: ignore[arg-type,return-value]

    assert record("x", 0.5) == {"x": 0.5}
    assert record("x/", {"a": 0.25, "b": 0.75}) == {"x/a": 0.25, "x/b": 0.75}
    assert record("x", None) == {}
