"""Real images, decoded and resized once into a memory-mapped uint8 cache that all trials on a machine share.

NumPy only: a cached set is found in milliseconds, and neither planning nor a trial imports torchvision.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import re
import sys
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gansweep.errors import UserError
from gansweep.features import GREY_SIDE
from gansweep.gan import earlier
from gansweep.gan.notes import Note
from gansweep.gan.reader import Decoded, Reader, Source, reader_of
from gansweep.gan.rows import open_rows
from gansweep.records import lock
from gansweep.records.layout import write_atomically, write_json
from gansweep.words import counted

Pixels = NDArray[np.uint8]
LATER_KEYS = (
    "per_class",
    "background",
    "subfolders",
    "crop",
    "options",
)  # fields of Source that the first caches lacked
FEATURES = 32  # dimensions of an embedding, at most
FIXED_NOISE = 64  # images of a sample grid
A_CLASS = 8  # images per row in the grid of a conditional model, which has one row per class
GRID_PIXELS = 2_080  # largest side of a grid of images of more than UNREDUCED pixels: 8 of 256 pixels and their gaps
UNREDUCED = 64  # pixels; smaller images are recorded as they are in grids of any size
MOST_SEEN, MOST_UNSEEN = 20_000, 2_000
REFERENCE_VERSION = 4  # part of a file's name; increase if the embedding or the split of gan/reference.py changes


@dataclass(frozen=True)
class ImageSet:
    """A prepared data set.

    Attributes:
        file: Path of the npy file of the pixels, uint8, (images, channels, image_size, image_size).
        fingerprint: Digest of pixels, shape, labels and their names, 16 hex digits. It does not depend on the location.
        images: Number of images.
        channels: 1 or 3.
        image_size: Side in pixels.
        classes: Names of the labels.
        notes: Conversions and skipped files, for users.
    """

    file: str
    fingerprint: str
    images: int
    channels: int
    image_size: int
    classes: tuple[str, ...]
    notes: tuple[Note, ...] = field(default=(), compare=False)

    def reference(self, features: str) -> Path:
        """Return the path of the reference data of evaluations: see gan/reference.py.

        Args:
            features: FeaturesConfig.key of the embedding.
        """
        return Path(self.file).with_suffix(f".{features}.reference-{REFERENCE_VERSION}.safetensors")

    def load(self) -> Pixels:
        """Return the pixels, memory-mapped. Writing to the array copies the page and never changes the file."""
        return open_rows(Path(self.file))

    def labels(self) -> NDArray[np.int64]:
        """Return the index into `classes` of each image, (images,)."""
        labels: NDArray[np.int64] = np.load(Path(self.file).with_suffix(".labels.npy"))
        return labels


def first_features(images: ImageSet) -> str:
    """Return the name of the embedding in which version 0.1.0 evaluated samples for a data set."""
    if len(images.classes) < 2:
        return "principal_components"
    return "classifier" if images.channels == 1 and images.image_size <= GREY_SIDE else "small_classifier"


def grid_size(classes: int) -> int:
    """Return the number of images in the sample grid of a model with `classes` classes (0: unconditional)."""
    return A_CLASS * classes or FIXED_NOISE


def grid_side(image_size: int, classes: int) -> int:
    """Return the side of an image in the sample grid, in pixels.

    It is `image_size`, halved until the grid fits into GRID_PIXELS or the image is not larger than UNREDUCED.
    """
    side, rows = image_size, max(A_CLASS, classes)
    while side > UNREDUCED and rows * side > GRID_PIXELS:
        side //= 2
    return side


def split_sizes(images: int, validation: float) -> tuple[int, int]:
    """Return the number of training images and of held-out images.

    Args:
        images: Number of all images.
        validation: Share of the images that is held out.
    """
    held_out = round(images * validation)
    return images - held_out, held_out


def evaluation_split(images: int) -> tuple[int, int]:
    """Return the number of images that train the embedding, and the number of others for comparison with samples."""
    return min(images // 2, MOST_SEEN), min(images - images // 2, MOST_UNSEEN)


def evaluation_samples(images: int, wanted: int) -> int:
    """Return the number of samples per evaluation.

    The number is `wanted`, but at most half of the images that the embedding has not seen, so that two real samples of
    that size can be drawn from them.

    Raises:
        UserError: The number is FEATURES or less, which is too few for a Fréchet distance in FEATURES dimensions.
    """
    samples = min(wanted, evaluation_split(images)[1] // 2)
    if samples <= FEATURES:
        least = FEATURES + 1
        what = counted(wanted, "sample") if samples == wanted else counted(images, "image")
        mend = f"give at least {least}" if samples == wanted else f"give at least {4 * least} images"
        raise UserError(
            f"evaluation.samples: {what} are too few for a Fréchet distance; {mend}, or evaluation.per_run: 0"
        )
    return samples


def prepare(source: Source, cache: Path, keep: Callable[[], Container[str]] = tuple) -> ImageSet:
    """Return the data set from the cache; decode (and download) it first if it is missing.

    Args:
        source: The images.
        cache: Folder of the cache.
        keep: Returns the fingerprints of sets that recorded trials were trained on. If the pixels that version 0.1.0
            decoded from the folder are among them and still in the cache, they are used.

    Raises:
        UserError: The source is missing or unreadable, or lacks a requested class, or the cache cannot be written.
    """
    try:
        current = _current(source, cache)
    except UserError as refused:
        if before := _earlier(source, cache, keep()):
            return _with_notes(before, ("used", f"{earlier.KEPT}; the current rules refuse the folder: {refused}"))
        raise
    if source.name != "image_folder" or current.fingerprint in (kept := keep()):
        return current
    if before := _earlier(source, cache, kept):
        return _with_notes(before, ("used", f"{earlier.KEPT}; {earlier.ANEW}"))
    return current


def _current(source: Source, cache: Path) -> ImageSet:
    reader = reader_of(source, cache)
    index = cache / f"{_prefix(source)}-{_key(source, reader.format, reader.signature())}.json"
    return _with_notes(_read(index) or _decode(reader, source, index), *reader.notes())


def _earlier(source: Source, cache: Path, keep: Container[str]) -> ImageSet | None:
    """Return the images of a folder as version 0.1.0 decoded them.

    None if they are not in the cache, or if their fingerprint is not in `keep`.
    """
    signature = earlier.signature(source)
    found = _read(cache / f"{_prefix(source)}-{_key(source, earlier.FORMAT, signature)}.json") if signature else None
    return found if found and found.fingerprint in keep else None


def _prefix(source: Source) -> str:
    """Return the beginning of the names of a source's files in the cache."""
    return re.sub(r"[^\w-]+", "-", source.name)


def _key(source: Source, form: int, signature: Any) -> str:
    """Return the cache key of a source, 16 hex digits.

    Fields of the source that the first caches lacked count only if they are set. The location of the user's code does
    not count; its hash is the signature of a source that imports it.

    Args:
        source: The images.
        form: Format number of the reader.
        signature: Signature of the source's files.
    """
    fields = {k: v for k, v in asdict(source).items() if k != "code"}
    given = {k: v for k, v in fields.items() if k not in LATER_KEYS or v is not None}
    return hashlib.sha256(json.dumps([form, given, signature], default=str).encode()).hexdigest()[:16]


def _read(index: Path) -> ImageSet | None:
    """Return the set that an index file describes; None if the index or one of its arrays is missing or damaged."""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
        found = json.loads(index.read_text())
        notes = tuple((kind, text) for kind, text in found.pop("notes", ()))
        file, classes = str(index.parent / found["file"]), tuple(found["classes"])
        image_set = ImageSet(**{**found, "file": file, "classes": classes, "notes": notes})
        if len(image_set.load()) == len(image_set.labels()) == image_set.images:  # complete: numpy checks the sizes
            return image_set
    return None


def _with_notes(image_set: ImageSet, *notes: Note) -> ImageSet:
    return replace(image_set, notes=(*image_set.notes, *notes))


def _decode(reader: Reader, source: Source, index: Path) -> ImageSet:
    """Decode a set into a temporary file, which is renamed when it is complete, and return the set.

    If another process decodes the same set, wait for it and return its result.
    """
    work = index.parent / f".{_prefix(source)}-{_key(source, reader.format, None)}.npy"
    try:
        with _turn(work.with_suffix(".lock"), source):
            try:
                return _read(index) or _store(reader.decode(source, work), index)
            finally:
                work.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{index.parent}: the decoded images cannot be written ({error.strerror}); name another disk with --home"
        ) from None


def _turn(path: Path, source: Source) -> IO[str]:
    try:
        return lock.acquire(path)
    except lock.Locked:
        print(f"waiting for another process that decodes {source.path or source.name}", file=sys.stderr)
        return lock.acquire(path, wait_s=math.inf)


def _store(decoded: Decoded, index: Path) -> ImageSet:
    rows, labels, classes = decoded.rows, np.asarray(decoded.labels, np.int64), list(decoded.classes)
    digest = hashlib.sha256(repr((rows.shape, classes)).encode())
    for part in rows.parts():
        digest.update(part)
    digest.update(labels.tobytes())
    fingerprint = digest.hexdigest()[:16]
    file = index.parent / f"{fingerprint}.npy"
    rows.path.replace(file)
    write_atomically(file.with_suffix(".labels.npy"), _bytes(labels))
    count, channels, side, _ = rows.shape
    image_set = ImageSet(file.name, fingerprint, count, channels, side, tuple(classes), decoded.notes)
    write_json(index, asdict(image_set))  # last, since it implies that the arrays are complete
    return replace(image_set, file=str(file))


def _bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
