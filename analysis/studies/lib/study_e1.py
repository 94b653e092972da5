"""Claim E1: letters differ in how early they are learned (sweep study-e-more).

A block is a learning rate, with or without augmentation, and a seed. Single evaluations are used, of letters that ran
in all blocks.
"""

from collections import defaultdict

import numpy as np

from analysis.studies.lib.rules import Finding, decided, finding
from analysis.studies.lib.statistics import friedman


def earliness(runs):
    """Decide E1 from the ranks of the steps at which letters are learned."""
    blocks = defaultdict(dict)
    for run in runs:
        blocks[*arm(run), run.seed][letter(run)] = learned(run)
    if not blocks:
        return Finding()
    blocks = [*blocks.values()]
    letters = sorted(set.intersection(*(set(block) for block in blocks)))
    p, w = friedman([[block[name] for name in letters] for block in blocks])
    first = {name: np.median([block[name] for block in blocks]) for name in letters}
    order = " ".join(sorted(letters, key=first.get))
    text = f"Friedman's p is {p:.2g}, Kendall's W {w:.2f}; from early to late: {order}"
    return finding(text, decided(p < 0.05, w < 0.2), seeds=len(letters))


def learned(run):
    """Return the first step at which FD is at most a quarter of its start; the last step if there is none."""
    steps, values = run.points("fd_ratio")
    below = values <= values[0] / 4
    return float(steps[below.argmax()]) if below.any() else float(run.steps)


def arm(run):
    return run.get("training.learning_rate"), augmented(run)


def augmented(run):
    return any(value for key, value in run.settings.items() if key.startswith("dataset.augment."))


def letter(run):
    return run.get("dataset.classes")[0]
