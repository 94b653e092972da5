"""Map-style data sets as sources: objects with `len(items)`, whose `items[i]` is an image or (image, label, …).

An image is a PIL image, a tensor (H, W) or (C, H, W), or an array (H, W) or (H, W, C). Values of tensors and arrays
are uint8, or floating-point numbers in [0, 1] or [-1, 1], with one range for the whole set. Labels are whole numbers or
texts; a set with other labels, or with negative ones, has no classes.
"""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.notes import Note
from gansweep.gan.pictures import UNLABELLED, Labelled, Pictures
from gansweep.gan.reader import Source
from gansweep.gan.stored import reason
from gansweep.gan.values import FLOATS, Array, Range, first_containing, to_bytes


@dataclass(frozen=True)
class Opened:
    """An opened data set.

    Attributes:
        items: Object with `__len__` and `__getitem__`.
        names: Name of the class of each label 0, 1, …; empty if the labels are the names.
    """

    items: Any
    names: Sequence[str] = ()


class Items(Pictures):
    """A source that opens a map-style data set. It is opened only when it is decoded."""

    format: ClassVar = 1

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._names: Sequence[str] = ()
        self._limits: Range | None = None
        self._notes: list[Note] = []

    @abstractmethod
    def open_items(self) -> Opened:
        """Return the data set. Raises UserError if it is missing or cannot be opened."""

    def pictures(self) -> Iterator[Labelled]:
        opened = self.open_items()
        items, self._names = opened.items, opened.names
        for index in range(self._length(items)):
            image, label = _parts(self._item(items, index))
            yield self._picture(items, index, image), self._label(index, label)

    def findings(self) -> tuple[Note, ...]:
        return tuple(self._notes)

    def name_of(self, label: int | str) -> str:
        known = isinstance(label, int) and label < len(self._names)
        return self._names[int(label)] if known else str(label)

    def _length(self, items: Any) -> int:
        try:
            return len(items)
        except Exception as error:  # the data set is code of somebody else
            raise self._refusal(f"has no length ({reason(error)}); it must be a map-style data set") from None

    def _item(self, items: Any, index: int) -> Any:
        try:
            return items[index]
        except Exception as error:
            raise self._refusal(f"item {index} raises {type(error).__name__}: {reason(error)}") from None

    def _picture(self, items: Any, index: int, image: Any) -> Image.Image:
        if isinstance(image, Image.Image):
            return image
        array = _array(image)
        if array is None or array.shape[2:] not in ((), (1,), (3,), (4,)) or array.ndim < 2 or 0 in array.shape:
            what = f"{type(image).__name__} of the shape {tuple(getattr(image, 'shape', ()))}"
            raise self._refusal(f"item {index} is not an image but {what}")
        if array.dtype != np.uint8:
            array = to_bytes(array, self._range(items, index, array))
        return Image.fromarray(array.squeeze(-1) if array.shape[2:] == (1,) else array)

    def _range(self, items: Any, index: int, array: Array) -> Range:
        """Return the range, one of FLOATS, that contains the values of all floating-point images of the set.

        Raises:
            UserError: The values are neither uint8 nor floating-point, or no range contains them.
        """
        if array.dtype.kind != "f":
            raise self._refusal(f"item {index} has values of {array.dtype}; use uint8 or floating-point numbers")
        if self._limits is None:
            arrays = (_array(_parts(self._item(items, i))[0]) for i in range(len(items)))
            ends = [(float(one.min()), float(one.max())) for one in arrays if one is not None and one.dtype.kind == "f"]
            low, high = float(np.min(ends)), float(np.max(ends))
            self._limits = first_containing(FLOATS, low, high)
            if self._limits is None:
                raise self._refusal(f"has values of {low:.6g} … {high:.6g}, neither in 0 … 1 nor in -1 … 1")
            least, most = self._limits
            self._notes.append(
                ("converted", f"{array.dtype} of {low:.6g} … {high:.6g}: {least:g} … {most:g} become 0 … 255")
            )
        return self._limits

    def _label(self, index: int, label: Any) -> int | str:
        if label is None or isinstance(label, str):
            return label or UNLABELLED
        if isinstance(label, numbers.Integral) or getattr(label, "shape", None) == ():
            return int(label) if int(label) >= 0 else UNLABELLED
        if index == 0:
            self._notes.append(("skipped", f"labels, which are not whole numbers but {type(label).__name__}"))
        return UNLABELLED

    def _refusal(self, what: str) -> UserError:
        return UserError(f"dataset.name: {self.source.name}: {what}")


def class_names(items: Any) -> list[str]:
    """Return the names in the attribute `classes` of a data set; [] if they are not distinct strings.

    Of an entry that is a list or tuple of synonyms, the first one is returned.
    """
    classes = getattr(items, "classes", ())
    if not isinstance(classes, list | tuple):
        return []
    names = [one[0] if isinstance(one, list | tuple) and one else one for one in classes]
    return names if all(isinstance(one, str) for one in names) and len(set(names)) == len(names) else []


def _parts(item: Any) -> tuple[Any, Any]:
    """Return image and label of an item. The label is None if the item has none."""
    if isinstance(item, tuple | list):
        return (item[0] if item else None), (item[1] if len(item) > 1 else None)
    return item, None


def _array(image: Any) -> Array | None:
    """Return a tensor or an array with the channels last; None for other objects."""
    if isinstance(image, np.ndarray):
        return image
    if not hasattr(image, "detach"):
        return None
    array: Array = image.detach().cpu().numpy()
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array
