"""Base of sources that yield one picture after another, for sets whose files are not pictures themselves."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from gansweep.errors import UserError
from gansweep.gan import decode
from gansweep.gan.notes import Note
from gansweep.gan.reader import Decoded, Source, chosen, layout_of
from gansweep.gan.rows import Rows

Labelled = tuple[Image.Image, int | str]  # a picture and the label of its class
UNLABELLED = "all"  # the only class of a set without labels


class Pictures(ABC):
    """Base class of data sets that yield their pictures one by one. They are stored with 8 bits per channel.

    All images of the set are stored in colour if any picture has colour, unless the sweep file sets `channels`. Only
    one picture is in memory at a time.

    Args:
        source: The data set as the sweep file specifies it.
        known: Names of all classes in the order of the labels 0, 1, …; None: the labels that occur are the classes.

    Raises:
        UserError: The sweep file selects a class that the data set does not have.
    """

    format: ClassVar = 2

    def __init__(self, source: Source, known: list[str] | None = None) -> None:
        self.source, self._known = source, known
        if known is not None:
            chosen(source, known, source.name)

    @abstractmethod
    def signature(self) -> Any:
        """Return a signature of the files: plain data, cheap to compute, that changes whenever the files change."""

    @abstractmethod
    def pictures(self) -> Iterator[Labelled]:
        """Yield all pictures in the order of the set, each with its label."""

    def notes(self) -> tuple[Note, ...]:
        """Return the notes that are known before any picture is decoded."""
        return ()

    def findings(self) -> tuple[Note, ...]:
        """Return notes on what was found while the pictures were read."""
        return ()

    def name_of(self, label: int | str) -> str:
        """Return the name of the class of a label."""
        return self._known[int(label)] if self._known is not None else str(label)

    def decode(self, source: Source, work: Path) -> Decoded:
        """Write the pictures of the selected classes to the file `work`, and return them as decoded images.

        Raises:
            UserError: The source yields no pictures, or a selected class does not exist.
        """
        layout, labels, coloured = layout_of(source), list[int | str](), 0
        seen: dict[int | str, None] = {}
        with Rows(work, (0, layout.channels, layout.side, layout.side)) as rows:
            for picture, label in self.pictures():
                seen[label] = None
                if source.classes is not None and self.name_of(label) not in source.classes:
                    continue
                colour = decode.has_colour(picture)
                if colour and source.channels is None and layout.channels == 1:
                    rows.repeat_channel()
                    layout = replace(layout, channels=3)
                rows.append(decode.shaped(picture, layout))
                labels.append(label)
                coloured += colour
        if not seen:
            raise UserError(f"dataset: {source.path or source.name}: contains no images")
        order = self._order(seen)
        names = chosen(source, [self.name_of(label) for label in order], source.path or source.name)
        number = {name: i for i, name in enumerate(names)}
        converted = decode.greys_among_colours(source.channels, coloured, len(labels))
        return Decoded(rows, [number[self.name_of(label)] for label in labels], names, (*self.findings(), *converted))

    def _order(self, seen: dict[int | str, None]) -> list[int | str]:
        """Return all labels in order: 0, 1, … if the classes are known, else the integers seen, then the names seen."""
        if self._known is not None:
            return list(range(len(self._known)))
        numbers = sorted(label for label in seen if isinstance(label, int))
        return [*numbers, *sorted(label for label in seen if isinstance(label, str))]


def stamp(file: Path) -> list[int]:
    """Return a file's size, times of modification and change in ns, and inode. At least one differs after a change.

    Raises:
        OSError: The file does not exist.
    """
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def files_below(folder: Path) -> list[list[Any]]:
    """Return [relative path, size, modification time in ns] of each file below a folder, sorted by path.

    The list is empty if the folder does not exist.
    """
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with contextlib.suppress(OSError):  # a broken link
                about = path.stat()
                found.append([str(path.relative_to(folder)), about.st_size, about.st_mtime_ns])
    return sorted(found)
