"""Sources of real images: one reader per kind of source, which yields one picture after another.

torchvision is imported only to download a set or to unpack CIFAR-10: importing it with torch takes 4 s, and the driver
of a sweep does not need it otherwise.
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

# name → torchvision's class and folder
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
UINT8_IDX = 0x0800  # magic number of an idx file; the lowest byte is the number of dimensions


@dataclass(frozen=True)
class Pictures:
    """A source that yields its own pictures, all of one mode with 8 bits. `images` yields (picture, label) pairs."""

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
    """Return the reader of a source.

    Args:
        source: The images.
        cache: Folder for downloaded or drawn images.

    Raises:
        UserError: The source or a class is missing.
    """
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
    """Restrict a reader to the selected classes."""
    known = reader.classes()
    names = chosen(source, known, source.name)
    new_label = {known.index(name): i for i, name in enumerate(names)}

    def images() -> Iterator[tuple[Image.Image, int]]:
        yield from ((picture, new_label[label]) for picture, label in reader.images() if label in new_label)

    return replace(reader, images=images, classes=lambda: names)


def _digits() -> Pictures:
    """Return scikit-learn's copy of the UCI handwritten digits, 1,797 of 8×8 (read without importing scikit-learn)."""
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
    """Return the training part of a set in torchvision's layout. `root` is torchvision's `root`."""
    folder = root / DOWNLOADED[name][1]

    def signature() -> Any:
        if not _is_there(folder):
            _download(name, root)
        return [(f.name, f.stat().st_size) for f in sorted(folder.iterdir()) if f.is_file()]

    def images() -> Iterator[tuple[Image.Image, int]]:
        if name == "cifar10":
            yield from _download(name, root)  # checks the digests of existing files, and unpacks them
            return
        pixels, labels = (_idx(folder / f"train-{part}") for part in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        yield from ((Image.fromarray(picture), int(label)) for picture, label in zip(pixels, labels, strict=True))

    return Pictures(signature, images, lambda: CLASSES[name].split())


def _is_there(folder: Path) -> bool:
    """Whether the files exist. A failed download leaves an empty folder."""
    return folder.is_dir() and any(folder.iterdir())


def _download(name: str, root: Path) -> Any:
    """Return torchvision's dataset, downloaded if it is not on disk."""
    import torchvision

    class_name, folder = DOWNLOADED[name]
    made = [place for place in (root / folder, *(root / folder).parents) if not place.exists()]
    if not _is_there(root / folder):
        print(f"downloading {name} to {root}", file=sys.stderr)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its progress bar
            return getattr(torchvision.datasets, class_name)(str(root), download=True)
    except Exception as error:
        for place in made:  # torchvision creates them before the download
            with contextlib.suppress(OSError):
                place.rmdir()
        reason = " ".join(str(error).split())
        raise UserError(
            f"dataset.data_dir: {name} is not in {root} and could not be downloaded ({reason});"
            " name the folder that holds it with --set dataset.data_dir=FOLDER"
        ) from None


def _idx(file: Path) -> NDArray[np.uint8]:
    """Return the array in a file of the format of MNIST (LeCun): magic number, sizes, bytes.

    Raises:
        UserError: The file has another format or cannot be read.
    """
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
    """Return a reader of letters, kept below `folder` in one folder per letter; missing or damaged images are drawn.

    Drawing is as fast as reading: the files exist to be viewed, and to stay the same if a font changes.
    """
    letters = chosen(source, glyphs.LETTERS, source.name)
    # not "A" and "a", which some file systems do not distinguish
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
    """Print a notice, once per folder even if a sweep has several sets of letters."""
    print(f"drawing glyphs to {folder}", file=sys.stderr)


def _glyph(letter: str, index: int, file: Path) -> Image.Image:
    """Return a letter from its file; draw it and write the file if that is missing or damaged."""
    with contextlib.suppress(OSError, SyntaxError, ValueError), Image.open(file) as picture:
        picture.load()
        return picture
    drawn = glyphs.draw(letter, index)
    buffer = io.BytesIO()
    drawn.save(buffer, "png")
    write_atomically(file, buffer.getvalue())
    return drawn
