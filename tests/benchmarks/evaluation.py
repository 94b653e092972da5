"""What evaluations cost in addition to training, in this process: compare.py calls it, once a width.

python tests/benchmarks/evaluation.py DATA CACHE MAPS ROUNDS [--device cuda --steps 20000]

With --device: the seconds of each part of an evaluation as well, and how often the host waited for the GPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from gansweep.config import OptimizerConfig, TrainingConfig
from gansweep.gan import determinism
from gansweep.gan.comparison import comparison, full_precision
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.reader import Source
from gansweep.gan.reference import Reference, reference_of
from gansweep.gan.sampling import sample_on_device
from gansweep.gan.training import Trainer
from gansweep.health.metrics import SAMPLE_METRICS
from gansweep.sweepfile.schema import Evaluation

TURN = 24  # steps between two evaluations, of a run of the main job
WARM_UP = 10  # steps: on a GPU the step is captured in one of them


def seconds(action: Callable[[], object], times: int, device: torch.device) -> float:
    """Mean seconds per call, the device's work included."""
    finish(device)
    began = time.perf_counter()
    for _ in range(times):
        action()
    finish(device)
    return (time.perf_counter() - began) / times


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def trainer_on(images: ImageSet, maps: int, device: torch.device) -> Trainer:
    updates = OptimizerConfig(2e-4, 0.5, 0.999)
    return Trainer.on(images, TrainingConfig(100, maps, maps, 32, 1, 64, updates, updates), device)


def measure(trainer: Trainer, evaluator: Evaluator, rounds: int, steps: int) -> dict[str, float]:
    """Seconds of a step and of an evaluation, and all evaluations of a run of `steps` steps over those of its steps."""
    seconds(trainer.train_step, WARM_UP, trainer.device)
    evaluator(trainer)
    turns, evaluations = [], []
    for _ in range(rounds):
        turns.append(seconds(trainer.train_step, TURN, trainer.device))
        evaluations.append(seconds(lambda: evaluator(trainer), 4, trainer.device))
    step, evaluation = statistics.median(turns), statistics.median(evaluations)
    share = (1 + Evaluation().per_run) * evaluation / (steps * step)
    return {"step_s": step, "evaluation_s": evaluation, "share": share}


@full_precision()
def parts(trainer: Trainer, reference: Reference, evaluation: float, times: int = 20) -> dict[str, float]:
    """Seconds of each part of an evaluation; `comparison` includes `embedding` and `intact`."""
    device, real = trainer.device, reference.at(Evaluation().samples)
    judge = comparison(reference.embedding, real, device, reference.intact)
    embedding, intact = copy.deepcopy(reference.embedding).to(device), copy.deepcopy(reference.intact)
    assert intact is not None, "grey images with labels"
    intact.to(device)
    z = torch.randn(Evaluation().samples, trainer.config.latent_dim, device=device)
    pixels = sample_on_device(trainer.generator, z)
    samples = judge(pixels, None)

    def record() -> None:
        for metric in SAMPLE_METRICS:
            if metric.needs <= {*samples.given}:
                metric.record(samples)

    found = {
        "sampling": seconds(lambda: sample_on_device(trainer.generator, z), times, device),
        "copy of D": seconds(lambda: copy.deepcopy(trainer.discriminator), times, device),
        "embedding": seconds(lambda: embedding.embed(pixels), times, device),
        "intact": seconds(lambda: intact(pixels), times, device),
        "comparison": seconds(lambda: judge(pixels, None), times, device),
        "metrics": seconds(record, times, device),
    }
    others = found["sampling"] + found["comparison"] + found["metrics"]
    return {**found, "outputs of D": evaluation - others}


def waits(action: Callable[[], object]) -> int:
    """How often torch waits for the GPU, except for the one copy at the end."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            action()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="root of torchvision's MNIST")
    parser.add_argument("cache", type=Path, help="folder of decoded images")
    parser.add_argument("maps", type=int, help="feature maps of both networks")
    parser.add_argument("rounds", type=int, help="turns of steps and evaluations")
    parser.add_argument("--device", type=torch.device, help="also print seconds by part [cpu, without parts]")
    parser.add_argument("--steps", type=int, default=600, help="of the run whose share of evaluations is printed [600]")
    args = parser.parse_args()
    device = args.device or torch.device("cpu")
    torch.set_num_threads(1)
    determinism.set_up(device)
    images = prepare(Source("mnist", 32, data_dir=str(args.data)), args.cache)
    reference, _ = reference_of(images)
    trainer, evaluator = trainer_on(images, args.maps, device), Evaluator(reference, Evaluation().samples, 0)
    found: dict[str, object] = {**(measured := measure(trainer, evaluator, args.rounds, args.steps))}
    if args.device:
        found |= {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
        found |= {"parts_s": parts(trainer, reference, measured["evaluation_s"])}
    if device.type == "cuda":
        found |= {"waits": waits(lambda: evaluator(trainer)), "notices": trainer.notices}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
