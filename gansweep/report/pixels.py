"""Sample grids as the store has them, cut and put side by side: an image pixel stays a pixel."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

GAP = 2  # pixels between the images of a grid (gan/sampling.py)
APART = 10  # pixels between the steps of a strip


def cells(grid: bytes, size: int, columns: int, rows: int) -> Image.Image:
    """The first images of a grid whose images have `size` pixels: as many as there are, up to columns × rows."""
    with Image.open(io.BytesIO(grid)) as whole:
        whole.load()
    step = size + GAP
    width, height = min(columns * step - GAP, whole.width), min(rows * step - GAP, whole.height)
    return whole.crop((0, 0, width, height))


def strip(grids: Sequence[bytes | None], places: int, size: int, columns: int, rows: int) -> bytes:
    """The first images of each grid, from left to right, as PNG; grey where one is missing, white to fill `places`."""
    parts = [cells(grid, size, columns, rows) if grid else None for grid in grids]
    step = size + GAP
    width, height = columns * step - GAP, rows * step - GAP
    mode = "RGB" if any(part and part.mode != "L" for part in parts) else "L"
    sheet = Image.new(mode, (places * (width + APART) - APART, height), "white")
    for number, part in enumerate(parts):
        at = (number * (width + APART), 0)
        sheet.paste(part.convert(mode) if part else Image.new(mode, (width, height), "#dddddd"), at)
    return png(sheet)


def png(image: Image.Image) -> bytes:
    """Without anything that depends on when it was made."""
    file = io.BytesIO()
    image.save(file, format="png", optimize=False)
    return file.getvalue()


def placeholder(size: int) -> bytes:
    """For a grid that the store does not have."""
    return png(Image.new("L", (8 * (size + GAP) - GAP,) * 2, 235))


def evenly(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of the steps, the first and the last among them, as evenly as can be."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(n * (len(steps) - 1) / (count - 1))] for n in range(count)]
