"""Steps per second of CPU time of recorded trials, which other work on the machine affects less than their speed.

    python tests/benchmarks/cpu_steps.py HOME SWEEP > speeds.json

The first trial of each configuration is trained anew, in turns with the others, in this process and on one core.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from gansweep import read_sweep
from gansweep.gan.training import Trainer
from gansweep.planning.plan import recorded
from gansweep.records.layout import Home

ROUNDS, STEPS = 9, 20  # of each trial; the first round is not counted


def rates(home: str, sweep: str) -> dict[str, float]:
    """Return trial → steps per second of CPU time."""
    torch.set_num_threads(1)
    trials = read_sweep(sweep, home=home).trials.groupby("configuration")["trial"].first()
    planned = {trial: recorded(Home(Path(home)), sweep, trial) for trial in trials}
    trainers = [Trainer.on(one.images, one.training, torch.device("cpu")) for one in planned.values()]
    used = np.zeros((ROUNDS, len(trainers)))
    for of_round in used:
        for i, trainer in enumerate(trainers):
            began = time.process_time()
            for _ in range(STEPS):
                trainer.train_step()
            of_round[i] = time.process_time() - began
    return dict(zip(planned, (STEPS / np.median(used[1:], axis=0)).round(3).tolist(), strict=True))


if __name__ == "__main__":
    print(json.dumps(rates(*sys.argv[1:]), indent=1))
