"""Letters drawn from fonts (gan/glyphs.py), kept in one folder per letter."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from gansweep.gan import glyphs
from gansweep.gan.pictures import Labelled, Pictures
from gansweep.gan.reader import Source, chosen
from gansweep.records.layout import write_atomically


class Letters(Pictures):
    """Reader of the images of letters in a folder. Missing or damaged images are drawn, and written to the folder.

    Drawing is as fast as reading. The files exist to be viewed, and so that images stay the same if a font changes.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        super().__init__(source, list(glyphs.LETTERS))
        self._folder = folder

    def signature(self) -> int:
        return glyphs.VERSION

    def pictures(self) -> Iterator[Labelled]:
        letters = chosen(self.source, glyphs.LETTERS, self.source.name)
        # not "A" and "a", which some file systems do not distinguish
        places = [self._folder / f"{'upper' if letter.isupper() else 'lower'}-{letter}" for letter in letters]
        if not all(place.is_dir() for place in places):
            _say_drawing(self._folder)
        for letter, place in zip(letters, places, strict=True):
            for index in range(self.source.per_class or glyphs.PER_CLASS):
                yield _glyph(letter, index, place / f"{index:05d}.png"), glyphs.LETTERS.index(letter)


def open_source(source: Source, cache: Path) -> Letters:
    """Return the reader of the letters, which are kept in the cache."""
    return Letters(source, cache / f"glyphs-{glyphs.VERSION}")


@functools.cache
def _say_drawing(folder: Path) -> None:
    """Print that letters are drawn, once per folder even if a sweep has several sets of letters."""
    print(f"drawing glyphs to {folder}", file=sys.stderr)


def _glyph(letter: str, index: int, file: Path) -> Image.Image:
    """Return a letter from its file. If the file is missing or damaged, draw the letter and write the file."""
    with contextlib.suppress(OSError, SyntaxError, ValueError), Image.open(file) as picture:
        picture.load()
        return picture
    drawn = glyphs.draw(letter, index)
    buffer = io.BytesIO()
    drawn.save(buffer, "png")
    write_atomically(file, buffer.getvalue())
    return drawn
