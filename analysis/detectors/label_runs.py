"""Label natural runs (docs/verdicts.md, "Ground truth" 3) and write their histories compactly.

python -m analysis.detectors.label_runs HOME analysis/detectors/results/natural.jsonl.gz SWEEP...
"""

import json
import sys
from pathlib import Path

import torch

from analysis.detectors.lib.histories import compact, write
from analysis.detectors.lib.second_judge import SecondJudge
from gansweep import Home, read_journal, reopen

JUDGES = {}


def label(task):
    """Return one line of the output: settings, series, and the second judge's measurements."""
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


if __name__ == "__main__":
    home = Home(Path(sys.argv[1]).absolute())
    write(
        sys.argv[2],
        label,
        [(home, sweep, folder.id) for sweep in sys.argv[3:] for folder in home.sweep(sweep).planned()],
    )
