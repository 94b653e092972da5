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
        subfolders: For an image folder, `classes` or `ignore`; None: the content of the folder decides.
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
        rows: File of the pixels, one image per row.
        labels: For each image, the index of its class in `classes`.
        classes: Names of the classes.
        notes: Notes for the user, such as on conversions and skipped files.
    """

    rows: Rows
    labels: Sequence[int]
    classes: Sequence[str]
    notes: tuple[Note, ...] = ()


class Reader(Protocol):
    """Reader of the images of one source.

    Attributes:
        format: Version of the decoding. Increase it if the same files give other pixels.
    """

    format: ClassVar[int]

    def signature(self) -> Any:
        """Return a signature of the files: plain data, cheap to compute, that changes whenever the files change."""

    def notes(self) -> tuple[Note, ...]:
        """Return the notes that are known before any image is decoded."""

    def decode(self, source: Source, work: Path) -> Decoded:
        """Write the images of the selected classes to the file `work`, and return them as decoded images.

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
    """Return the layout of decoded images.

    It is greyscale unless `channels` is set. Readers change it when they find pictures with colour.
    """
    return Layout(source.image_size, source.channels or 1, source.background or WHITE, {}, source.crop or Layout.crop)


def chosen(source: Source, known: Sequence[str], place: str) -> list[str]:
    """Return the names of the selected classes, in the order of the data set and not in that of the selection.

    Args:
        source: Specification with the selection.
        known: Names of all classes, in the order of the data set.
        place: Name of the data set in the error message.

    Raises:
        UserError: A selected class is not in `known`.
    """
    if source.classes is None:
        return list(known)
    if missing := [c for c in source.classes if c not in known]:
        raise UserError(
            f"dataset.classes: {place} has no class {', '.join(missing)};"
            f" it has {', '.join(known) or 'no subfolders with images'}"
        )
    return [c for c in known if c in source.classes]
