from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gansweep.report import words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-4, "1e-4"), (2e-4, "2e-4"), (0.02, "0.02"), (0.5, "0.5"), (100.0, "100"), (0.0, "0"), (-1e-3, "-1e-3"),
        (1.5e-5, "1.5e-5"), (0.01, "0.01"), (1e6, "1e6"), (1.25e7, "1.25e7"), (1e-100, "1e-100"), (128, "128"),
        (1_000_000, "1000000"), (True, "true"), (False, "false"), ("bfloat16", "bfloat16"), (None, "–"), ([], "–"),
        (["color", "cutout"], "color+cutout"),
    ],
)  # fmt: skip
def test_a_setting_is_as_short_as_is_exact(value: Any, expected: str) -> None:
    assert words.number(value) == expected
    assert not isinstance(value, int | float) or isinstance(value, bool) or float(expected) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.00123456, "1.23e-3"), (0.123456, "0.123"), (123.456, "123"), (1234.5, "1230"), (173, "173"), ("a", "a")],
)
def test_a_drawn_setting_has_three_digits(value: Any, expected: str) -> None:
    assert words.short(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "∞"), (-math.inf, "−∞"), (0.0, "0"), (3.456, "3.46"), (12.34, "12.3"),
        (999.4, "999"), (999.6, "1,000"), (1234.5, "1,234"), (-1234.5, "-1,234"), (1e9, "1,000,000,000"),
        (0.00123, "0.00123"), (0.000123, "1.2e-04"),
    ],
)  # fmt: skip
def test_a_measurement_has_three_digits_or_says_that_it_is_none(value: float | None, expected: str) -> None:
    assert words.measured(value) == expected


def test_shares_do_not_break_off_their_sign() -> None:
    assert [words.percent(share) for share in (0.4, 0.996, 1.5, math.nan)] == [
        "40\u00a0%",
        "100\u00a0%",
        "150\u00a0%",
        "–",
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"), (47.4, "47 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"), (90_000, "25 h 0 min"), (math.nan, "–"), (math.inf, "–"),
    ],
)  # fmt: skip
def test_durations(seconds: float, expected: str) -> None:
    assert words.duration(seconds) == expected


def test_counts_and_lists() -> None:
    assert [words.counted(n, "trial") for n in (0, 1, 2, 1200)] == ["0 trials", "1 trial", "2 trials", "1,200 trials"]
    assert words.counted(2, "crash", "crashes") == "2 crashes"
    assert [words.listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert words.listed(["a", "b"], "or") == "a or b"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (pd.Series([3, 1, 3]), [1, 3]),
        (pd.Series([0.2, None, 0.1]), [0.1, 0.2]),
        (pd.Series([2, pd.NA, 1], dtype="Int64"), [1, 2]),
        (pd.Series([True, False, True]), [False, True]),
        (pd.Series(["b", "a", None], dtype="str"), ["a", "b"]),
        (pd.Series([], dtype="float64"), []),
        (pd.Series([1, "a"], dtype="object"), [1, "a"]),
    ],
)
def test_a_settings_values_in_order(values: pd.Series, found: list[Any]) -> None:
    """As Python's own: NumPy's would be written np.float64(…), and json takes none."""
    assert words.distinct(values) == found
    assert not any(isinstance(value, np.generic) for value in words.distinct(values))


def test_keys_are_called_by_as_little_as_tells_them_apart() -> None:
    keys = ["training.generator.learning_rate", "training.discriminator.learning_rate", "model.latent_dim"]
    assert list(words.titles(keys).values()) == [
        "generator learning rate", "discriminator learning rate", "latent dimension",
    ]  # fmt: skip
    assert words.titles(["model.discriminator.growth.at"]) == {
        "model.discriminator.growth.at": "discriminator growth at"
    }
    assert list(words.titles(["model.generator.depth", "training.beta1"]).values()) == ["generator depth", "beta1"]
    assert words.titles(["a.b", "b"]) == {"a.b": "a b", "b": "b"}
    assert words.setting({"m.x": 0.00123456, "m.y": "z"}, words.titles(["m.x", "m.y"])) == "x 1.23e-3, y z"
