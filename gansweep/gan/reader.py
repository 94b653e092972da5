"""Interface of the sources of real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from gansweep.errors import UserError
from gansweep.gan.notes import Note
from gansweep.gan.rows import Rows

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Source:
    """Specification of a set of images.

    Attributes:
        name: Name of the data set.
        image_size: Side in pixels.
        channels: 1 or 3; None: as stored.
        path: Path of an image folder.
        classes: Selected classes; None: all.
        data_dir: Folder of downloaded sets.
        per_class: Images per letter (glyphs).
        background: RGB colour behind transparent pixels of an image folder; None: white.
        subfolders: For an image folder `classes`, `ignore`, or None if the folder determines it.
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


@dataclass(frozen=True)
class Decoded:
    """Decoded images.

    Attributes:
        rows: The written file.
        labels: Index into the reader's classes of each image.
        notes: Conversions, for users.
    """

    rows: Rows
    labels: Sequence[int]
    notes: tuple[Note, ...] = ()


class Reader(Protocol):
    """Reader of one source. `format` is to be raised if the same files give other pixels."""

    format: ClassVar[int]

    def signature(self) -> Any:
        """Return plain data that is cheap to compute and changes when the files do."""

    def classes(self) -> list[str]:
        """Return the names of the labels."""

    def notes(self) -> tuple[Note, ...]:
        """Return notes that need no decoding."""

    def decode(self, source: Source, work: Path) -> Decoded:
        """Write all images to `work`.

        Raises:
            UserError: Files cannot be read.
            OSError: The images cannot be written, for example because the disk is full.
        """


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
