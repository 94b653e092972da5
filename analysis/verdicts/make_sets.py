"""Write the files of data that the fourth round of natural runs and its labels need into HOME.

    python -m analysis.verdicts.make_sets HOME DATA

DATA has MNIST's idx files in MNIST/ and cifar10.zip with the folders train/CLASS and test/CLASS. The digits are split
in a fixed random order: GANs train on 1,197 of them, 600 are withheld.
"""

import gzip
import sys
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from analysis.verdicts.lib import sets

WITHHELD = 600


def digits(home):
    found = load_digits()
    images = np.minimum(found.images * 16, 255).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    for file, part in ((sets.DIGITS_WITHHELD, order[:WITHHELD]), (sets.DIGITS, order[WITHHELD:])):
        part = np.sort(part)
        np.savez_compressed(home / file, images=images[part], labels=found.target[part])


def idx(folder, name):
    """Return the array of an idx file, compressed or not."""
    path = next(folder.rglob(f"{name}*"))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def mnist(home, data):
    found = {"images": idx(data / "MNIST", "t10k-images"), "labels": idx(data / "MNIST", "t10k-labels")}
    np.savez_compressed(home / sets.MNIST_TEST, **found)


def cifar10(home, data):
    with zipfile.ZipFile(data / "cifar10.zip") as both:
        for file, part in ((sets.CIFAR, "train/"), (sets.CIFAR_TEST, "test/")):
            with zipfile.ZipFile(home / file, "w") as archive:
                for name in sorted(name for name in both.namelist() if name.startswith(part) and name[-1] != "/"):
                    archive.writestr(name.removeprefix(part), both.read(name))


if __name__ == "__main__":
    home, data = Path(sys.argv[1]), Path(sys.argv[2])
    home.mkdir(parents=True, exist_ok=True)
    digits(home)
    mnist(home, data)
    cifar10(home, data)
