"""Crops and strips of recorded sample grids. Only images that are too large for print are reduced."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

GAP = 2  # pixels between images of a grid (gan/sampling.py)
COLUMNS = 8  # images in a row of a recorded grid (gan/data.py)
APART = 10  # pixels between steps of a strip
PRINTED = 64  # largest side of an image in a report, in pixels: more cannot be seen in print


def printed_side(size: int) -> int:
    """Return the side in pixels of an image in a report: `size`, divided by a whole number if it is above PRINTED."""
    return size // -(-size // PRINTED)


def cells(grid: bytes, size: int, columns: int, rows: int) -> Image.Image:
    """Return the upper left part of a sample grid, columns × rows images, each as large as `printed_side` says.

    Args:
        grid: The sample grid, as PNG.
        size: Side in pixels of the images that G generates. Those in the grid may be smaller.
        columns: Maximum number of columns.
        rows: Maximum number of rows.
    """
    with Image.open(io.BytesIO(grid)) as whole:
        whole.load()
    side = _recorded_side(size, whole.width)
    step, small = side + GAP, printed_side(side)
    if small == side:
        width, height = min(columns * step - GAP, whole.width), min(rows * step - GAP, whole.height)
        return whole.crop((0, 0, width, height))
    sheet = Image.new(whole.mode, (columns * (small + GAP) - GAP, rows * (small + GAP) - GAP), "white")
    for row in range(rows):
        for column in range(columns):
            x, y = column * step, row * step
            image = whole.crop((x, y, x + side, y + side)).reduce(side // small)
            sheet.paste(image, (column * (small + GAP), row * (small + GAP)))
    return sheet


def printable(grid: bytes, size: int) -> bytes:
    """Return the PNG file of a sample grid, scaled down if its images are larger than PRINTED.

    Args:
        grid: The PNG file.
        size: Side of the generated images in pixels.
    """
    with Image.open(io.BytesIO(grid)) as whole:
        side = _recorded_side(size, whole.width)
        rows = (whole.height + GAP) // (side + GAP)
    return grid if printed_side(side) == side else png(cells(grid, size, COLUMNS, rows))


def _recorded_side(size: int, width: int) -> int:
    """Return the side in pixels of the images in a recorded grid, in which large images are reduced (gan/data.py).

    Args:
        size: Side of the generated images.
        width: Width of the grid. `size` is halved until COLUMNS images fit in it.
    """
    while size > PRINTED and COLUMNS * (size + GAP) - GAP > width:
        size //= 2
    return size


def strip(grids: Sequence[bytes | None], places: int, size: int, columns: int, rows: int) -> bytes:
    """Return a strip with an excerpt of each sample grid, from left to right, as PNG.

    Args:
        grids: Sample grids as PNG. A missing grid (None) is grey.
        places: Number of grids for which the strip has room. Places without a grid are white.
        size: Side of the generated images in pixels.
        columns: Number of columns of images of an excerpt, which is the upper left corner of the grid.
        rows: Number of rows of images of an excerpt.
    """
    parts = [cells(grid, size, columns, rows) if grid else None for grid in grids]
    step = printed_side(size) + GAP
    width, height = columns * step - GAP, rows * step - GAP
    mode = "RGB" if any(part and part.mode != "L" for part in parts) else "L"
    sheet = Image.new(mode, (places * (width + APART) - APART, height), "white")
    for number, part in enumerate(parts):
        at = (number * (width + APART), 0)
        sheet.paste(part.convert(mode) if part else Image.new(mode, (width, height), "#dddddd"), at)
    return png(sheet)


def png(image: Image.Image) -> bytes:
    """Encode as PNG, without a date."""
    file = io.BytesIO()
    image.save(file, format="png", optimize=False)
    return file.getvalue()


def placeholder(size: int) -> bytes:
    """Return a grey square as PNG, in place of a missing sample grid. size: side of the generated images in pixels."""
    return png(Image.new("L", (COLUMNS * (printed_side(size) + GAP) - GAP,) * 2, 235))


def evenly(steps: Sequence[int], count: int) -> list[int]:
    """Return at most `count` evenly spaced steps, including the first and the last."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(n * (len(steps) - 1) / (count - 1))] for n in range(count)]
