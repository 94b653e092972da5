"""Label natural runs (docs/verdicts.md, "Ground truth" 3) and write their histories compactly.

python analysis/label_runs.py HOME analysis/results/natural.jsonl.gz SWEEP...
"""

import gzip
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from second_judge import SecondJudge

from gansweep import Home, read_journal, reopen

KEPT = ("loss_d", "nonfinite_step")  # besides what stands in a record with an evaluation
JUDGES = {}


def label(task):
    """One line of the output: settings, series, and what the second judge saw."""
    home, sweep, trial_id = task
    torch.set_num_threads(1)
    folder = home.sweep(sweep).trial(trial_id)
    document = json.loads(folder.trial.read_text())
    trainer, images = reopen(home, sweep, trial_id)
    if images.fingerprint not in JUDGES:
        JUDGES[images.fingerprint] = SecondJudge(images)
    judge = JUDGES[images.fingerprint]
    return {
        "source": sweep,
        "id": trial_id,
        "settings": document["varied"],
        "budget": document["steps"],
        "label": judge.confirm(trainer, document["steps"] // 2),
        "accuracy": judge.accuracy,
        "series": compact((r.step, r.values) for r in read_journal(folder.journal)),
    }


def compact(points):
    """metric → [steps, values], to four digits."""
    series = {}
    for step, values in points:
        for name, value in values.items():
            if name in KEPT or "cfd_ratio" in values:
                steps, numbers = series.setdefault(name, ([], []))
                steps.append(step)
                numbers.append(float(f"{value:.4g}"))
    return series


def write(output, function, tasks):
    """A JSON line a task, worked on by two processes."""
    with ProcessPoolExecutor(2) as pool, gzip.open(output, "wt") as file:
        for number, run in enumerate(pool.map(function, tasks), 1):
            file.write(json.dumps(run) + "\n")
            print(f"{number}/{len(tasks)}", end="\r", file=sys.stderr)


if __name__ == "__main__":
    home = Home(Path(sys.argv[1]).absolute())
    write(
        sys.argv[2],
        label,
        [(home, sweep, folder.id) for sweep in sys.argv[3:] for folder in home.sweep(sweep).planned()],
    )
