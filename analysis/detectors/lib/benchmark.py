"""The labelled benchmark: the records under analysis/detectors/results with their truth and part (docs/verdicts.md)."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np

from gansweep import History, Judge, current_kind, current_names

RESULTS = Path(__file__).parents[1] / "results"
LONG = 1500  # steps of the second round's runs
STEPS_EACH = 100  # steps between two evaluations of a planted distribution
TUNING = 64  # of 256: share of the second round's configurations used for tuning thresholds


def judge_of(kinds):
    """Return the judge of these kinds only."""
    return Judge(tuple(detector for detector in Judge().detectors if detector.kind.name in kinds))


def runs(source):
    """Yield each record of planted, dynamics or natural runs, with its history, truth and part.

    The truth maps kinds to True, False or None (grey).
    """
    for path in sorted(RESULTS.glob(f"{source}*.jsonl.gz")):
        with gzip.open(path, "rt") as file:
            for line in file:
                run = json.loads(line)
                # The steps of planted distributions are numbers of evaluations. All were judged in the classifier's
                # features of grey images.
                scale = STEPS_EACH if source == "planted" else 1
                found = [(scale * step, values) for step, values in points(run["series"])]
                run["history"] = History.of(found, scale * run["budget"], compared=True)
                run["truth"], run["part"] = truth(run), part(run)
                yield run


def points(series):
    """Return metric → [steps, values] as pairs (step, {metric: value}), in the order of steps."""
    named = current_names(series).items()
    found = [(s, {name: v}) for name, (steps, values) in named for s, v in zip(steps, values, strict=True)]
    return sorted(found, key=lambda point: point[0])


def part(run):
    """Return the part of a run: "tuning" or "held-out".

    The natural runs of the first round have been inspected and are used for tuning; the third round began when
    thresholds were final.
    """
    if run["budget"] < LONG:
        return "held-out" if run["source"].startswith("third-") else "tuning"
    digest = hashlib.sha256(json.dumps([run["source"], run["settings"]], sort_keys=True).encode()).digest()
    return "tuning" if digest[0] < TUNING else "held-out"


def truth(run):
    """Return the truth of a run as defined in docs/verdicts.md, from its construction or the second judge.

    A run whose samples never became anything has no truth about mode collapse: few different images, of nothing.
    """
    label = run["label"]
    if "kind" in label:  # by construction
        kinds = ("dead_generator", "mode_collapse", "mode_dropping", "never_took_off")
        # A plant of one kind says nothing about the others: a pool of five images lacks classes as well.
        return dict.fromkeys(kinds, False) if label["kind"] == "honest" else {current_kind(label["kind"]): True}
    if "diverged" in label:
        return {"divergence": True}
    dead = label["end"]["diversity"] < 0.05
    found = {"divergence": False, "dead_generator": dead}
    if not dead:
        found["mode_collapse"] = collapsed(label) if took_off(run["history"]) else None
    return found


def collapsed(label):
    """Whether samples are alike by the second judge, both at the end and after continuing; None: grey."""
    looks = [label["end"], label["continued"]]
    bad = [x["kl"] > np.log(2) or x["diversity"] < 0.5 or x["within"] < 0.4 for x in looks]
    good = [x["kl"] < 0.223 and x["diversity"] > 0.7 and x["within"] > 0.6 for x in looks]
    return True if all(bad) else False if all(good) else None


def took_off(history):
    """Whether the FD ratio was below half of its first value at some evaluation."""
    found = history["fd_ratio"].values
    return bool(np.nanmin(found) < 0.5 * found[0])
