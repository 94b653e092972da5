"""Source of images for the section `dataset` of a sweep file, with paths on this machine."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from gansweep.errors import UserError
from gansweep.gan.decode import Layout
from gansweep.gan.reader import Source
from gansweep.sweepfile.dataset import Dataset, rgb
from gansweep.usercode.code import Code

VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")  # the syntax of os.path.expandvars


def source_of(dataset: Dataset, code: Code) -> Source:
    """Return the source of the images that a section `dataset` describes.

    Args:
        dataset: The section of the sweep file.
        code: Copy of the code that its import path names; empty if it has none.

    Raises:
        UserError: A path contains a variable that is not set.
    """
    return Source(
        dataset.name,
        dataset.image_size,
        dataset.channels,
        place(dataset.path, "dataset.path"),
        tuple(dataset.classes) if dataset.classes else None,
        place(dataset.data_dir, "dataset.data_dir"),
        dataset.per_class,
        rgb(dataset.background) if dataset.background else None,
        dataset.subfolders,
        dataset.crop if dataset.crop != Layout.crop else None,
        dataset.options,
        code,
    )


def place(text: str | None, key: str) -> str | None:
    """Return the absolute path of a folder or file; None if `text` is None.

    Relative paths begin at the working directory. ~ and $VAR are expanded unless a file or folder with the literal name
    exists.

    Args:
        text: The path in the sweep file.
        key: Dotted key of the path, for messages.

    Raises:
        UserError: A variable is not set.
    """
    if text is None:
        return None
    path = Path(text)
    with contextlib.suppress(OSError):
        if path.exists():
            return str(path.absolute())
    expanded = os.path.expandvars(path.expanduser() if text.startswith("~") else text)
    if unset := VARIABLE.search(expanded):
        raise UserError(f"{key}: {text}: the variable {unset[0]} is not set")
    return str(Path(expanded).absolute())
