"""Degradations of real images: what each does to pixels, the statistic of docs/features.md, and its tables."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> Callable[[str], Any]:
    """The module of that name below analysis/features."""
    monkeypatch.syspath_prepend(checkout)
    return lambda name: importlib.import_module(f"analysis.features.{name}")


@pytest.fixture
def images() -> Pixels:
    return np.random.default_rng(0).integers(40, 200, (3, 3, 32, 32), np.uint8)


def test_degradations_keep_the_shape_and_change_every_image(script: Callable[[str], Any], images: Pixels) -> None:
    degradations = script("lib.degradations")
    for channels, names in ((3, {"colour_shift", "swapped_channels"}), (1, set())):
        given = images[:, :channels]
        found = degradations.of(channels)
        assert set(found) == {"blur", "noise", "jpeg", "checkerboard", "mirrored"} | names
        for name, degrade in found.items():
            first, again = (degrade(given, np.random.default_rng(0)) for _ in range(2))
            assert (first.shape, first.dtype) == (given.shape, np.uint8), name
            assert np.array_equal(first, again)
            assert (first != given).any((1, 2, 3)).all(), name


def test_a_checkerboard_has_the_counts_of_a_transposed_convolution(script: Callable[[str], Any]) -> None:
    import torch

    ones = torch.ones(1, 1, 3, 3)
    counts = torch.nn.functional.conv_transpose2d(torch.ones(1, 1, 16, 16), ones, stride=2)[0, 0, 1:-2, 1:-2].numpy()
    grey = np.full((1, 1, 30, 30), 100, np.uint8)
    found = script("lib.degradations").checkerboard(grey, np.random.default_rng(0))[0, 0]
    assert np.array_equal(np.unique(counts), [1, 2, 4])
    assert np.array_equal(found, 100 + np.rint(25 * (counts / 2.25 - 1)))


def test_mirrored_images_are_their_mirror_image_and_shifts_repeat_the_border(
    script: Callable[[str], Any], images: Pixels
) -> None:
    degradations = script("lib.degradations")
    found = degradations.mirrored(images, np.random.default_rng(0))
    assert np.array_equal(found, found[..., ::-1])
    assert np.array_equal(found[..., :16], images[..., :16])
    moved = degradations.shifted(images, 1, 0)
    assert np.array_equal(moved[..., 1:], images[..., :-1])
    assert np.array_equal(moved[..., 0], images[..., 0])


@pytest.mark.parametrize(
    ("metric", "degraded", "expected"),
    [
        ("coverage", 0.5, 1.0),
        ("coverage", 1.5, 0.0),
        ("precision", 1.5, 0.0),
        ("near_duplicates", 1.5, 1.0),
        ("density", 0.5, 1.0),  # both directions
        ("density", 1.5, 1.0),
    ],
)
def test_a_lower_coverage_is_worse_and_a_density_far_from_the_real_one(
    script: Callable[[str], Any], metric: str, degraded: float, expected: float
) -> None:
    separation = script("lib.separation")
    real = np.random.default_rng(0).normal(1, 0.01, 2 * separation.DRAWS)
    assert separation.auc(metric, np.full(separation.DRAWS, degraded), real) == expected


def test_equal_draws_are_a_coin_toss(script: Callable[[str], Any]) -> None:
    separation = script("lib.separation")
    assert separation.auc("coverage", np.ones(separation.DRAWS), np.ones(2 * separation.DRAWS)) == 0.5


def test_the_tables_are_what_the_records_give(checkout: Path, tmp_path: Path) -> None:
    """write_tables writes the tables of docs/features.md anew: they must be as they are committed."""
    copy = tmp_path / "copy"
    shutil.copytree(checkout / "analysis", copy / "analysis")
    (copy / "docs").mkdir()
    shutil.copy(checkout / "docs" / "features.md", copy / "docs")
    run = [sys.executable, "-m", "analysis.features.write_tables"]
    subprocess.run(run, cwd=copy, check=True, capture_output=True)
    assert (copy / "docs" / "features.md").read_text() == (checkout / "docs" / "features.md").read_text()


def test_new_rows_take_the_place_of_those_of_the_same_set_and_embedding(script: Callable[[str], Any]) -> None:
    rows = pd.DataFrame({"set": ["a", "a", "b"], "embedding": ["x", "y", "x"], "auc": [0.1, 0.2, 0.3]})
    found = script("degrade").merged(rows, pd.DataFrame({"set": ["a"], "embedding": ["x"], "auc": [0.9]}))
    assert sorted(found["auc"]) == [0.2, 0.3, 0.9]
