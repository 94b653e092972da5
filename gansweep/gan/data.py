"""Real images, decoded and resized once into a memory-mapped uint8 cache that all trials of a machine share.

NumPy only: where a set is cached, a plan finds it in milliseconds, and neither plan nor trial imports torchvision.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import sys
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gansweep.errors import UserError
from gansweep.gan import earlier
from gansweep.gan.notes import Note
from gansweep.gan.reader import Decoded, Reader, Source
from gansweep.gan.sources import reader_of
from gansweep.records import lock
from gansweep.records.layout import write_atomically, write_json
from gansweep.words import counted

Pixels = NDArray[np.uint8]
LATER_KEYS = ("per_class", "background", "subfolders")  # of a Source: the first caches were keyed without them
FEATURES = 32  # dimensions of gan/embedding.py
FIXED_NOISE = 64  # images of a sample grid
A_CLASS = 8  # in each row of a conditional model's grid, a row a class
MOST_SEEN, MOST_UNSEEN = 20_000, 2_000


@dataclass(frozen=True)
class ImageSet:
    """A prepared set. file: npy of uint8, (images, channels, image_size, image_size).

    fingerprint: 16 hex digits over pixels, shape and labels: equal sets have equal ones, wherever they lie.
    notes: what was converted and skipped, for people.
    """

    file: str
    fingerprint: str
    images: int
    channels: int
    image_size: int
    classes: tuple[str, ...]
    notes: tuple[Note, ...] = field(default=(), compare=False)

    def load(self) -> Pixels:
        """The pixels, memory-mapped (copy on write: the file is never changed)."""
        pixels: Pixels = np.load(self.file, mmap_mode="c")
        return pixels

    def labels(self) -> NDArray[np.int64]:
        """(images,) index into `classes`."""
        labels: NDArray[np.int64] = np.load(Path(self.file).with_suffix(".labels.npy"))
        return labels


def grid_size(classes: int) -> int:
    """Images of a sample grid, of a model that is asked for so many classes (0: for none)."""
    return A_CLASS * classes or FIXED_NOISE


def split_sizes(images: int, validation: float) -> tuple[int, int]:
    """How many images train and how many validate."""
    held_out = round(images * validation)
    return images - held_out, held_out


def evaluation_split(images: int) -> tuple[int, int]:
    """How many images train the embedding, and with how many others samples are compared."""
    return min(images // 2, MOST_SEEN), min(images - images // 2, MOST_UNSEEN)


def evaluation_samples(images: int, wanted: int) -> int:
    """How many samples an evaluation draws: two real samples of that size must fit into the unseen images.

    Raises UserError where a Fréchet distance of FEATURES dimensions needs more.
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
    """The set from the cache, decoding (and downloading) it first where it isn't there.

    keep: fingerprints of sets that trials on record were trained on. Where one of them is the same folder as an
    earlier version of gansweep decoded it, those pixels are used as long as the cache has them.

    Raises UserError for a missing or unreadable source, and for classes that it lacks.
    """
    try:
        current = _current(source, cache)
    except UserError as refused:
        if before := _earlier(source, cache, keep()):
            return _with_notes(before, ("used", f"{earlier.KEPT}; today the folder is refused: {refused}"))
        raise
    if source.name != "image_folder" or current.fingerprint in (kept := keep()):
        return current
    if before := _earlier(source, cache, kept):
        return _with_notes(before, ("used", f"{earlier.KEPT}; {earlier.ANEW}"))
    return current


def _current(source: Source, cache: Path) -> ImageSet:
    reader = reader_of(source, cache)
    index = cache / f"{source.name}-{_key(source, reader.format, reader.signature())}.json"
    return _with_notes(_read(index) or _decode(reader, source, index), *reader.notes())


def _earlier(source: Source, cache: Path, keep: Container[str]) -> ImageSet | None:
    """The same files as version 0.1.0 decoded them, where they are in the cache and among those to keep."""
    signature = earlier.signature(source)
    found = _read(cache / f"{source.name}-{_key(source, earlier.FORMAT, signature)}.json") if signature else None
    return found if found and found.fingerprint in keep else None


def _key(source: Source, form: int, signature: Any) -> str:
    """16 hex digits; what came later than the first caches counts only where it is given."""
    given = {k: v for k, v in asdict(source).items() if k not in LATER_KEYS or v is not None}
    return hashlib.sha256(json.dumps([form, given, signature], default=str).encode()).hexdigest()[:16]


def _read(index: Path) -> ImageSet | None:
    """The set that an index vouches for; None where anything of it is missing or damaged."""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
        found = json.loads(index.read_text())
        notes = tuple((kind, text) for kind, text in found.pop("notes", ()))
        file, classes = str(index.parent / found["file"]), tuple(found["classes"])
        image_set = ImageSet(**{**found, "file": file, "classes": classes, "notes": notes})
        if len(image_set.load()) == len(image_set.labels()) == image_set.images:  # whole: numpy knows their sizes
            return image_set
    return None


def _with_notes(image_set: ImageSet, *notes: Note) -> ImageSet:
    return replace(image_set, notes=(*image_set.notes, *notes))


def _decode(reader: Reader, source: Source, index: Path) -> ImageSet:
    """Decode into a work file that takes its place when it is whole. Two processes do not decode the same twice."""
    work = index.parent / f".{source.name}-{_key(source, reader.format, None)}.npy"
    try:
        with _turn(work.with_suffix(".lock"), source):
            try:
                return _read(index) or _store(reader.decode(source, work), reader.classes(), index)
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


def _store(decoded: Decoded, classes: list[str], index: Path) -> ImageSet:
    rows, labels = decoded.rows, np.asarray(decoded.labels, np.int64)
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
    write_json(index, asdict(image_set))  # last: it vouches for the arrays
    return replace(image_set, file=str(file))


def _bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
