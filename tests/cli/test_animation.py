"""Frames of animations fit a screen."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gansweep.cli.animation import MOST_PIXELS, PIXELS, frame


@pytest.mark.parametrize(
    ("grid", "shown"), [(142, 568), (270, 540), (526, 526), (1038, 1038), (2062, 1031), (4090, 1023)]
)
def test_a_grid_is_enlarged_or_reduced_by_a_whole_factor(grid: int, shown: int) -> None:
    made = frame(Image.new("L", (grid, grid), 128), "step 1", None)
    assert int((np.asarray(made)[shown // 2] == 128).sum()) == shown
    assert PIXELS <= shown <= MOST_PIXELS
    asked = frame(Image.new("L", (100, 50), 128), "step 1", 3)
    assert int((np.asarray(asked)[20] == 128).sum()) == 300
