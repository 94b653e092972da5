"""Record the natural runs of a set compactly, after their sweep: results/fourth_SET.jsonl.gz and fourth_SET.npz.

    python -m analysis.verdicts.record_runs HOME SET                        # some minutes on two cores

One JSON object per run (analysis/README.md): its settings, the series of its evaluations, what D makes of images that
were never trained on at the last five evaluations, and the same evaluations with five seeds. The npz file has the grids
that are looked at: `samples`, (runs, 36, C, 32, 32) uint8, in the order of the objects, and `real`, (300, C, 32, 32).
"""

import copy
import gzip
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from analysis.detectors.lib.histories import compact
from analysis.verdicts.lib import sets
from analysis.verdicts.lib.records import recorded
from analysis.verdicts.lib.untrained import measured
from gansweep import (
    Evaluator,
    FeaturesConfig,
    Home,
    evaluation_halves,
    open_sweep,
    read_journal,
    reference_of,
    reopen,
    sample,
)

RESULTS = Path(__file__).with_name("results")
GRID, REAL, SAMPLES, LAST, SEEDS = 36, 300, 256, 5, (1, 2, 3, 4, 5)
CONTEXT = {}


def grid(trainer, shares):
    """Return (GRID, C, H, W) uint8 samples of the final generator, of classes in the proportions of the data."""
    rng = torch.Generator().manual_seed(2026)
    z, asked = torch.randn(GRID, trainer.config.latent_dim, generator=rng), None
    if trainer.config.networks.classes:
        asked = torch.from_numpy(np.random.default_rng(2026).choice(len(shares), GRID, p=shares))
    return sample(copy.deepcopy(trainer.sampler).cpu(), z, asked)


def run(task):
    """Return the object and the grid of one run."""
    home, name, trial, settings = task
    torch.set_num_threads(1)
    sweep, budget = sets.SETS[name].sweep, sets.SETS[name].steps
    folder = home.sweep(sweep).trial(trial)
    steps = sorted(int(path.stem) for path in folder.all_checkpoints())
    if name not in CONTEXT:
        _, images = reopen(home, sweep, trial)
        reference, _ = reference_of(images, FeaturesConfig(sets.SETS[name].features))
        evaluators = [Evaluator(reference, SAMPLES, seed) for seed in SEEDS]
        CONTEXT[name] = evaluators, sets.untrained(sets.SETS[name].of, home)
    evaluators, untrained = CONTEXT[name]
    records = [
        (r.step, {k: v for k, v in r.values.items() if k != "steps_per_s"}) for r in read_journal(folder.journal)
    ]
    found = {
        "id": trial,
        "source": sweep,
        "settings": settings,
        "budget": budget,
        "series": compact(records),
        "of_d": [],
        "seeds": [[] for _ in SEEDS],
    }
    trainer, images = reopen(home, sweep, trial)
    if trainer.step < budget or not trainer.weights_finite():
        return found, None
    for step in steps[-LAST:]:
        at, _ = reopen(home, sweep, trial, step)
        found["of_d"].append({"step": step, **measured(at, *untrained)})
        for values, evaluate in zip(found["seeds"], evaluators, strict=True):
            values.append({"step": step, **{k: float(f"{v:.4g}") for k, v in evaluate(at).items()}})
    shares = np.bincount(images.labels(), minlength=len(images.classes)) / images.images
    return found, grid(trainer, shares)


def differing(trials):
    """Yield the settings of each trial in which trials differ."""
    keys = [key for key in trials[0].settings if len({str(trial.settings.get(key)) for trial in trials}) > 1]
    for trial in trials:
        yield {key: trial.settings.get(key) for key in keys}


if __name__ == "__main__":
    home, name = Home(Path(sys.argv[1]).absolute()), sys.argv[2]
    sweep = sets.SETS[name].sweep
    before = {run["id"] for run in recorded(f"{sets.SETS[name].of}_further")} if sets.SETS[name].is_rest else set()
    ended = (trial for trial in open_sweep(sweep, home=home.path) if trial.outcome == "completed")
    trials = [trial for trial in ended if trial.id not in before]
    tasks = [(home, name, trial.id, settings) for trial, settings in zip(trials, differing(trials), strict=True)]
    grids = []
    with ProcessPoolExecutor(os.cpu_count()) as pool, gzip.open(RESULTS / f"fourth_{name}.jsonl.gz", "wt") as file:
        for number, (found, made) in enumerate(pool.map(run, tasks), 1):
            file.write(json.dumps(found) + "\n")
            grids.append(made)
            print(f"{number}/{len(tasks)}", end="\r", file=sys.stderr)
    images = reopen(home, sweep, trials[0].id)[1]
    unseen = evaluation_halves(images.images)[1]
    real = images.load()[np.random.default_rng(0).choice(unseen, REAL, replace=False)]
    blank = np.zeros((GRID, *real.shape[1:]), np.uint8)
    samples = np.stack([blank if made is None else made for made in grids])
    np.savez_compressed(RESULTS / f"fourth_{name}.npz", samples=samples, real=real)
