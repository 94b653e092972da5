"""Interface of the sources of real images."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from gansweep.datasets import data_set
from gansweep.errors import UserError
from gansweep.gan.decode import Layout
from gansweep.gan.notes import Note
from gansweep.gan.rows import Rows
from gansweep.usercode.code import Code

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Source:
    """Specification of a set of images.

    Attributes:
        name: Name of the data set, as in gansweep/datasets.py.
        image_size: Side in pixels.
        channels: 1 or 3; None: as stored.
        path: Path of a folder or file.
        classes: Selected classes; None: all.
        data_dir: Folder of downloaded sets.
        per_class: Images per letter (glyphs).
        background: RGB colour behind transparent pixels and around fitted images; None: white.
        subfolders: For an image folder `classes`, `ignore`, or None if the folder determines it.
        crop: How an image becomes square: `none` or `fit`; None: the central square.
        options: Options of the source; None: none.
        code: Copy of the user's code that an import path names.
    """

    name: str
    image_size: int
    channels: int | None = None
    path: str | None = None
    classes: tuple[str, ...] | None = None
    data_dir: str | None = None
    per_class: int | None = None
    background: tuple[int, int, int] | None = None
    subfolders: str | None = None
    crop: str | None = None
    options: Mapping[str, Any] | None = None
    code: Code = field(default_factory=Code)

    @property
    def argument(self) -> str:
        """The part of the name after a colon."""
        return self.name.partition(":")[2]


@dataclass(frozen=True)
class Decoded:
    """Decoded images.

    Attributes:
        rows: The written file.
        labels: Index into `classes` of each image.
        classes: Names of the labels.
        notes: Conversions, for users.
    """

    rows: Rows
    labels: Sequence[int]
    classes: Sequence[str]
    notes: tuple[Note, ...] = ()


class Reader(Protocol):
    """Reader of one source. `format` is to be raised if the same files give other pixels."""

    format: ClassVar[int]

    def signature(self) -> Any:
        """Return plain data that is cheap to compute and changes when the files do."""

    def notes(self) -> tuple[Note, ...]:
        """Return notes that need no decoding."""

    def decode(self, source: Source, work: Path) -> Decoded:
        """Write all images to `work`.

        Raises:
            UserError: Files cannot be read.
            OSError: The images cannot be written, for example because the disk is full.
        """


def reader_of(source: Source, cache: Path) -> Reader:
    """Return the reader of a source.

    Args:
        source: The images.
        cache: Folder for downloaded or drawn images.

    Raises:
        UserError: The source or a class is missing.
    """
    module = importlib.import_module(f"gansweep.gan.sources.{data_set(source.name).reader}")
    reader: Reader = module.open_source(source, cache)
    return reader


def layout_of(source: Source) -> Layout:
    """Return the format of the decoded images: greyscale until the pictures are known, unless `channels` is set."""
    return Layout(source.image_size, source.channels or 1, source.background or WHITE, {}, source.crop or Layout.crop)


def chosen(source: Source, known: Sequence[str], place: str) -> list[str]:
    """Return the selected classes in the order of the set, so that equal selections give equal sets.

    Raises:
        UserError: A class is unknown.
    """
    if source.classes is None:
        return list(known)
    if missing := [c for c in source.classes if c not in known]:
        raise UserError(
            f"dataset.classes: {place} has no class {', '.join(missing)};"
            f" it has {', '.join(known) or 'no subfolders with images'}"
        )
    return [c for c in known if c in source.classes]
