"""Fit the floor of `poor` to the tuning parts of the sets that share an embedding, and without each set in turn.

    python -m analysis.verdicts.fit_floor                                   # a minute

Prints the floors with the best mean balanced accuracy over the sets, and that of their middle on the set left out.
"""

import numpy as np

from analysis.verdicts.lib.records import runs_of
from analysis.verdicts.lib.sets import SETS
from analysis.verdicts.measure_tags import history, part
from gansweep import FAILURES, Judge

FLOORS = [round(float(floor), 2) for floor in np.arange(0.2, 0.6, 0.01)]
USING = [one.kind.name for one in Judge().detectors if "intact" in one.thresholds()]  # kinds with the floor
SHARED = [name for name, one in SETS.items() if name == one.of and one.features == "classifier"]


def cases(name, which):
    """Return the histories of a part of a set, and whether each is sound."""
    runs = [(run, label) for run, label in runs_of(name) if part(name, run) == which]
    return [(history(run, SETS[name].features), label is not None and bool(label["sound"])) for run, label in runs]


def balanced(found, floor):
    judge = Judge().with_thresholds({kind: {"intact": floor} for kind in USING})
    failed = np.array([judge.conclude(one)[0].kind in FAILURES for one, _ in found])
    sound = np.array([is_sound for _, is_sound in found])
    return (failed[~sound].mean() + (~failed)[sound].mean()) / 2


if __name__ == "__main__":
    tuning = {name: cases(name, "tuning") for name in SHARED}
    table = {name: {floor: balanced(found, floor) for floor in FLOORS} for name, found in tuning.items()}
    for left in (None, *SHARED):
        means = {floor: np.mean([table[name][floor] for name in SHARED if name != left]) for floor in FLOORS}
        best = [floor for floor in FLOORS if means[floor] > max(means.values()) - 1e-9]
        words = f"fitted to all: floors {best[0]} to {best[-1]}"
        if left:
            there = balanced(cases(left, "held-out"), best[len(best) // 2])
            words = (
                f"without {left}: floors {best[0]} to {best[-1]}; balanced accuracy on {left}, held out, {there:.2f}"
            )
        print(words)
