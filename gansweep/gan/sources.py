"""Where real images come from: a reader for each kind of source, one picture after another.

torchvision is imported only to download a set or to unpack CIFAR-10: it takes 4 s with torch, which a sweep's driver
needs for nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan import glyphs
from gansweep.gan.decode import resized
from gansweep.gan.folder import open_folder
from gansweep.gan.notes import Note
from gansweep.gan.reader import Decoded, Reader, Source, chosen
from gansweep.gan.rows import Rows
from gansweep.records.layout import write_atomically

# name → torchvision's class, its folder
DOWNLOADED = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
}
CLASSES = {
    "mnist": "0 1 2 3 4 5 6 7 8 9",
    "fashion_mnist": "t-shirt trouser pullover dress coat sandal shirt sneaker bag boot",
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
}
UINT8_IDX = 0x0800  # of an idx file's magic number; the lowest byte counts dimensions


@dataclass(frozen=True)
class Pictures:
    """A source that yields its own pictures, all of one mode, in 8 bits. images: yields (picture, label) pairs."""

    format: ClassVar = 2
    signature: Callable[[], Any]
    images: Callable[[], Iterator[tuple[Image.Image, int]]]
    classes: Callable[[], list[str]]

    def notes(self) -> tuple[Note, ...]:
        return ()

    def decode(self, source: Source, work: Path) -> Decoded:
        pixels, labels, channels = [], [], source.channels
        for picture, label in self.images():
            channels = channels or (1 if picture.mode == "L" else 3)
            pixels.append(resized(picture, source.image_size, channels))
            labels.append(label)
        with Rows(work, (len(pixels), *pixels[0].shape)) as rows:
            for index, image in enumerate(pixels):
                rows[index] = image
        return Decoded(rows, labels)


def reader_of(source: Source, cache: Path) -> Reader:
    """cache: folder for what is downloaded or drawn. Raises UserError for a missing source or class."""
    match source.name:
        case "image_folder":
            return open_folder(source)
        case "glyphs":
            return _glyphs(source, cache / f"glyphs-{glyphs.VERSION}")
        case "digits":
            return _only(source, _digits())
        case name:
            root = Path(source.data_dir).absolute() if source.data_dir else cache / "downloads"
            return _only(source, _downloaded(name, root))


def _only(source: Source, reader: Pictures) -> Pictures:
    """The chosen classes of a reader of all."""
    known = reader.classes()
    names = chosen(source, known, source.name)
    new_label = {known.index(name): i for i, name in enumerate(names)}

    def images() -> Iterator[tuple[Image.Image, int]]:
        yield from ((picture, new_label[label]) for picture, label in reader.images() if label in new_label)

    return replace(reader, images=images, classes=lambda: names)


def _digits() -> Pictures:
    """scikit-learn's copy of the UCI handwritten digits, 1,797 of 8×8 (read without importing scikit-learn)."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"

    def images() -> Iterator[tuple[Image.Image, int]]:
        rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
        for row in rows:
            # 0…16 → 0…255
            yield Image.fromarray(np.minimum(row[:64] * 16, 255).astype(np.uint8).reshape(8, 8)), int(row[64])

    return Pictures(lambda: path.stat().st_size, images, lambda: [str(i) for i in range(10)])


def _downloaded(name: str, root: Path) -> Pictures:
    """The training part of a set in torchvision's layout. root: what torchvision calls so."""
    folder = root / DOWNLOADED[name][1]

    def signature() -> Any:
        if not _is_there(folder):
            _download(name, root)
        return [(f.name, f.stat().st_size) for f in sorted(folder.iterdir()) if f.is_file()]

    def images() -> Iterator[tuple[Image.Image, int]]:
        if name == "cifar10":
            yield from _download(name, root)  # checks the digests of what is there, and unpacks it
            return
        pixels, labels = (_idx(folder / f"train-{part}") for part in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        yield from ((Image.fromarray(picture), int(label)) for picture, label in zip(pixels, labels, strict=True))

    return Pictures(signature, images, lambda: CLASSES[name].split())


def _is_there(folder: Path) -> bool:
    """A download that failed leaves an empty folder."""
    return folder.is_dir() and any(folder.iterdir())


def _download(name: str, root: Path) -> Any:
    """torchvision's dataset, from disk where it is there."""
    import torchvision

    class_name, folder = DOWNLOADED[name]
    made = [place for place in (root / folder, *(root / folder).parents) if not place.exists()]
    if not _is_there(root / folder):
        print(f"downloading {name} to {root}", file=sys.stderr)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its progress bar
            return getattr(torchvision.datasets, class_name)(str(root), download=True)
    except Exception as error:
        for place in made:  # by torchvision, before it knew
            with contextlib.suppress(OSError):
                place.rmdir()
        reason = " ".join(str(error).split())
        raise UserError(
            f"dataset.data_dir: {name} is not in {root} and could not be downloaded ({reason});"
            " name the folder that holds it with --set dataset.data_dir=FOLDER"
        ) from None


def _idx(file: Path) -> NDArray[np.uint8]:
    """The array in a file of the format of MNIST (LeCun): magic number, sizes, bytes. Raises UserError for others."""
    try:
        content = file.read_bytes()
        magic = int.from_bytes(content[:4], "big")
        dimensions = magic - UINT8_IDX
        if not 1 <= dimensions <= 3:
            raise ValueError("not an idx file of bytes")
        start = 4 + 4 * dimensions
        sizes = np.frombuffer(content[4:start], ">i4")
        return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)
    except (OSError, ValueError) as error:
        raise UserError(f"dataset.data_dir: {file}: cannot be read ({error})") from None


def _glyphs(source: Source, folder: Path) -> Pictures:
    """Letters, kept below `folder`, one folder a letter; what is not there (whole) is drawn.

    Drawing is as fast as reading: the files are there to be looked at, and to stay the same when a font changes.
    """
    letters = chosen(source, glyphs.LETTERS, source.name)
    # not "A" and "a": some file systems take them for the same
    places = [folder / f"{'upper' if letter.isupper() else 'lower'}-{letter}" for letter in letters]

    def images() -> Iterator[tuple[Image.Image, int]]:
        if not all(place.is_dir() for place in places):
            _say_drawing(folder)
        for label, (letter, place) in enumerate(zip(letters, places, strict=True)):
            for index in range(source.per_class or glyphs.PER_CLASS):
                yield _glyph(letter, index, place / f"{index:05d}.png"), label

    return Pictures(lambda: glyphs.VERSION, images, lambda: letters)


@functools.cache
def _say_drawing(folder: Path) -> None:
    """Once, however many sets of letters a sweep has."""
    print(f"drawing glyphs to {folder}", file=sys.stderr)


def _glyph(letter: str, index: int, file: Path) -> Image.Image:
    """From its file; drawn, and the file written, where that is missing or torn."""
    with contextlib.suppress(OSError, SyntaxError, ValueError), Image.open(file) as picture:
        picture.load()
        return picture
    drawn = glyphs.draw(letter, index)
    buffer = io.BytesIO()
    drawn.save(buffer, "png")
    write_atomically(file, buffer.getvalue())
    return drawn
