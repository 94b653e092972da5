"""Real images, decoded and resized once into a memory-mapped uint8 cache that all trials of a machine share.

NumPy only: where a set is cached, a plan finds it in milliseconds, and neither plan nor trial imports torchvision.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.sources import Reader, Source, reader_of
from gansweep.records.layout import write_atomically, write_json

Pixels = NDArray[np.uint8]
CACHE_FORMAT = 2  # raise when decoding or resizing changes
FEATURES = 32  # dimensions of gan/embedding.py
FIXED_NOISE = 64  # images of a sample grid
A_CLASS = 8  # in each row of a conditional model's grid, a row a class
MOST_SEEN, MOST_UNSEEN = 20_000, 2_000


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
        what = f"{wanted} samples" if samples == wanted else f"{images} images"
        mend = f"give at least {least}" if samples == wanted else f"give at least {4 * least} images"
        raise UserError(
            f"evaluation.samples: {what} are too few for a Fréchet distance; {mend}, or evaluation.per_run: 0"
        )
    return samples


def prepare(source: Source, cache: Path) -> ImageSet:
    """The set from the cache, decoding (and downloading) it first where it isn't there.

    Raises UserError for a missing or unreadable source, and for classes that it lacks.
    """
    reader = reader_of(source, cache)
    index = cache / f"{source.name}-{_key(source, reader)}.json"
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
        found = json.loads(index.read_text())
        image_set = ImageSet(**{**found, "file": str(cache / found["file"]), "classes": tuple(found["classes"])})
        if len(image_set.load()) == len(image_set.labels()) == image_set.images:  # whole: numpy knows their sizes
            return image_set
    try:
        pixels, labels, classes = _decode(reader, source)
        return _store(pixels, labels, classes, index)
    except OSError as error:
        raise UserError(
            f"{cache}: the decoded images cannot be written ({error.strerror}); name another disk with --home"
        ) from None


def _key(source: Source, reader: Reader) -> str:
    """16 hex digits; what came later than the first caches counts only where it is given."""
    given = asdict(source)
    if source.per_class is None:
        del given["per_class"]
    content = [CACHE_FORMAT, given, reader.signature()]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]


def _decode(reader: Reader, source: Source) -> tuple[Pixels, NDArray[np.int64], list[str]]:
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
