"""Formats of files that hold a generator, by ending. Does not load torch.

To add a format, write a module with `write` and `read` like weights.py and list it here.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from gansweep.errors import UserError

if TYPE_CHECKING:
    from gansweep.gan.restore import Restored

FORMATS = {
    ".safetensors": "gansweep.gan.formats.weights",
    ".pt2": "gansweep.gan.formats.exported",
    ".onnx": "gansweep.gan.formats.onnx",
}
IN_FOLDER = "model.safetensors"  # the generator in a folder with a model card


class Format(Protocol):
    """Module that writes and reads the files of one format."""

    def write(self, found: Restored, path: Path) -> None:
        """Write a generator. Raises UserError if the format cannot hold it."""
        ...

    def read(self, path: Path) -> Restored:
        """Return the generator in a file. Raises CheckpointError if it is damaged or holds no generator."""
        ...


def format_of(path: Path) -> Format:
    """Return the format of a file. Raises UserError for an unknown ending."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: not a file of a generator; name a {listed()} file")
    return cast(Format, importlib.import_module(FORMATS[path.suffix.lower()]))


def read(path: Path) -> Restored:
    """Return the generator in a file, or in a folder that `gansweep save` has written.

    Raises:
        UserError: The ending is unknown, or the package that reads the format is not installed.
        CheckpointError: The file is missing, damaged, or holds no generator.
    """
    path = path / IN_FOLDER if (path / IN_FOLDER).is_file() else path
    return format_of(path).read(path)


def listed() -> str:
    """Return the endings of all formats for messages, as in ".a, .b or .c"."""
    *first, last = FORMATS
    return f"{', '.join(first)} or {last}"
