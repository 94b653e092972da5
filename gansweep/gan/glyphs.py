"""Letters drawn in the fonts that come with matplotlib: a labelled set that needs no download.

matplotlib is not imported; only its font files are read, with Pillow.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import random
import string
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gansweep.errors import UserError

LETTERS = string.ascii_uppercase + string.ascii_lowercase
PER_CLASS = 640  # images of each letter, by default
# The text fonts. matplotlib's other fonts are for formulas: they have symbols in place of letters, or lack them.
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
    "cmr10", "cmb10", "cmti10", "cmss10", "cmtt10",
)  # fmt: skip
VERSION = 1  # increase if the drawn images change
SIDE = 64  # images of other sizes are scaled from it
EM = 48  # font size in pixels: capitals are about 35 high
MIDDLE = 0.26  # of an em above the baseline: half-way between the top of b and the foot of p
SHEET = 2 * EM  # side of the picture of an untransformed letter; the widest is 1.1 em
ROTATION, SHEAR, SCALE, SHIFT = math.radians(12), 0.2, 0.15, 3.0  # jitter is uniform within ± these; SHIFT in pixels
MARGIN = 2.0  # pixels at the border, one of which interpolation uses


def draw(letter: str, index: int) -> Image.Image:
    """Draw image number `index` of a letter: greyscale, SIDE × SIDE, white on black.

    The image depends on letter and index only. Fonts alternate with the index. The letter is randomly rotated, sheared,
    scaled and shifted; it is made smaller if it would otherwise be cut off.

    Raises:
        UserError: matplotlib's fonts are missing.
    """
    rng = random.Random(f"{letter}:{index}")
    sheet = _sheet(letter, FONTS[index % len(FONTS)])
    angle, shear, stretch, *shift = (rng.uniform(-limit, limit) for limit in (ROTATION, SHEAR, SCALE, SHIFT, SHIFT))
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    room = SIDE / 2 - MARGIN - SHIFT
    matrix *= min(1 + stretch, room / np.abs(matrix @ _corners(sheet)).max())
    # Pillow needs the source of each pixel: sheet = inverse · (image − centre − shift) + centre of the sheet
    inverse = np.linalg.inv(matrix)
    offset = SHEET / 2 - inverse @ (SIDE / 2 + np.array(shift))
    coefficients = tuple(np.column_stack([inverse, offset]).ravel().tolist())
    return sheet.transform((SIDE, SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)


@functools.lru_cache(len(FONTS))
def _sheet(letter: str, font: str) -> Image.Image:
    """Draw the untransformed letter: centred horizontally, with the middle of its line at the centre."""
    left, _, right, _ = _font(font).getbbox(letter, anchor="ls")
    place = ((SHEET - left - right) / 2, SHEET / 2 + MIDDLE * EM)
    sheet = Image.new("L", (SHEET, SHEET))
    ImageDraw.Draw(sheet).text(place, letter, fill=255, font=_font(font), anchor="ls")
    return sheet


def _corners(sheet: Image.Image) -> NDArray[np.float64]:
    """Return x and y of the corners of the drawn area relative to the sheet's centre, (2, 4)."""
    box = sheet.getbbox()
    assert box is not None
    left, top, right, bottom = box
    return np.array([[left, right, right, left], [top, top, bottom, bottom]]) - SHEET / 2


@functools.cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
    try:
        return ImageFont.truetype(file, EM, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise UserError(f"dataset.name: glyphs: {file}: cannot be read ({error}); reinstall matplotlib") from None
