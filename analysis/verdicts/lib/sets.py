"""The data sets of the natural runs, and images of them that no GAN is trained on."""

from dataclasses import dataclass

import numpy as np

from gansweep import Source, prepare

A_LETTER, ANEW = 640, 60  # images of each letter: those that GANs are trained on, and others
DIGITS, DIGITS_WITHHELD = "digits-1197.npz", "digits-600.npz"
MNIST_TEST, CIFAR, CIFAR_TEST = "mnist-test.npz", "cifar10-train.zip", "cifar10-test.zip"


@dataclass(frozen=True)
class Set:
    """A data set, and natural runs of it.

    Attributes:
        name: Name of these runs: that of the set, with `_further` for runs that were drawn later, `_rest` for the rest
            of these, which was trained later still, and `_fresh` for runs that were drawn and trained after rules were
            fixed.
        dataset: Section of the sweep file, without the size.
        runs, steps: Number and length of the runs.
        seed: Seed of their settings.
        most_rate: Largest learning rate.
        features: Embedding that its runs are judged in.
    """

    name: str
    dataset: str
    runs: int
    steps: int
    seed: int
    most_rate: float = 5e-2
    features: str = "classifier"

    @property
    def of(self):
        """Name of the data set."""
        return self.name.partition("_")[0]

    @property
    def is_rest(self):
        """Whether they are the rest of a draw, which has one sweep file."""
        return self.name.endswith("_rest")

    @property
    def is_fresh(self):
        """Whether they were drawn and trained after rules were fixed."""
        return self.name.endswith("_fresh")

    @property
    def sweep(self):
        """Name of the sweep that trains them."""
        return f"fourth-{self.name.replace('_rest', '_further')}"


SETS = {
    one.name: one
    for one in (
        Set("digits", f"name: arrays, path: {DIGITS}", 100, 1500, 41),
        Set("mnist", "name: mnist", 100, 1500, 42),  # --set dataset.data_dir=FOLDER
        Set("glyphs", "name: glyphs", 100, 1500, 43),
        Set("cifar10", f"name: archive, path: {CIFAR}", 40, 5000, 44, 1e-2, "self_supervised"),
        Set("digits_further", f"name: arrays, path: {DIGITS}", 80, 1500, 45),
        Set("glyphs_further", "name: glyphs", 50, 1500, 47),
        Set("cifar10_further", f"name: archive, path: {CIFAR}", 60, 5000, 46, 1e-2, "self_supervised"),
        Set("digits_rest", f"name: arrays, path: {DIGITS}", 30, 1500, 45),
        Set("glyphs_rest", "name: glyphs", 20, 1500, 47),
        Set("digits_fresh", f"name: arrays, path: {DIGITS}", 20, 1500, 51),
        Set("mnist_fresh", "name: mnist", 20, 1500, 52),
        Set("glyphs_fresh", "name: glyphs", 20, 1500, 53),
    )
}


def images_of(name, home):
    """Return the image set that GANs of a data set are trained on. Files of HOME: those of make_sets.py, and mnist/."""
    source = {
        "digits": Source("arrays", 32, path=str(home.path / DIGITS)),
        "mnist": Source("mnist", 32, data_dir=str(home.path / "mnist")),
        "glyphs": Source("glyphs", 32),
        "cifar10": Source("archive", 32, path=str(home.path / CIFAR)),
    }[name]
    return prepare(source, home.cache)


def untrained(name, home):
    """Return images of a data set that no GAN was trained on, (N, C, 32, 32) uint8, and their classes.

    Files of HOME are those of make_sets.py.
    """
    if name == "glyphs":  # rendered anew: the images of a letter that follow
        images = prepare(Source("glyphs", 32, per_class=A_LETTER + ANEW), home.cache)
        chosen = np.flatnonzero(np.arange(images.images) % (A_LETTER + ANEW) >= A_LETTER)
        return images.load()[chosen], images.labels()[chosen]
    kind, file = {
        "digits": ("arrays", DIGITS_WITHHELD),
        "mnist": ("arrays", MNIST_TEST),
        "cifar10": ("archive", CIFAR_TEST),
    }[name]
    images = prepare(Source(kind, 32, path=str(home.path / file)), home.cache)
    return images.load(), images.labels()
