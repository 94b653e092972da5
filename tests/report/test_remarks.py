"""How values are compared with the best one of a sweep."""

from __future__ import annotations

import math

import pytest

from gansweep.records.ranking import Ranking
from gansweep.report.remarks import remarks


@pytest.mark.parametrize(
    ("ranking", "values", "expected"),
    [
        (Ranking("fd_ratio", "min"), {"a": 3.0, "b": 12.6, "c": 3.0}, {"b": "4.2 × the best"}),
        (Ranking("fd_ratio", "max"), {"a": 3.0, "b": 12.0}, {"a": "0.25 × the best"}),
        (Ranking("coverage", "max"), {"a": 0.7, "b": 0.4}, {"b": "0.3 below the best"}),
        (Ranking("label_kl", "min"), {"a": 0.1, "b": 0.4}, {"b": "0.3 above the best"}),
        (Ranking("fd_ratio", "min"), {"a": 0.0, "b": 12.0}, {"b": "12 above the best"}),  # there is no ratio
        (Ranking("fd_ratio", "min"), {"a": 3.0, "b": math.nan, "c": math.inf}, {}),
    ],
)
def test_by_ratio_where_a_metric_varies_by_factors_else_by_difference(
    ranking: Ranking, values: dict[str, float], expected: dict[str, str]
) -> None:
    assert remarks(ranking, values, values) == expected


def test_the_best_is_one_that_has_not_failed() -> None:
    values = {"failed": 1.0, "good": 4.0, "fair": 8.0}
    fd = Ranking("fd_ratio", "min")
    assert remarks(fd, values, ["good", "fair"]) == {"failed": "0.25 × the best", "fair": "2 × the best"}
    assert remarks(fd, values, []) == {}
