"""Arrays in .npy, .npz and .pt files, read some rows at a time. Nothing is unpickled."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gansweep.errors import UserError
from gansweep.gan.unpacking import check_size

Array = NDArray[Any]
BLOCK = 1 << 24  # bytes per block, but at least one row
UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile)
PT = "tensors, a mapping of tensors, or a pair (images, labels)"


@dataclass(frozen=True)
class Stored:
    """An array in a file.

    Attributes:
        shape: Shape of the array.
        dtype: Type of its values.
        blocks: Returns an iterator over the array in blocks of consecutive rows.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[Array]]

    @property
    def rows(self) -> int:
        """Number of rows in a block of about BLOCK bytes, at least 1."""
        return max(1, BLOCK // max(1, math.prod(self.shape[1:]) * self.dtype.itemsize))

    def load(self) -> Array:
        """Return the whole array."""
        return np.concatenate(list(self.blocks())) if math.prod(self.shape) else np.empty(self.shape, self.dtype)


def open_arrays(path: Path) -> dict[str, Stored]:
    """Return the arrays in a file by name.

    A single array without a name is named `images`, and an unnamed pair `images` and `labels`.

    Raises:
        UserError: The file cannot be read, has another suffix than those of FORMATS, or contains Python objects.
    """
    try:
        read = FORMATS[path.suffix.lower()]
    except KeyError:
        raise UserError(f"dataset.path: {path}: must end in {', '.join(FORMATS)}") from None
    try:
        return read(path)
    except pickle.UnpicklingError:
        raise UserError(f"dataset.path: {path}: contains Python objects; save {PT} with torch.save") from None
    except UNREADABLE as error:
        raise UserError(f"dataset.path: {path}: cannot be read ({reason(error)})") from None


def reason(error: Exception) -> str:
    """Return the cause of an error on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]


def _npy(path: Path) -> dict[str, Stored]:
    return {"images": _of_array(np.load(path, mmap_mode="r", allow_pickle=False))}


def _npz(path: Path) -> dict[str, Stored]:
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        check_size(path, sum(info.file_size for info in members))
        found = {}
        for info in members:
            with archive.open(info) as file:
                found[info.filename.removesuffix(".npy")] = _of_member(path, info.filename, *_header(file))
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a .npy file. Return the shape, whether the array is in Fortran order, and the type."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _of_member(path: Path, name: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> Stored:
    """Return the array `name` of an .npz file.

    An array in Fortran order is read as one block, because its rows are not contiguous.
    """

    def blocks() -> Iterator[Array]:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            _header(file)
            step = shape[0] if fortran else stored.rows
            for at in range(0, shape[0], step):
                block = (min(step, shape[0] - at), *shape[1:])
                content = file.read(math.prod(block) * dtype.itemsize)
                yield np.frombuffer(content, dtype).reshape(block, order="F" if fortran else "C")

    stored = Stored(shape, dtype, blocks)
    return stored


def _pt(path: Path) -> dict[str, Stored]:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if isinstance(content, torch.Tensor):
        content = {"images": content}
    if isinstance(content, tuple | list) and len(content) == 2:
        content = dict(zip(("images", "labels"), content, strict=True))
    if not isinstance(content, Mapping) or not all(isinstance(one, torch.Tensor) for one in content.values()):
        raise ValueError(f"must contain {PT}")
    tensors = {str(name): tensor.detach() for name, tensor in content.items()}
    return {
        name: _of_array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
        for name, tensor in tensors.items()
    }


def _of_array(array: Array) -> Stored:
    def blocks() -> Iterator[Array]:
        for at in range(0, len(array), stored.rows):
            yield array[at : at + stored.rows]

    stored = Stored(array.shape, array.dtype, blocks)
    return stored


FORMATS = {".npy": _npy, ".npz": _npz, ".pt": _pt, ".pth": _pt}
