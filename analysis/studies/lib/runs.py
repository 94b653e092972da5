"""Runs of the studies as studies.jsonl.gz has them, and what studies.yaml reads off one run. NumPy only."""

import gzip
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gansweep import FAILURES

RECORDS = Path(__file__).parents[1] / "results" / "studies.jsonl.gz"
SETTLING = 100  # steps after a growth that roughness leaves out
GROWTH = "model.discriminator.growth.at"
G, D = "generator", "discriminator"
LOSSES = ("loss_d", "loss_g")


@dataclass(frozen=True)
class Run:
    """settings: dotted key → value. verdicts: kinds at its end. series: metric → [steps, values], a loss at a step is
    its mean since the record before. classes: counts of samples (classes.py), of study C alone."""

    sweep: str
    id: str
    settings: dict
    seed: int
    steps: int
    outcome: str
    verdicts: list
    parameters: dict
    steps_per_s: float
    wall_s: float
    series: dict
    classes: dict | None = None

    def get(self, key):
        """A setting; what a network has not of its own is that of both. None where it is not set."""
        section, *network, name = key.split(".")
        own = self.settings.get(key)
        return self.settings.get(f"{section}.{name}") if own is None and network in ([G], [D]) else own

    @property
    def fails(self):
        return not set(FAILURES).isdisjoint(self.verdicts)

    def points(self, metric, after=-1, until=math.inf):
        """(steps, values) with after < step ≤ until."""
        steps, values = (np.array(column, float) for column in self.series.get(metric, ([], [])))
        chosen = (steps > after) & (steps <= until)
        return steps[chosen], values[chosen]

    def mean(self, metric, after, until):
        """NaN of nothing."""
        values = self.points(metric, after, until)[1]
        return float(values.mean()) if len(values) else math.nan

    def cfd(self, share):
        """At a share of the run: median of the three evaluations that end there; at the start it is the one."""
        values = self.points("cfd_ratio", until=share * self.steps + 1e-9)[1][-3:]
        return float(np.median(values)) if len(values) else math.nan

    def roughness(self):
        """Of both losses in the second half: changes are between records that stand one after the other; records up to
        SETTLING steps after a growth, and the changes into and out of them, are left out."""
        growth, found = self.get(GROWTH), []
        for metric in LOSSES:
            steps, values = self.points(metric, self.steps / 2)
            used = np.full(len(steps), True) if growth is None else (steps <= growth) | (steps > growth + SETTLING)
            changes = np.abs(np.diff(values))[used[1:] & used[:-1]]
            level = abs(values[used].mean()) if used.any() else 0
            found.append(changes.mean() / level if len(changes) and level else math.nan)
        return float(np.mean(found))


def read(path=RECORDS):
    """All runs; none where nothing was recorded."""
    if not path.exists():
        return []
    with gzip.open(path, "rt") as file:
        return [Run(**json.loads(line)) for line in file]


def chosen(runs, settings):
    """Those whose settings are these."""
    return [run for run in runs if all(run.get(key) == value for key, value in settings.items())]


def by_seed(run):
    return run.seed


def logs(runs, quantity, key=by_seed):
    """key → mean log of quantity(run) over the runs of a key; NaN where one is not a number above 0."""
    found = {}
    for run in runs:
        value = quantity(run)
        found.setdefault(key(run), []).append(math.log(value) if 0 < value < math.inf else math.nan)
    return {k: float(np.mean(values)) for k, values in found.items()}


def log_ratios(over, under, quantity, key=by_seed):
    """key → log of quantity(run of `over`) / quantity(run of `under`), for keys that both have."""
    first, second = logs(over, quantity, key), logs(under, quantity, key)
    return {k: first[k] - second[k] for k in first if k in second}


def quotient(a, b):
    return a / b if b else math.nan


def averaged(*ratios):
    """key → the mean, for keys that all have: an average of ratios on the log scale."""
    keys = set(ratios[0]).intersection(*ratios[1:])
    return {k: float(np.mean([one[k] for one in ratios])) for k in sorted(keys)}
