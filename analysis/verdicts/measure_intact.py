"""Measure `intact` for natural runs that were recorded without it: results/intact.csv.

    python -m analysis.verdicts.measure_intact HOME SET [SET …]            # five minutes for 100 runs on two cores

One row per run, step and seed of the evaluation. Where HOME has the checkpoints of the last five evaluations, these are
evaluated with five seeds. Of runs that were trained on another machine only the grid of the last step is left: 36
samples, seed 0.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.verdicts.lib import looks
from analysis.verdicts.lib.records import recorded
from analysis.verdicts.lib.sets import SETS, images_of
from analysis.verdicts.record_runs import LAST, SAMPLES, SEEDS
from gansweep import SAMPLE_METRICS, Evaluator, FeaturesConfig, Home, reference_of, reopen

FILE = looks.RESULTS / "intact.csv"
CONTEXT = {}


def evaluators(home, name):
    """Return the evaluators of a set, one for each seed, which measure nothing but `intact`."""
    if name not in CONTEXT:
        reference, _ = reference_of(images_of(SETS[name].of, home), FeaturesConfig(SETS[name].features))
        wanted = [one for one in SAMPLE_METRICS if one.name == "intact"]
        CONTEXT[name] = [Evaluator(reference, SAMPLES, seed, wanted, ()) for seed in SEEDS], reference.intact
    return CONTEXT[name]


def measured(task):
    """Return rows (set, run, step, seed, intact)."""
    home, name, run, budget, grid = task
    torch.set_num_threads(1)
    by_seed, network = evaluators(home, name)
    folder = home.sweep(SETS[name].sweep).trial(run)
    steps = sorted(int(path.stem) for path in folder.all_checkpoints())[-LAST:]
    if steps[-1:] != [budget]:
        value = float(network(torch.from_numpy(grid)).double().mean()) / network.of_real
        return [(name, run, budget, 0, value)]
    found = []
    for step in steps:
        trainer, _ = reopen(home, SETS[name].sweep, run, step)
        found += [(name, run, step, seed, one(trainer)["intact"]) for seed, one in zip(SEEDS, by_seed, strict=True)]
    return found


def tasks_of(home, name):
    """Yield what `measured` needs, for each run that did not diverge."""
    grids = np.load(looks.RESULTS / f"fourth_{name}.npz")["samples"]
    for run, grid in zip(recorded(name), grids, strict=True):
        if run["of_d"]:
            yield home, name, run["id"], run["budget"], grid


if __name__ == "__main__":
    home, names = Home(Path(sys.argv[1]).absolute()), sys.argv[2:]
    for name in names:
        evaluators(home, name)  # networks are trained once, here
        CONTEXT.clear()
    tasks = [task for name in names for task in tasks_of(home, name)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = [row for part in pool.map(measured, tasks) for row in part]
    table = pd.DataFrame(rows, columns=["set", "run", "step", "seed", "intact"])
    table["intact"] = table["intact"].map(lambda value: float(f"{value:.4g}"))
    known = pd.read_csv(FILE).query("set not in @names") if FILE.exists() else table[:0]
    pd.concat([known, table]).to_csv(FILE, index=False)
