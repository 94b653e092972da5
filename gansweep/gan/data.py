"""Real images, decoded and resized once into a memory-mapped uint8 cache that all trials of a machine share.

NumPy only: a trial never imports torchvision or scikit-learn, and a plan finds a cached set in milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gansweep.errors import UserError
from gansweep.records.layout import write_atomically, write_json

Pixels = NDArray[np.uint8]
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
CACHE_FORMAT = 2  # raise when decoding or resizing changes
TORCHVISION_SETS = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
}


@dataclass(frozen=True)
class Source:
    """Which images, as what. channels None: as they are stored."""

    name: str
    image_size: int
    channels: int | None = None
    path: str | None = None
    classes: tuple[str, ...] | None = None
    data_dir: str | None = None


@dataclass(frozen=True)
class ImageSet:
    """A prepared set. file: npy of uint8, (images, channels, image_size, image_size).

    fingerprint: 16 hex digits over pixels, shape and labels: equal sets have equal ones, wherever they lie.
    """

    file: str
    fingerprint: str
    images: int
    channels: int
    image_size: int
    classes: tuple[str, ...]

    def load(self) -> Pixels:
        """The pixels, memory-mapped (copy on write: the file is never changed)."""
        pixels: Pixels = np.load(self.file, mmap_mode="c")
        return pixels

    def labels(self) -> NDArray[np.int64]:
        """(images,) index into `classes`."""
        labels: NDArray[np.int64] = np.load(Path(self.file).with_suffix(".labels.npy"))
        return labels


def split_sizes(images: int, validation: float) -> tuple[int, int]:
    """How many images train and how many validate."""
    held_out = round(images * validation)
    return images - held_out, held_out


def prepare(source: Source, cache: Path) -> ImageSet:
    """The set from the cache, decoding (and downloading) it first where it isn't there.

    Raises UserError for a missing or unreadable source.
    """
    reader = (
        _folder_reader(source)
        if source.name == "image_folder"
        else (_digits_reader() if source.name == "digits" else _torchvision_reader(source, cache))
    )
    key = hashlib.sha256(
        json.dumps([CACHE_FORMAT, asdict(source), reader.signature()], default=str).encode()
    ).hexdigest()[:16]
    index = cache / f"{source.name}-{key}.json"
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
        found = json.loads(index.read_text())
        image_set = ImageSet(**{**found, "file": str(cache / found["file"]), "classes": tuple(found["classes"])})
        if len(image_set.load()) == len(image_set.labels()) == image_set.images:  # whole: numpy knows their sizes
            return image_set
    pixels, labels, classes = _decode(reader, source)
    try:
        return _store(pixels, labels, classes, index)
    except OSError as error:
        raise UserError(
            f"{cache}: the decoded images cannot be written ({error.strerror}); name another disk with --home"
        ) from None


@dataclass(frozen=True)
class _Reader:
    """signature: cheap, changes when the files do. images: yields (picture, label) pairs. classes: label names."""

    signature: Callable[[], Any]
    images: Callable[[], Iterator[tuple[Image.Image, int]]]
    classes: Callable[[], list[str]]


def _decode(reader: _Reader, source: Source) -> tuple[Pixels, NDArray[np.int64], list[str]]:
    pictures, labels, channels = [], [], source.channels
    for picture, label in reader.images():
        if channels is None:  # the first picture speaks for the set
            channels = 1 if picture.mode in ("L", "1", "I", "I;16", "LA") else 3
        pictures.append(_resize(picture, source.image_size, channels))
        labels.append(label)
    return np.stack(pictures), np.asarray(labels, np.int64), reader.classes()


def _resize(picture: Image.Image, side: int, channels: int) -> Pixels:
    """(channels, side, side): the middle square, resampled bicubically (antialiased when shrinking)."""
    if picture.mode.startswith("I;16"):  # Pillow would cut off at 255 all that is brighter
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.width != picture.height:
        edge = min(picture.size)
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        picture = picture.crop((left, top, left + edge, top + edge))
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.uint8).reshape(side, side, channels).transpose(2, 0, 1)


def _store(pixels: Pixels, labels: NDArray[np.int64], classes: list[str], index: Path) -> ImageSet:
    digest = hashlib.sha256(repr((pixels.shape, classes)).encode())
    digest.update(pixels.tobytes())
    digest.update(labels.tobytes())
    fingerprint = digest.hexdigest()[:16]
    name = f"{fingerprint}.npy"
    write_atomically(index.parent / name, _bytes(pixels))
    write_atomically(index.parent / f"{fingerprint}.labels.npy", _bytes(labels))
    image_set = ImageSet(name, fingerprint, len(pixels), pixels.shape[1], pixels.shape[2], tuple(classes))
    write_json(index, asdict(image_set))  # last: it vouches for the arrays
    return ImageSet(**{**asdict(image_set), "file": str(index.parent / name), "classes": tuple(classes)})


def _bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _digits_reader() -> _Reader:
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

    return _Reader(lambda: path.stat().st_size, images, lambda: [str(i) for i in range(10)])


def _torchvision_reader(source: Source, cache: Path) -> _Reader:
    class_name, folder = TORCHVISION_SETS[source.name]
    root = Path(source.data_dir).absolute() if source.data_dir else cache.absolute() / "downloads"
    loaded: dict[str, Any] = {}

    def dataset() -> Any:
        if not loaded:
            import torchvision  # only here: 2 s, and only before a set is cached

            if not (root / folder).is_dir():
                print(f"downloading {source.name} to {root}", file=sys.stderr)
            try:
                with contextlib.redirect_stdout(sys.stderr):  # its progress bar
                    loaded["set"] = getattr(torchvision.datasets, class_name)(str(root), download=True)
            except Exception as error:
                reason = " ".join(str(error).split())
                raise UserError(
                    f"dataset.data_dir: {source.name} is not in {root} and could not be downloaded ({reason});"
                    " name the folder that holds it with --set dataset.data_dir=FOLDER"
                ) from None
        return loaded["set"]

    def signature() -> Any:
        if not (root / folder).is_dir():
            dataset()
        return [(f.name, f.stat().st_size) for f in sorted((root / folder).iterdir()) if f.is_file()]

    def images() -> Iterator[tuple[Image.Image, int]]:
        for picture, label in dataset():
            yield picture, int(label)

    return _Reader(signature, images, lambda: [str(c) for c in dataset().classes])


def _folder_reader(source: Source) -> _Reader:
    """A folder of images; its subfolders, where it has any with images, are the classes."""
    assert source.path is not None
    root = Path(source.path).absolute()
    if not root.is_dir():
        raise UserError(f"dataset.path: {source.path}: no such folder")
    try:
        subfolders = sorted(d for d in root.iterdir() if d.is_dir() and any(_images_in(d)))
        if source.classes is not None:
            known = [d.name for d in subfolders]
            if missing := [c for c in source.classes if c not in known]:
                raise UserError(
                    f"dataset.classes: {source.path} has no class {', '.join(missing)};"
                    f" it has {', '.join(known) or 'no subfolders with images'}"
                )
            subfolders = [d for d in subfolders if d.name in source.classes]
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
    return _Reader(lambda: [stamp(f) for f, _ in files], images, lambda: [d.name for d in subfolders] or ["all"])


def _images_in(folder: Path) -> Iterator[Path]:
    """Raises OSError where a folder cannot be read (rglob would pass over it in silence)."""

    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, n) for n in names if Path(n).suffix.lower() in SUFFIXES)
