"""Animations of image grids on a white frame, with a line of text below. Pixels are enlarged without smoothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS = 512  # approximate width of an enlarged grid; the factor is an integer
MOST_PIXELS = 1_088  # a larger grid is reduced, by an integer as well
MARGIN, STRIP, LETTERS = 0.02, 0.07, 0.042  # fractions of the grid's width: white margin, strip for the text, font size


def animation(ending: str, frames: Iterator[Image], durations_ms: list[int]) -> bytes:
    """Return the content of an animation file that repeats endlessly.

    It is lossless, except that a GIF reduces the colours of RGB frames.

    Args:
        ending: ".webp" or ".gif".
        frames: The frames, at least one.
        durations_ms: Duration of each frame in milliseconds.
    """
    how: dict[str, Any] = {".webp": {"lossless": True, "quality": 50, "method": 2}, ".gif": {}}[ending]
    buffer = io.BytesIO()
    first = next(frames)
    first.save(buffer, ending[1:], save_all=True, append_images=frames, duration=durations_ms, loop=0, **how)
    return buffer.getvalue()


def frame(grid: Image, text: str, scale: int | None) -> Image:
    """Return a frame with an image grid and a line of text.

    Args:
        grid: The grid.
        text: The text below the grid.
        scale: Integer factor by which pixels are enlarged. None enlarges a small grid to about PIXELS, and reduces one
            larger than MOST_PIXELS.
    """
    from PIL import Image, ImageDraw, ImageFont

    from gansweep.report.palette import INK
    from gansweep.report.style import fonts

    if scale is None:
        grid = grid.reduce(-(-max(grid.size) // MOST_PIXELS))
    factor = scale or max(1, round(PIXELS / max(grid.size)))
    width, height = grid.width * factor, grid.height * factor
    margin, strip = round(width * MARGIN), round(width * STRIP)
    whole = Image.new(grid.mode, (width + 2 * margin, margin + height + strip), "white")
    whole.paste(grid.resize((width, height), Image.Resampling.NEAREST), (margin, margin))
    font = ImageFont.truetype(fonts() / "SourceSansPro-Regular.ttf", round(width * LETTERS))
    ImageDraw.Draw(whole).text((margin, margin + height + strip // 2), text, INK, font, "lm")
    return whole
