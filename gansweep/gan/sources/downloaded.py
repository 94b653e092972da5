"""MNIST, Fashion-MNIST and CIFAR-10 in torchvision's layout.

torchvision is imported only to download a set or to unpack CIFAR-10: importing it with torch takes 4 s, and the driver
of a sweep does not need it otherwise.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.pictures import Labelled, Pictures
from gansweep.gan.reader import Source

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


class Downloaded(Pictures):
    """Reader of the training images of a set.

    Args:
        source: Specification of the set.
        root: Folder of downloaded sets, which torchvision calls `root`.
    """

    def __init__(self, source: Source, root: Path) -> None:
        super().__init__(source, CLASSES[source.name].split())
        self._root, self._folder = root, root / DOWNLOADED[source.name][1]

    def signature(self) -> Any:
        if not _is_there(self._folder):
            _download(self.source.name, self._root)
        return [(f.name, f.stat().st_size) for f in sorted(self._folder.iterdir()) if f.is_file()]

    def pictures(self) -> Iterator[Labelled]:
        if self.source.name == "cifar10":
            yield from _download("cifar10", self._root)  # checks the digests of existing files, and unpacks them
            return
        pixels, labels = (_idx(self._folder / f"train-{part}") for part in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        yield from ((Image.fromarray(picture), int(label)) for picture, label in zip(pixels, labels, strict=True))


def open_source(source: Source, cache: Path) -> Downloaded:
    """Return the reader of a set in `dataset.data_dir`; in the cache if the sweep file does not set it."""
    return Downloaded(source, Path(source.data_dir).absolute() if source.data_dir else cache / "downloads")


def _is_there(folder: Path) -> bool:
    """Whether a folder exists and is not empty: a failed download may leave an empty one."""
    return folder.is_dir() and any(folder.iterdir())


def _download(name: str, root: Path) -> Any:
    """Return torchvision's dataset, downloaded if it is not on disk.

    Raises:
        UserError: The files are neither in `root` nor can they be downloaded.
    """
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
