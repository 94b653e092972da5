"""Claims C1 to C3: classes of generated digits (sweeps study-c and study-c-conditional), counted by classes.py."""

import numpy as np

from analysis.studies.lib.rules import by_count, finding
from analysis.studies.lib.statistics import rejected

MANY = 10_000
UNSEEN = (5, 8)  # digits of which more than 60 samples contained none


def claims(sweeps):
    plain = [run.classes for run in sweeps["study-c"] if run.classes]
    asked = [run.classes["requested"] for run in sweeps["study-c-conditional"] if run.classes]
    return {"C1": uneven(plain), "C2": unseen(plain), "C3": requested(asked)}


def uneven(counts):
    powers = [rejected(one["samples"], np.array(one["real"]) / sum(one["real"])) for one in counts]
    several = sum(power > 0.5 for power in powers)
    text = f"80 samples are found uneven with a probability of {listed(powers)}"
    return finding(text, by_count(several, len(powers)), seeds=len(powers))


def unseen(counts):
    chances = [(1 - sum(one["samples"][digit] for digit in UNSEEN) / sum(one["samples"])) ** 60 for one in counts]
    several = sum(chance >= 0.05 for chance in chances)
    text = f"60 samples hold no 5 and no 8 with a probability of {listed(chances)}"
    return finding(text, by_count(several, len(chances)), seeds=len(chances))


def requested(counts):
    """Return counts with one row per requested class and one column per class assigned by the classifier."""
    worst = [float((np.diag(one) / np.sum(one, axis=1)).min()) for one in counts]
    several = sum(share >= 0.8 for share in worst)
    text = f"of the worst class {listed(worst)} of the samples are as requested"
    return finding(text, by_count(several, len(worst)), seeds=len(worst))


def listed(numbers):
    return ", ".join(f"{number:.2g}" for number in numbers)
