"""Arrays of images in .npy, .npz and .pt files.

Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels. Values become 0 … 255:

- uint8 as they are, bool from 0 and 1, other integers from 0 … 255;

- floating-point numbers from 0 … 1 or −1 … 1, whichever contains all values of the file.

`options.range: [low, high]` states another range. Values outside the range, and NaN, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.notes import Note
from gansweep.gan.pictures import UNLABELLED, Labelled, Pictures, stamp
from gansweep.gan.reader import Source
from gansweep.gan.stored import UNREADABLE, Stored, open_arrays, reason
from gansweep.gan.values import FLOATS, INTEGERS, Range, first_containing, to_bytes
from gansweep.words import counted

CHANNELS = (1, 3, 4)


class Arrays(Pictures):
    """Reader of a file that has images in one array, and their labels in another.

    Args:
        source: Its `path` is the file. Its `options` are `images` and `labels`, the names of the arrays (for a .npy
            file, `labels` is the path of another .npy file, relative to the folder of the first), `layout` (`nhwc` or
            `nchw`) and `range`.
    """

    format: ClassVar = 1

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        assert source.path is not None
        self._path = Path(source.path)
        self._options: Mapping[str, Any] = source.options or {}
        self._given = _checked_range(self._options["range"]) if "range" in self._options else None
        self._notes: list[Note] = []

    def signature(self) -> list[list[int]]:
        return [stamp(self._path), *([stamp(beside)] if (beside := self._file_of_labels()) else [])]

    def findings(self) -> tuple[Note, ...]:
        return tuple(self._notes)

    def pictures(self) -> Iterator[Labelled]:
        arrays = open_arrays(self._path)
        name, images = self._images(arrays)
        channels_first = self._is_channels_first(images.shape)
        labels = self._labels(arrays, name, images.shape[0])
        try:
            limits = self._range(images)
            at = 0
            for block in images.blocks():
                for pixels in to_bytes(np.moveaxis(block, 1, -1) if channels_first else block, limits):
                    yield Image.fromarray(pixels.squeeze(-1) if pixels.shape[2:] == (1,) else pixels), labels[at]
                    at += 1
        except UNREADABLE as error:
            raise self._refusal(f"cannot be read ({reason(error)})") from None

    def _images(self, arrays: Mapping[str, Stored]) -> tuple[str, Stored]:
        """Return the name of the array of images, and the array."""
        name = self._options.get("images") or _image_like(arrays)
        if not isinstance(name, str) or name not in arrays:
            raise self._refusal(f"choose the array of images: {_example('images')}; it has {_described(arrays)}")
        images = arrays[name]
        if len(images.shape) not in (3, 4) or 0 in images.shape:
            raise self._refusal(
                f"{name} has the shape {images.shape}; images are (N, H, W), (N, H, W, C) or (N, C, H, W), at least one"
            )
        if images.dtype.kind not in "buif":
            raise self._refusal(f"{name} has the type {images.dtype}; images are integers or floating-point numbers")
        return name, images

    def _is_channels_first(self, shape: tuple[int, ...]) -> bool:
        if len(shape) == 3:
            return False
        first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
        given = self._options.get("layout")
        if given not in (None, "nhwc", "nchw") or (given is None and first and last):
            raise UserError(f"dataset.options.layout: must be nhwc or nchw for the shape {shape}, got {given!r}")
        channels_first = first and not last if given is None else given == "nchw"
        channels = shape[1] if channels_first else shape[3]
        if channels not in CHANNELS:
            raise self._refusal(f"images of the shape {shape} have {channels} channels; they need 1, 3 or 4")
        return channels_first

    def _file_of_labels(self) -> Path | None:
        given = self._options.get("labels")
        return self._path.parent / str(given) if given and self._path.suffix.lower() == ".npy" else None

    def _labels(self, arrays: Mapping[str, Stored], images: str, count: int) -> list[int | str]:
        """Return the label of each image; UNLABELLED for every image if there is no array of labels."""
        if beside := self._file_of_labels():
            return self._checked(open_arrays(beside)["images"], count)
        like = [n for n, a in arrays.items() if n != images and _may_be_labels(a)]
        name = self._options.get("labels") or (like[0] if len(like) == 1 else None)
        if name is None and not like:
            return [UNLABELLED] * count
        if not isinstance(name, str) or name not in arrays:
            raise self._refusal(f"choose the array of labels: {_example('labels')}; it has {_described(arrays)}")
        return self._checked(arrays[name], count)

    def _checked(self, stored: Stored, count: int) -> list[int | str]:
        if stored.shape not in ((count,), (count, 1)):
            raise self._refusal(f"{counted(count, 'image')}, but labels of the shape {stored.shape}; give one for each")
        labels = stored.load().ravel()
        if labels.dtype.kind == "U":
            return [str(label) for label in labels]
        if labels.dtype.kind not in "buif" or not np.array_equal(labels, np.trunc(labels.astype(np.float64))):
            raise self._refusal(f"labels of the type {labels.dtype}; they must be whole numbers or text")
        return [int(label) for label in labels]

    def _range(self, images: Stored) -> Range:
        """Return the values that become 0 and 255. Add a note of them, unless the images are uint8 or bool.

        If the sweep file sets `range`, the note is added for all types.
        """
        if self._given is None and images.dtype in (np.uint8, np.bool_):
            return (0, 255) if images.dtype == np.uint8 else (0, 1)
        low, high = _extent(images)
        what = f"{images.dtype} of {low:.6g} … {high:.6g}"
        if not np.isfinite([low, high]).all():
            raise self._refusal("contains NaN or infinite values; replace them")
        usual = FLOATS if images.dtype.kind == "f" else INTEGERS
        known = usual if self._given is None else (self._given,)
        if (limits := first_containing(known, low, high)) is None:
            ranges = " or ".join(f"{a:g} … {b:g}" for a, b in known)
            raise self._refusal(f"contains {what}, outside {ranges}; state theirs as {_example('range')}")
        self._notes.append(("converted", f"{what}: {limits[0]:g} … {limits[1]:g} become 0 … 255"))
        return limits

    def _refusal(self, what: str) -> UserError:
        return UserError(f"dataset.path: {self._path}: {what}")


def open_source(source: Source, cache: Path) -> Arrays:
    """Return the reader of a file of arrays. Raises UserError if it does not exist."""
    arrays = Arrays(source)
    try:
        arrays.signature()
    except OSError as error:
        raise UserError(f"dataset.path: {error.filename}: cannot be read ({error.strerror})") from None
    return arrays


def _image_like(arrays: Mapping[str, Stored]) -> str | None:
    """Return the name of the array of images; None if it is not clear which that is.

    Arrays with at least three dimensions may be images. If there are none, any array may be.
    """
    names = [name for name, array in arrays.items() if len(array.shape) > 2] or list(arrays)
    return names[0] if len(names) == 1 else None


def _may_be_labels(array: Stored) -> bool:
    return array.dtype.kind in "iuU" and (len(array.shape) == 1 or (len(array.shape) == 2 and array.shape[1] == 1))


def _described(arrays: Mapping[str, Stored]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no arrays"


def _example(option: str) -> str:
    value = {"range": "[0, 255]", "images": "NAME", "labels": "NAME"}[option]
    return f"dataset.options: {{{option}: {value}}}"


def _checked_range(given: Any) -> Range:
    if isinstance(given, list) and len(given) == 2 and all(isinstance(one, int | float) for one in given):
        low, high = map(float, given)
        if low < high:
            return low, high
    raise UserError(f"dataset.options.range: must be [low, high] with low < high, got {given!r}")


def _extent(images: Stored) -> Range:
    """Return the smallest and the largest value; NaN if any value is NaN."""
    ends = [(float(block.min()), float(block.max())) for block in images.blocks()]
    return float(np.min(ends)), float(np.max(ends))
