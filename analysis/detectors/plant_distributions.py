"""Evaluate image sets that are collapsed, dead or sound by construction (docs/verdicts.md, "Ground truth" 1).

python -m analysis.detectors.plant_distributions HOME analysis/detectors/results/planted.jsonl.gz [MNIST_FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
import torch

from analysis.detectors.lib.histories import compact, write
from gansweep import Evaluator, Home, Source, evaluation_halves, prepare, reference_of

SAMPLES, DRAWS, CASES = 256, 10, 100  # images per draw, draws (evaluations) per case, cases per kind and data set
UNSEEN = 2_000  # number of unseen images that evaluations compare with
CONTEXT = {}


def classes(count):
    """Draw real images of `count` classes, evenly."""

    def draw(rng, real, labels):
        there = np.flatnonzero(np.isin(labels, rng.permutation(10)[:count]))
        return lambda: real[rng.choice(there, SAMPLES, replace=len(there) < SAMPLES)]

    return draw


def pool(count):
    """Draw from a pool of a few real images."""

    def draw(rng, real, labels):
        few = rng.choice(len(real), count, replace=False)
        return lambda: real[rng.choice(few, SAMPLES)]

    return draw


def prototypes(rng, real, labels):
    """Draw two real images with grey noise."""
    two = real[rng.choice(len(real), 2, replace=False)].astype(float)
    return lambda: noisy(rng, two[rng.integers(0, 2, SAMPLES)], 25)


def constant(rng, real, labels):
    one = real[rng.integers(len(real))].astype(float)
    return lambda: noisy(rng, np.repeat(one[None], SAMPLES, 0), 1)


def flat(level):
    return lambda rng, real, labels: lambda: np.full((SAMPLES, *real.shape[1:]), level, np.uint8)


def noise(rng, real, labels):
    return lambda: rng.integers(0, 256, (SAMPLES, *real.shape[1:]), np.uint8)


def blur(rng, real, labels):
    """Blur real images with a box of 15 pixels."""

    def draw():
        images = torch.from_numpy(real[rng.choice(len(real), SAMPLES, replace=False)]).float()
        return torch.nn.functional.avg_pool2d(images, 15, 1, 7).round().byte().numpy()

    return draw


def zipf(rng, real, labels):
    """Draw every class, the n-th with a share proportional to 1/n."""
    share = (1 / np.arange(1, 11))[rng.permutation(10)][labels]
    return lambda: real[rng.choice(len(real), SAMPLES, p=share / share.sum())]


def honest(rng, real, labels):
    return lambda: real[rng.choice(len(real), SAMPLES, replace=False)]


def noisy(rng, images, size):
    return np.clip(images + rng.normal(0, size, images.shape), 0, 255).astype(np.uint8)


KINDS = {  # kind of failure → its plants, and how each is drawn
    "dead_generator": {"constant": constant, "black": flat(0), "saturated": flat(255), "grey": flat(128)},
    "mode_collapse": {
        "pool_5": pool(5), "pool_20": pool(20), "pool_50": pool(50), "one_class": classes(1), "prototypes": prototypes,
    },
    "mode_dropping": {f"classes_{n}": classes(n) for n in (4, 5, 6, 7)},
    "not_learning": {"noise": noise, "blur": blur},
    "grey": {"classes_8": classes(8), "classes_9": classes(9), "zipf": zipf},
    "honest": {"honest": honest},
}  # fmt: skip
PLANTS = {plant: (kind, draw) for kind, plants in KINDS.items() for plant, draw in plants.items()}


def case(task):
    """Return one line of the output."""
    home, name, data_dir, plant, number = task
    torch.set_num_threads(1)
    if name not in CONTEXT:
        images = prepare(Source(name, 32, data_dir=data_dir), home.cache)
        unseen = evaluation_halves(images.images)[1]
        unseen = unseen[UNSEEN:] if len(unseen) > 2 * UNSEEN else unseen  # if possible, not those compared with
        CONTEXT[name] = Evaluator(reference_of(images)[0], SAMPLES, 0), images.load()[unseen], images.labels()[unseen]
    evaluator, real, labels = CONTEXT[name]
    kind, make = PLANTS[plant]
    draw = make(np.random.default_rng([number, list(PLANTS).index(plant)]), real, labels)
    points = [(step, evaluator.quality(draw())) for step in range(DRAWS)]
    about = {"source": f"planted-{name}", "id": f"{plant}-{number}", "settings": {"plant": plant}}
    return {**about, "budget": DRAWS - 1, "label": {"kind": kind}, "series": compact(points)}


if __name__ == "__main__":
    home, output, *folder = sys.argv[1:]
    sets = [("digits", None), *(("mnist", f) for f in folder)]
    home = Home(Path(home).absolute())
    plants = [(p, number) for kind in KINDS.values() for p in kind for number in range(CASES // len(kind))]
    write(output, case, [(home, *one, *plant) for one in sets for plant in plants])
