"""Pairs of runs whose grids are compared by eye: which, in which order, and on which side. Pure functions.

All of it was fixed before any grid was seen: docs/features.md.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from analysis.features.lib.names import REAL

PAIRS, CATCHES, MIRRORED = 60, 4, 12  # of two runs; of real images and a run; of the 60, shown again
LOOKS = ("first", "mirrored", "second")
SEED = 19


def balanced(runs, wanted, rng):
    """Return pairs of different runs, none twice. Each run occurs about as often as any other.

    Args:
        runs: Identifiers.
        wanted: Number of pairs.
        rng: NumPy generator.
    """
    left, counts, found = list(combinations(runs, 2)), dict.fromkeys(runs, 0), []
    while len(found) < wanted:
        rng.shuffle(left)
        left.sort(key=lambda pair: (max(counts[run] for run in pair), sum(counts[run] for run in pair)))
        found.append(left.pop(0))
        for run in found[-1]:
            counts[run] += 1
    return found


def looks(runs, seed=SEED):
    """Return what is shown: a row a grid pair, in order, with columns look, place, pair, a, b.

    `first` has all pairs; `mirrored` some of them with A and B exchanged, none of them catches; `second` all pairs in
    another order, with sides drawn anew.
    """
    rng = np.random.default_rng(seed)
    runs = sorted(runs)
    pairs = [*balanced(runs, PAIRS, rng), *((REAL, str(run)) for run in rng.choice(runs, CATCHES, replace=False))]
    first = _shown(pairs, rng)
    again = [first[at] for at in rng.permutation(len(first)) if REAL not in first[at][1:]][:MIRRORED]
    shown = {"first": first, "mirrored": [(pair, b, a) for pair, a, b in again], "second": _shown(pairs, rng)}
    rows = [(look, place, *one) for look in LOOKS for place, one in enumerate(shown[look], start=1)]
    return pd.DataFrame(rows, columns=["look", "place", "pair", "a", "b"])


def _shown(pairs, rng):
    """Return (number of the pair, run on side A, run on side B) in a random order, with random sides."""
    order, swapped = rng.permutation(len(pairs)), rng.random(len(pairs)) < 0.5
    return [(int(at), *(pairs[at][::-1] if swapped[at] else pairs[at])) for at in order]
