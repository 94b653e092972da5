"""Where real images come from: a reader for each kind of source, one picture after another.

torchvision is imported only to download a set or to unpack CIFAR-10: it takes 4 s with torch, which a sweep's driver
needs for nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gansweep.errors import UserError
from gansweep.gan import glyphs
from gansweep.records.layout import write_atomically

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
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
class Source:
    """Which images, as what. channels None: as they are stored. classes None: all. per_class: of glyphs."""

    name: str
    image_size: int
    channels: int | None = None
    path: str | None = None
    classes: tuple[str, ...] | None = None
    data_dir: str | None = None
    per_class: int | None = None


@dataclass(frozen=True)
class Reader:
    """signature: cheap, changes when the files do. images: yields (picture, label) pairs. classes: label names."""

    signature: Callable[[], Any]
    images: Callable[[], Iterator[tuple[Image.Image, int]]]
    classes: Callable[[], list[str]]


def reader_of(source: Source, cache: Path) -> Reader:
    """cache: folder for what is downloaded or drawn. Raises UserError for a missing source or class."""
    match source.name:
        case "image_folder":
            return _folder(source)
        case "glyphs":
            return _glyphs(source, cache / f"glyphs-{glyphs.VERSION}")
        case "digits":
            return _only(source, _digits())
        case name:
            root = Path(source.data_dir).absolute() if source.data_dir else cache / "downloads"
            return _only(source, _downloaded(name, root))


def _chosen(source: Source, known: Sequence[str], place: str) -> list[str]:
    """The classes asked for, in the set's own order: equal choices are equal sets. Raises UserError for others."""
    if source.classes is None:
        return list(known)
    if missing := [c for c in source.classes if c not in known]:
        raise UserError(
            f"dataset.classes: {place} has no class {', '.join(missing)};"
            f" it has {', '.join(known) or 'no subfolders with images'}"
        )
    return [c for c in known if c in source.classes]


def _only(source: Source, reader: Reader) -> Reader:
    """The chosen classes of a reader of all."""
    known = reader.classes()
    chosen = _chosen(source, known, source.name)
    new_label = {known.index(name): i for i, name in enumerate(chosen)}

    def images() -> Iterator[tuple[Image.Image, int]]:
        yield from ((picture, new_label[label]) for picture, label in reader.images() if label in new_label)

    return replace(reader, images=images, classes=lambda: chosen)


def _digits() -> Reader:
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

    return Reader(lambda: path.stat().st_size, images, lambda: [str(i) for i in range(10)])


def _downloaded(name: str, root: Path) -> Reader:
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

    return Reader(signature, images, lambda: CLASSES[name].split())


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


def _glyphs(source: Source, folder: Path) -> Reader:
    """Letters, kept below `folder`, one folder a letter; what is not there (whole) is drawn.

    Drawing is as fast as reading: the files are there to be looked at, and to stay the same when a font changes.
    """
    chosen = _chosen(source, glyphs.LETTERS, source.name)
    # not "A" and "a": some file systems take them for the same
    places = [folder / f"{'upper' if letter.isupper() else 'lower'}-{letter}" for letter in chosen]

    def images() -> Iterator[tuple[Image.Image, int]]:
        if not all(place.is_dir() for place in places):
            _say_drawing(folder)
        for label, (letter, place) in enumerate(zip(chosen, places, strict=True)):
            for index in range(source.per_class or glyphs.PER_CLASS):
                yield _glyph(letter, index, place / f"{index:05d}.png"), label

    return Reader(lambda: glyphs.VERSION, images, lambda: chosen)


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


def _folder(source: Source) -> Reader:
    """A folder of images; its subfolders, where it has any with images, are the classes."""
    assert source.path is not None
    root = Path(source.path).absolute()
    if not root.is_dir():
        raise UserError(f"dataset.path: {source.path}: no such folder; name another with --set dataset.path=FOLDER")
    try:
        subfolders = sorted(d for d in root.iterdir() if d.is_dir() and any(_images_in(d)))
        chosen = _chosen(source, [d.name for d in subfolders], source.path)
        subfolders = [d for d in subfolders if d.name in chosen]
        folders = subfolders or [root]
        files = [(f, i) for i, d in enumerate(folders) for f in sorted(_images_in(d))]
    except OSError as error:
        raise UserError(f"dataset.path: {error.filename}: cannot be read ({error.strerror})") from None
    if not files:
        raise UserError(f"dataset.path: {source.path}: holds no images ({', '.join(sorted(SUFFIXES))})")

    def images() -> Iterator[tuple[Image.Image, int]]:
        for file, label in files:
            try:
                with Image.open(file) as picture:
                    picture.load()
                    upright = ImageOps.exif_transpose(picture)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise UserError(f"dataset.path: {file}: not a readable image ({error})") from None
            yield upright, label

    def stamp(file: Path) -> tuple[str, int, int]:
        try:
            found = file.stat()
        except OSError as error:
            raise UserError(f"dataset.path: {file}: not a readable image ({error})") from None
        return str(file.relative_to(root)), found.st_size, found.st_mtime_ns

    # A set without classes is not named after its folder: the fingerprint holds wherever it lies.
    return Reader(lambda: [stamp(f) for f, _ in files], images, lambda: chosen or ["all"])


def _images_in(folder: Path) -> Iterator[Path]:
    """Raises OSError where a folder cannot be read (rglob would pass over it in silence)."""

    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, n) for n in names if Path(n).suffix.lower() in SUFFIXES)
