"""Records of the natural runs, with the labels that lookers gave them."""

import gzip
import json

import pandas as pd

from analysis.verdicts.lib import looks
from analysis.verdicts.lib.sets import SETS

INTACT = looks.RESULTS / "intact.csv"


def recorded(name):
    """Return the runs of that name in SETS, in the order of their grids."""
    with gzip.open(looks.RESULTS / f"fourth_{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def intact_of(name):
    """Return run → seed → step → `intact`, for runs that were recorded without it (measure_intact.py).

    The only value of a run whose checkpoints are lost, that of its grid, has seed 0, and stands for the last step.
    """
    found = {}
    for run, step, seed, value in pd.read_csv(INTACT).query("set == @name")[["run", "step", "seed", "intact"]].values:
        found.setdefault(run, {}).setdefault(int(seed), {})[int(step)] = float(value)
    return found


def runs_of(name):
    """Yield each run of a data set that was looked at, further ones included, with its label; None if it diverged.

    Settings that were drawn twice count once.
    """
    seen = set()
    for batch in (one.name for one in SETS.values() if one.of == name):
        if (looks.RESULTS / f"answers_{batch}.csv").exists():
            labels, intact = looks.labels(batch), intact_of(batch)
            for run in recorded(batch):
                if run["id"] in seen:
                    continue
                seen.add(run["id"])
                run["fresh"], run["intact"] = SETS[batch].is_fresh, intact.get(run["id"], {})
                yield run, labels.loc[run["id"]] if run["of_d"] else None
