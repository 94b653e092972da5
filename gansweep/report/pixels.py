"""Crops and strips of recorded sample grids, without scaling."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

GAP = 2  # pixels between images of a grid (gan/sampling.py)
APART = 10  # pixels between steps of a strip


def cells(grid: bytes, size: int, columns: int, rows: int) -> Image.Image:
    """Return the first images of a grid, at most columns × rows. size: side of an image in pixels."""
    with Image.open(io.BytesIO(grid)) as whole:
        whole.load()
    step = size + GAP
    width, height = min(columns * step - GAP, whole.width), min(rows * step - GAP, whole.height)
    return whole.crop((0, 0, width, height))


def strip(grids: Sequence[bytes | None], places: int, size: int, columns: int, rows: int) -> bytes:
    """Return the first images of each grid side by side, as PNG. Missing grids are grey, further `places` white."""
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
    """Encode as PNG, without a date."""
    file = io.BytesIO()
    image.save(file, format="png", optimize=False)
    return file.getvalue()


def placeholder(size: int) -> bytes:
    """Return a grey grid in place of a missing one."""
    return png(Image.new("L", (8 * (size + GAP) - GAP,) * 2, 235))


def evenly(steps: Sequence[int], count: int) -> list[int]:
    """Return at most `count` evenly spaced steps, including the first and the last."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(n * (len(steps) - 1) / (count - 1))] for n in range(count)]
