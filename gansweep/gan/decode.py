"""Decoding of pictures: a file in any format that Pillow decodes becomes (channels, side, side) uint8.

1. The first frame is taken, and rotated according to EXIF.

2. Pixels with more than 8 bits are scaled linearly to 0 … 255, with one range for the whole set (see `Range`).

3. Transparent pixels are composed on a background.

4. Colours are converted to grey (ITU-R 601 luma) or RGB; embedded colour profiles are ignored.

5. The central square, the whole picture (`crop: none`) or the picture within a square of background (`crop: fit`) is
resampled bicubically (antialiased when shrinking).

Ordinary 8-bit greyscale and RGB pictures give the same pixels as in version 0.1.0.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gansweep.gan.notes import Note
from gansweep.words import counted

Pixels = NDArray[np.uint8]

# Not decoded: documents, which would start Ghostscript, and formats that Pillow only identifies.
NOT_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}
GREY = {"1", "L", "LA"}
DEEP = {"I": "integer grey", "F": "floating-point grey"}  # mode → name; the other modes begin with "I;16"
TRANSPARENT = {"RGBA", "RGBa", "LA", "PA"}
MEGAPIXEL = 1_000_000
LARGEST_MP = 500  # decoding a picture of this size takes 2 GB
REDUCED_FROM = 178_956_970  # pixels; larger JPEG files are reduced while they are decoded
STRIP = 256  # rows scaled at a time
PHOTOMETRIC = 262  # TIFF tag
ONE_AT_A_TIME = 50 * MEGAPIXEL  # pixels; larger pictures are decoded one at a time to limit memory
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError)

_large = threading.Lock()


@dataclass(frozen=True)
class Range:
    """Smallest and largest finite value of the deep pixels of one kind in a whole set, which become 0 and 255.

    Deep pixels are those with more than 8 bits.
    """

    low: float
    high: float

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))

    def ends(self) -> tuple[float, float]:
        """Return (low, high) with low < high.

        For a set with a single value or none, low is 0, or the value if it is negative, and high is the smallest of 1,
        255, 65,535 and 2³² − 1 that is not below the value, or the value if it is larger.
        """
        if self.low < self.high:
            return self.low, self.high
        usual = (1.0, 255.0, 65_535.0, 2.0**32 - 1)
        return min(0.0, self.low), next((top for top in usual if self.high <= top), self.high)


NOTHING = Range(math.inf, -math.inf)


@dataclass(frozen=True)
class Look:
    """Properties of a picture file.

    Attributes:
        colour: Whether it has colour.
        deep: Kind of its pixels if they have more than 8 bits, else empty.
        range: Range of its deep pixels; NOTHING without deep pixels.
        holes: Whether any of its deep pixels is NaN or infinite.
        transparent: Whether it has transparency.
        animated: Whether it has several frames.
        cut: Whether it has 16 bits per colour channel, of which Pillow reads the upper 8.
        reduced: Whether it is too large to be decoded at full size, and is reduced while it is decoded.
    """

    colour: bool
    deep: str = ""
    range: Range = NOTHING
    holes: bool = False
    transparent: bool = False
    animated: bool = False
    cut: bool = False
    reduced: bool = False


@dataclass(frozen=True)
class Layout:
    """Common format of all pictures of a set.

    Attributes:
        side: Side in pixels.
        channels: 1 or 3.
        background: RGB colour behind transparent pixels and around fitted pictures.
        ranges: Kind of deep pixels → their range in the whole set.
        crop: `square`, the central square; `none`, the whole picture, stretched; `fit`, the whole picture with
            background at two sides.
    """

    side: int
    channels: int
    background: tuple[int, int, int]
    ranges: Mapping[str, Range]
    crop: str = "square"


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of files that the installed Pillow decodes, in lower case."""
    Image.init()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in _formats())


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.OPEN if name not in NOT_PICTURES)


@contextlib.contextmanager
def own_limit() -> Iterator[None]:
    """Lift Pillow's limit on the size of pictures for the block, in all threads. `look` and `pixels` have their own."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def look(file: Path | IO[bytes]) -> Look:
    """Return the properties of a picture file. Its pixels are read only if they are deep.

    Raises the errors in UNREADABLE.
    """
    with _opened(file) as picture:
        kind = _kind(picture.mode)
        found = Look(
            colour=has_colour(picture),
            deep=kind,
            transparent=not kind and _is_transparent(picture),
            animated=bool(getattr(picture, "is_animated", False)),
            cut=not kind and _is_cut(picture),
            reduced=_is_reduced(picture),
        )
    return _measured(file, found) if kind else found


def _measured(file: Path | IO[bytes], found: Look) -> Look:
    """Return the properties `found` of a file with `range` and `holes`, which are measured on its pixels."""
    with _opened(file) as picture, _turn(picture):
        values = np.asarray(picture)
        finite = values[np.isfinite(values)] if picture.mode == "F" else values
    limits = Range(float(finite.min()), float(finite.max())) if finite.size else NOTHING
    return replace(found, range=limits, holes=finite.size < values.size)


def pixels(file: Path | IO[bytes], layout: Layout) -> Pixels:
    """Return the pixels of a picture file, (channels, side, side) uint8. Raises the errors in UNREADABLE."""
    with _opened(file) as picture, _turn(picture):
        if _is_reduced(picture):
            picture.draft(None, (layout.side, layout.side))
        picture.load()
        return shaped(picture, layout)


def shaped(picture: Image.Image, layout: Layout) -> Pixels:
    """Return the pixels of an opened picture, (channels, side, side) uint8.

    Raises:
        ValueError: The picture has more than 8 bits per channel, and the layout has no range for its kind of pixels.
    """
    kind = _kind(picture.mode)
    if kind and kind not in layout.ranges:
        raise ValueError(f"has pixels of {kind}; convert it to 8 bits per channel")
    ImageOps.exif_transpose(picture, in_place=True)
    return _square(_flat(picture, layout), layout)


def has_colour(picture: Image.Image) -> bool:
    """Whether an opened picture has colour."""
    return not _kind(picture.mode) and picture.mode not in GREY


def greys_among_colours(channels: int | None, coloured: int, pictures: int) -> list[Note]:
    """Return one note if grey pictures become RGB because others of the set have colour, else [].

    Args:
        channels: Number of channels that the sweep file sets; None if it sets none.
        coloured: Number of pictures in colour.
        pictures: Number of all pictures.
    """
    if channels is not None or not 0 < coloured < pictures:
        return []
    grey = counted(pictures - coloured, "grey image")
    return [("converted", f"{grey} to RGB, as {coloured:,} of the set have colour")]


def _square(picture: Image.Image, layout: Layout) -> Pixels:
    """Return the pixels of an opaque 8-bit picture, (channels, side, side) uint8, cropped and resampled."""
    picture = picture.convert("L" if layout.channels == 1 else "RGB")
    side = (layout.side, layout.side)
    if layout.crop == "fit" and picture.width != picture.height:
        edge = max(picture.size)
        canvas = Image.new("RGB", (edge, edge), layout.background).convert(picture.mode)
        canvas.paste(picture, ((edge - picture.width) // 2, (edge - picture.height) // 2))
        picture = canvas
    if layout.crop == "square" and picture.width != picture.height:
        edge = min(picture.size)
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        picture = picture.crop((left, top, left + edge, top + edge))
    if picture.size != side:
        picture = picture.resize(side, Image.Resampling.BICUBIC)
    return np.asarray(picture, np.uint8).reshape(*side, layout.channels).transpose(2, 0, 1)


@contextlib.contextmanager
def _opened(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    with Image.open(file, formats=_formats()) as picture:
        megapixels = picture.width * picture.height / MEGAPIXEL
        if megapixels > LARGEST_MP and not _is_reduced(picture):
            raise ValueError(f"{megapixels:,.0f} megapixels exceed the limit of {LARGEST_MP}; reduce its size")
        yield picture


def _turn(picture: Image.Image) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a picture is decoded: a lock shared by all large pictures, nothing for others."""
    return _large if picture.width * picture.height > ONE_AT_A_TIME else contextlib.nullcontext()


def _is_reduced(picture: Image.Image) -> bool:
    """Whether the picture is reduced while it is decoded.

    Progressive JPEG files are not: their decoder needs the whole picture in memory.
    """
    size = picture.width * picture.height
    return picture.format == "JPEG" and size > REDUCED_FROM and not picture.info.get("progressive")


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in TRANSPARENT or "transparency" in picture.info


def _is_cut(picture: Image.Image) -> bool:
    tiles: Any = getattr(picture, "tile", ())  # the arguments begin with the raw mode, as in "RGB;16B"
    return bool(tiles) and ";16" in str(tiles[0].args)


def _kind(mode: str) -> str:
    """Return the pixel type of a Pillow mode with more than 8 bits per channel, such as "16-bit grey", else ""."""
    return "16-bit grey" if mode.startswith("I;16") else DEEP.get(mode, "")


def _flat(picture: Image.Image, layout: Layout) -> Image.Image:
    """Return the picture without transparency and with 8 bits per channel."""
    if kind := _kind(picture.mode):
        return _scaled(picture, layout.ranges[kind])
    if _is_transparent(picture):
        canvas = Image.new("RGBA", picture.size, (*layout.background, 255))
        return Image.alpha_composite(canvas, picture.convert("RGBA")).convert("RGB")
    return picture


def _scaled(picture: Image.Image, limits: Range) -> Image.Image:
    """Return a grey picture whose pixels are scaled linearly, so that `limits` become 0 and 255.

    NaN and −inf become 0, inf becomes 255. The result is inverted for TIFF files in which 0 is white.
    """
    low, high = limits.ends()
    values = np.asarray(picture)
    scaled = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), STRIP):
        strip = np.nan_to_num(values[top : top + STRIP].astype(np.float64), nan=low, posinf=high, neginf=low)
        scaled[top : top + STRIP] = np.rint((strip.clip(low, high) - low) * (255 / (high - low)))
    white_is_zero = getattr(picture, "tag_v2", {}).get(PHOTOMETRIC) == 0  # for 8 bits Pillow inverts the values itself
    return Image.fromarray(255 - scaled if white_is_zero else scaled)
