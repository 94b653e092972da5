"""Strips and grids hold the pixels that were recorded, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gansweep.gan.sampling import GAP, grid_png
from gansweep.report import pixels
from gansweep.report.pixels import APART, PRINTED, evenly, placeholder, printable, strip

SIZE, COLUMNS, ROWS = 16, 5, 2
WIDTH, HEIGHT = COLUMNS * (SIZE + GAP) - GAP, ROWS * (SIZE + GAP) - GAP
GREY, WHITE = 0xDD, 0xFF
Pixels = NDArray[np.uint8]


def noise(count: int = 64, channels: int = 1, seed: int = 0) -> Pixels:
    shape = (count, channels, SIZE, SIZE)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def array(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)))


def place(sheet: Pixels, number: int) -> Pixels:
    """One step of a strip."""
    left = number * (WIDTH + APART)
    return sheet[:, left : left + WIDTH]


def image(part: Pixels, row: int, column: int) -> Pixels:
    top, left = row * (SIZE + GAP), column * (SIZE + GAP)
    return part[top : top + SIZE, left : left + SIZE]


def cut(grids: list[bytes | None], places: int) -> Pixels:
    return array(strip(grids, places, SIZE, COLUMNS, ROWS))


def test_the_gap_is_that_of_recorded_grids() -> None:
    assert pixels.GAP == GAP


@pytest.mark.parametrize("channels", [1, 3])
def test_a_strip_is_the_recorded_pixels(channels: int) -> None:
    """A strip has, for each step, the first images of the first two rows of its grid, which is eight wide."""
    steps = [noise(channels=channels, seed=seed) for seed in range(3)]
    sheet = cut([grid_png(images) for images in steps], 3)
    assert sheet.shape[:2] == (HEIGHT, 3 * WIDTH + 2 * APART)
    for number, images in enumerate(steps):
        for row in range(ROWS):
            for column in range(COLUMNS):
                recorded = images[8 * row + column].transpose(1, 2, 0).squeeze()
                np.testing.assert_array_equal(image(place(sheet, number), row, column), recorded)
    between = sheet[:, WIDTH : WIDTH + APART]
    assert (between == WHITE).all()


def test_missing_steps_are_grey_and_those_after_an_early_end_white() -> None:
    sheet = cut([None, grid_png(noise())], 4)
    assert sheet.shape == (HEIGHT, 4 * WIDTH + 3 * APART)
    assert (place(sheet, 0) == GREY).all()
    np.testing.assert_array_equal(image(place(sheet, 1), 0, 0), noise()[0, 0])
    assert (sheet[:, 2 * (WIDTH + APART) - APART :] == WHITE).all()


def test_missing_steps_among_colours() -> None:
    sheet = cut([None, grid_png(noise(channels=3))], 3)
    assert sheet.shape == (HEIGHT, 3 * WIDTH + 2 * APART, 3)
    assert (place(sheet, 0) == GREY).all()
    assert (place(sheet, 2) == WHITE).all()


def test_a_grid_of_fewer_images_is_shown_as_far_as_it_goes() -> None:
    sheet = cut([grid_png(noise(4))], 1)  # two by two
    np.testing.assert_array_equal(image(sheet, 1, 1), noise(4)[3, 0])
    assert (sheet[:, 2 * (SIZE + GAP) :] == WHITE).all()


def test_nothing_but_missing_steps() -> None:
    assert (cut([None], 1) == GREY).all()


def test_the_same_bytes_twice() -> None:
    grids = [grid_png(noise()), None]
    assert strip(grids, 3, SIZE, COLUMNS, ROWS) == strip(grids, 3, SIZE, COLUMNS, ROWS)


def test_a_placeholder_is_as_large_as_a_grid() -> None:
    grey = array(placeholder(SIZE))
    assert grey.shape == array(grid_png(noise(64))).shape
    assert len(np.unique(grey)) == 1


@pytest.mark.parametrize(("size", "recorded"), [(256, 128), (128, 128), (64, 64), (96, 48)])
def test_images_too_large_for_print_are_reduced(size: int, recorded: int) -> None:
    """As they are in grids whose images were halved when they were recorded (gan/data.py)."""
    values = np.arange(64, dtype=np.uint8)[:, None, None, None]
    grid = grid_png(np.broadcast_to(values, (64, 3, recorded, recorded)))
    side = min(recorded, PRINTED)
    for sheet, columns, rows in (
        (array(printable(grid, size)), 8, 8),
        (array(strip([grid, None], 2, size, COLUMNS, ROWS)), COLUMNS, ROWS),
    ):
        assert len(sheet) == rows * (side + GAP) - GAP
        for row in range(rows):
            for column in range(columns):
                top, left = row * (side + GAP), column * (side + GAP)
                assert (sheet[top : top + side, left : left + side] == 8 * row + column).all()
                assert (
                    sheet[top : top + side, left + side : left + side + GAP] == WHITE
                ).all() or column == columns - 1
    assert (printable(grid, size) == grid) == (recorded <= PRINTED)


@pytest.mark.parametrize(
    ("steps", "count", "shown"),
    [
        ([], 3, []),
        ([0], 3, [0]),
        ([0, 5, 9], 3, [0, 5, 9]),
        (range(0, 601, 100), 4, [0, 200, 400, 600]),
        (range(0, 1001, 100), 3, [0, 500, 1000]),
        ([0, 1, 2, 600], 2, [0, 600]),
    ],
)
def test_steps_are_chosen_evenly_with_both_ends(steps: list[int], count: int, shown: list[int]) -> None:
    assert evenly(steps, count) == shown
