"""Runs of the studies in studies.jsonl.gz, and the quantities of studies.yaml for one run. NumPy only."""

import gzip
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gansweep import FAILURES, current_names

RECORDS = Path(__file__).parents[1] / "results" / "studies.jsonl.gz"
SETTLING = 100  # steps after a growth that roughness leaves out
GROWTH = "model.discriminator.growth.at"
G, D = "generator", "discriminator"
LOSSES = ("loss_d", "loss_g")
# Failures of version 0.1.0, which recorded the published studies, by its names. One of them is a state today.
FORMER_FAILURES = ("not_learning", "discriminator_dominance")


@dataclass(frozen=True)
class Run:
    """One recorded run.

    Attributes:
        settings: Dotted key → value.
        verdicts: Kinds at its end.
        series: Metric → [steps, values]; a loss is the mean since the previous record.
        classes: Counts of samples (classes.py), for study C only.
    """

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
        """Return a setting; a network without a value of its own has the common one. None if not set."""
        section, *network, name = key.split(".")
        own = self.settings.get(key)
        return self.settings.get(f"{section}.{name}") if own is None and network in ([G], [D]) else own

    @property
    def fails(self):
        """Whether the version that recorded the run called one of its verdicts a failure."""
        return not {*FAILURES, *FORMER_FAILURES}.isdisjoint(self.verdicts)

    def points(self, metric, after=-1, until=math.inf):
        """Return (steps, values) with after < step ≤ until."""
        steps, values = (np.array(column, float) for column in self.series.get(metric, ([], [])))
        chosen = (steps > after) & (steps <= until)
        return steps[chosen], values[chosen]

    def mean(self, metric, after, until):
        """Return the mean; NaN without values."""
        values = self.points(metric, after, until)[1]
        return float(values.mean()) if len(values) else math.nan

    def fd(self, share):
        """Return FD at a share of the run: the median of the three evaluations that end there.

        At the start it is the first evaluation.
        """
        values = self.points("fd_ratio", until=share * self.steps + 1e-9)[1][-3:]
        return float(np.median(values)) if len(values) else math.nan

    def roughness(self):
        """Return the roughness of both losses in the second half.

        Changes are between consecutive records. Records up to SETTLING steps after a growth, and the changes into and
        out of them, are excluded.
        """
        growth, found = self.get(GROWTH), []
        for metric in LOSSES:
            steps, values = self.points(metric, self.steps / 2)
            used = np.full(len(steps), True) if growth is None else (steps <= growth) | (steps > growth + SETTLING)
            changes = np.abs(np.diff(values))[used[1:] & used[:-1]]
            level = abs(values[used].mean()) if used.any() else 0
            found.append(changes.mean() / level if len(changes) and level else math.nan)
        return float(np.mean(found))


def read(path=RECORDS):
    """Return all recorded runs."""
    if not path.exists():
        return []
    with gzip.open(path, "rt") as file:
        runs = [Run(**json.loads(line)) for line in file]
    return [replace(run, series=current_names(run.series)) for run in runs]


def chosen(runs, settings):
    """Return the runs with these settings."""
    return [run for run in runs if all(run.get(key) == value for key, value in settings.items())]


def by_seed(run):
    return run.seed


def logs(runs, quantity, key=by_seed):
    """Return key → mean log of quantity(run) over the runs of a key; NaN if a quantity is not positive."""
    found = {}
    for run in runs:
        value = quantity(run)
        found.setdefault(key(run), []).append(math.log(value) if 0 < value < math.inf else math.nan)
    return {k: float(np.mean(values)) for k, values in found.items()}


def log_ratios(over, under, quantity, key=by_seed):
    """Return key → log of quantity(run of `over`) / quantity(run of `under`), for common keys."""
    first, second = logs(over, quantity, key), logs(under, quantity, key)
    return {k: first[k] - second[k] for k in first if k in second}


def quotient(a, b):
    return a / b if b else math.nan


def averaged(*ratios):
    """Return key → mean, for common keys: an average of ratios on the log scale."""
    keys = set(ratios[0]).intersection(*ratios[1:])
    return {k: float(np.mean([one[k] for one in ratios])) for k in sorted(keys)}
