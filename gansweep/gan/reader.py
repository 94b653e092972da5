"""What a source of real images is asked for, and what it answers."""

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
    """Which images, as what. channels None: as they are stored. classes None: all. per_class: of glyphs.

    Of an image folder: background, RGB, below transparent pixels (None: white); subfolders: `classes`, `ignore`, or
    None for what the folder itself says.
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
    """Written images. labels: index into the reader's classes, one an image."""

    rows: Rows
    labels: Sequence[int]
    notes: tuple[Note, ...] = ()


class Reader(Protocol):
    """Reads one source. format: raise it when the same files become other pixels."""

    format: ClassVar[int]

    def signature(self) -> Any:
        """Plain data that is cheap to get and changes when the files do."""

    def classes(self) -> list[str]:
        """Names of the labels."""

    def notes(self) -> tuple[Note, ...]:
        """Remarks that need no decoding."""

    def decode(self, source: Source, work: Path) -> Decoded:
        """Write all images to `work`. Raises UserError for files that cannot be read, OSError for a full disk."""


def chosen(source: Source, known: Sequence[str], place: str) -> list[str]:
    """The classes asked for, in the set's own order: equal choices are equal sets. Raises UserError for others."""
    if source.classes is None:
        return list(known)
    if missing := [c for c in source.classes if c not in known]:
        raise UserError(
            f"dataset.classes: {place} has no class {', '.join(missing)};"
            f" it has {', '.join(known) or 'no subfolders with images'}"
        )
    return [c for c in known if c in source.classes]
