"""The labelled benchmark: the records under analysis/detectors/results with their truth and part (docs/verdicts.md)."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np

from gansweep import History, Judge, current_names

RESULTS = Path(__file__).parents[1] / "results"
POOR = 6.0  # pixel distance, a quarter of a blank image's: above it there is something to recover from
LONG = 1500  # steps of the second round's runs
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
                run["history"] = History.of(points(run["series"]), run["budget"])
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
    """Return the truth of a run as defined in docs/verdicts.md, from its construction or the second judge."""
    label = run["label"]
    if "kind" in label:  # by construction
        kinds = ("dead_generator", "mode_collapse", "mode_dropping", "not_learning")
        # A plant of one kind says nothing about the others: a pool of five images lacks classes as well.
        return dict.fromkeys(kinds, False) if label["kind"] == "honest" else {label["kind"]: True}
    if "diverged" in label:
        return {"divergence": True}
    looks = [label["end"], label["continued"]]
    dead = label["end"]["diversity"] < 0.05
    found = {"divergence": False, "dead_generator": dead, "discriminator_dominance": dominated(label)}
    if not dead:
        bad = [x["kl"] > np.log(2) or x["diversity"] < 0.5 or x["within"] < 0.4 for x in looks]
        good = [x["kl"] < 0.223 and x["diversity"] > 0.7 and x["within"] > 0.6 for x in looks]
        found["mode_collapse"] = True if all(bad) else False if all(good) else None
    return found


def dominated(label):
    """Whether G improves only against a reset D; None: grey."""
    end, continued = (label[k]["pixel_distance"] for k in ("end", "continued"))
    if end < POOR or continued <= 0.9 * end:
        return False
    reset = label["reset"]["pixel_distance"]
    if reset > 0.9 * min(end, continued):
        return False
    return True if reset <= 0.7 * min(end, continued) else None


def baseline(run, kind):
    """Return the baseline's answer, which uses no detectors."""
    if kind == "mode_collapse":
        return run["settings"].get("training.learning_rate", 0) > 1e-2
    steps, values = run["series"].get("loss_d", [[], []])
    last = [v for s, v in zip(steps, values, strict=True) if s > 0.9 * run["budget"]]
    return bool(last) and np.mean(last) < 0.1
