"""A .npy file of images that several threads write row by row, and reuse of the images of a failed attempt.

Rows are written with pwrite: neither pixels nor dirty pages add to the process's memory, and a full disk raises OSError
(with mapped memory it would kill the process).
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import mmap
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gansweep.records.layout import write_json

Pixels = NDArray[np.uint8]
READ_AT_ONCE = 1 << 22  # bytes per read
NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE, which the module mmap lacks


def open_rows(path: Path) -> Pixels:
    """Return the images of a file, memory-mapped. They can be changed in memory, but never in the file.

    `np.load(path, mmap_mode="c")` would reserve memory for changes of the whole file, which Linux refuses for a data
    set that is larger than its memory. This function reserves none.

    Raises:
        OSError: The file does not exist.
        ValueError: The file is damaged, or is not a single array.
    """
    stored: Any = np.load(path, mmap_mode="r")
    if not hasattr(stored, "offset"):  # an archive of arrays
        raise ValueError(f"{path}: not one array")
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(whole, stored.dtype, stored.size, stored.offset).reshape(stored.shape)


class Rows:
    """A new file for uint8 images of `shape` (images, channels, side, side). Use it as a context manager.

    If the number of images is not known in advance, begin with 0 and use `append`.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self.path, self.shape = path, shape
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._start = len(self._header())
        self._write(self._header(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write(self._header(), 0)  # NumPy leaves room for any number of images: the length does not change
        finally:
            os.close(self._file)

    def __setitem__(self, row: int, image: Pixels) -> None:
        self._write(np.ascontiguousarray(image).data.cast("B"), self._start + row * self._size)

    def append(self, image: Pixels) -> None:
        """Write an image as a new last row."""
        count, channels, height, width = self.shape
        self[count] = image
        self.shape = (count + 1, channels, height, width)

    def keep(self, rows: Sequence[int]) -> None:
        """Remove all rows except those with the given numbers, in ascending order. The file is changed in place."""
        _, channels, height, width = self.shape
        for new, old in enumerate(rows):
            if new != old:
                content = os.pread(self._file, self._size, self._start + old * self._size)
                self._write(content, self._start + new * self._size)
        self.shape = (len(rows), channels, height, width)
        os.ftruncate(self._file, self._start + len(rows) * self._size)

    def repeat_channel(self) -> None:
        """Convert all rows from greyscale to RGB, in place.

        The last row is converted first, so that no row is overwritten before it is read.
        """
        count, _, height, width = self.shape
        grey = self._size
        self.shape = (count, 3, height, width)
        for row in reversed(range(count)):
            self._write(3 * os.pread(self._file, grey, self._start + row * grey), self._start + row * self._size)

    def parts(self) -> Iterator[bytes]:
        """Yield the bytes of all pixels in order, in parts. Can be called after the context manager has exited."""
        with self.path.open("rb") as file:
            file.seek(self._start)
            while content := file.read(READ_AT_ONCE):
                yield content

    @property
    def _size(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape[1:])

    def _header(self) -> bytes:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": self.shape})
        return header.getvalue()

    def _write(self, content: bytes | memoryview, at: int) -> None:
        while content:
            written = os.pwrite(self._file, content, at)
            content, at = content[written:], at + written


class Kept:
    """Images that were decoded before reading a data set failed, for reuse by the next attempt.

    The array at `path` has one image per row. A .json file next to it maps the name of each image file to its stamp
    (size, times and inode) and its row. Rows are reused only if `layout`, which describes how images are decoded, is
    the same.
    """

    def __init__(self, path: Path, layout: Any) -> None:
        self._path, self._index, self._layout = path, path.with_suffix(".json"), json.loads(json.dumps(layout))
        self._rows: dict[str, tuple[Any, int]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, EOFError):
            index = json.loads(self._index.read_text())
            if index["layout"] == self._layout:
                self._pixels: Pixels = np.load(path, mmap_mode="r")
                self._rows = {name: (stamp, row) for name, (stamp, row) in index["rows"].items()}

    def find(self, name: str, stamp: Any) -> Pixels | None:
        """Return the kept image of a file; None if there is none, or if `stamp` differs from the recorded one."""
        known, row = self._rows.get(name, (None, 0))
        return self._pixels[row] if known == list(stamp) and row < len(self._pixels) else None

    def replace(self, rows: Rows, decoded: Mapping[str, tuple[Any, int]]) -> None:
        """Replace the kept images by those of a new failed attempt.

        Args:
            rows: File of the attempt, which is moved to `path`.
            decoded: Name of each decoded image file → its stamp and its row in `rows`.
        """
        self._index.unlink(missing_ok=True)  # it must never describe other pixels than those stored
        rows.path.replace(self._path)
        write_json(self._index, {"layout": self._layout, "rows": decoded})

    def remove(self) -> None:
        for path in (self._index, self._path):
            path.unlink(missing_ok=True)
