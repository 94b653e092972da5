"""What evaluations cost beside training, in this process: compare.py calls it, once a width.

python tests/benchmarks/evaluation.py DATA CACHE MAPS ROUNDS
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from gansweep.config import OptimizerConfig, TrainingConfig
from gansweep.gan.data import prepare
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.reference import reference_of
from gansweep.gan.sources import Source
from gansweep.gan.training import Trainer
from gansweep.sweepfile.schema import Evaluation

STEPS, TURN = 600, 24  # of a run of the main job; steps between two evaluations


def seconds(action: Callable[[], object], times: int) -> float:
    """Mean seconds per call."""
    began = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - began) / times


def main(data: str, cache: str, maps: int, rounds: int) -> None:
    torch.set_num_threads(1)
    images = prepare(Source("mnist", 32, data_dir=data), Path(cache))
    defaults = Evaluation()
    evaluator = Evaluator(reference_of(images)[0], defaults.samples, 0)
    updates = OptimizerConfig(2e-4, 0.5, 0.999)
    trainer = Trainer(TrainingConfig(100, maps, maps, 32, 1, 64, updates, updates), images.load(), torch.device("cpu"))
    seconds(trainer.train_step, 5)
    evaluator(trainer)
    steps, evaluations = [], []
    for _ in range(rounds):
        steps.append(seconds(trainer.train_step, TURN))
        evaluations.append(seconds(lambda: evaluator(trainer), 4))
    step, evaluation = statistics.median(steps), statistics.median(evaluations)
    share = (1 + defaults.per_run) * evaluation / (STEPS * step)
    print(json.dumps({"step_s": step, "evaluation_s": evaluation, "share": share}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
