"""Training alone, in processes side by side of one thread each; prints steps per second as JSON.

python tests/benchmarks/bare_loop.py              gansweep's steps: no Ray, MLflow, samples, checkpoints, journal
python tests/benchmarks/bare_loop.py --recorded   the same with everything that a trial writes into its folder
python tests/benchmarks/bare_loop.py --plain      the tutorial's loop that peer.py runs (plain_dcgan.py)
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gansweep.engine.environment import WORKERS
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.reader import Source

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LEARNING_RATE, BETA1 = 2e-4, 0.5
WARM_UP_STEPS = 5


@dataclass(frozen=True)
class Job:
    """What each process runs. images: of gansweep's modes; data: root of MNIST, for the plain one."""

    mode: str
    steps: int
    maps: int
    data: str
    images: ImageSet | None


def find_mnist(data: Path) -> Path:
    """The folder, absolute. Ends the program where MNIST is not in it."""
    if not (data / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        raise SystemExit(f"{data}: MNIST is not there (MNIST/raw/train-images-idx3-ubyte); name its root with --data")
    return data.resolve()


def _config(job: Job, seed: int) -> Any:
    from gansweep.config import OptimizerConfig, TrainingConfig

    adam = OptimizerConfig(LEARNING_RATE, BETA1, 0.999)
    return TrainingConfig(100, job.maps, job.maps, 32, 1, 64, adam, adam, seed)


def _bare(job: Job, seed: int, wait: Callable[[], Any]) -> float:
    import torch

    from gansweep.gan.training import Trainer

    torch.set_num_threads(1)
    assert job.images is not None
    trainer = Trainer(_config(job, seed), job.images.load(), torch.device("cpu"))
    for _ in range(WARM_UP_STEPS):
        trainer.train_step()
    wait()
    began = time.perf_counter()
    for _ in range(job.steps):
        trainer.train_step()
    return job.steps / (time.perf_counter() - began)


def _recorded(job: Job, seed: int, wait: Callable[[], Any]) -> float:
    import torch

    from gansweep.config import RunConfig
    from gansweep.gan.run import Run
    from gansweep.gan.training import Trainer
    from gansweep.records.layout import TrialFolder
    from gansweep.sweepfile.schema import Cadence, Retention

    torch.set_num_threads(1)
    assert job.images is not None
    config = RunConfig(WARM_UP_STEPS + job.steps, **Cadence().model_dump(), keep=Retention().checkpoints)
    with tempfile.TemporaryDirectory() as folder:
        trial = TrialFolder(Path(folder))
        run = Run(trial, config, partial(Trainer.on, job.images, _config(job, seed), torch.device("cpu")))
        while run.step < WARM_UP_STEPS:
            run.advance(0)
        wait()
        began = time.perf_counter()
        run.advance(float("inf"))
        rate = job.steps / (time.perf_counter() - began)
        run.close()
    return rate


def _plain(job: Job, seed: int, wait: Callable[[], Any]) -> float:
    import torch
    from plain_dcgan import PlainDcgan, batches

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model, real = PlainDcgan(job.maps, LEARNING_RATE, BETA1), batches(job.data)
    for _ in range(WARM_UP_STEPS):
        model.step(next(real))
    wait()
    began = time.perf_counter()
    for _ in range(job.steps):
        model.step(next(real))
    return job.steps / (time.perf_counter() - began)


MODES = {"bare": _bare, "recorded": _recorded, "plain": _plain}


def _process(job: Job, seed: int, barrier: Any, results: Any) -> None:
    results.put(MODES[job.mode](job, seed, barrier.wait))


def rates(job: Job, processes: int) -> list[float]:
    """Steps per second of each process; all begin together, after a warm-up."""
    if job.mode != "plain":
        os.environ.update(WORKERS)  # glibc reads them when a process starts
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.SimpleQueue()
    started = [context.Process(target=_process, args=(job, seed, barrier, results)) for seed in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise SystemExit("a process failed")
    return [results.get() for _ in started]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="root of torchvision's MNIST [%(default)s]")
    parser.add_argument("--cache", type=Path, help="a gansweep home's cache of decoded images [a temporary one]")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--maps", type=int, default=16)
    parser.add_argument("--plain", action="store_const", dest="mode", const="plain", default="bare")
    parser.add_argument("--recorded", action="store_const", dest="mode", const="recorded")
    args = parser.parse_args()
    data = find_mnist(args.data)
    with tempfile.TemporaryDirectory() as temporary:
        cache = args.cache or Path(temporary)
        images = None if args.mode == "plain" else prepare(Source("mnist", 32, data_dir=str(data)), cache)
        each = rates(Job(args.mode, args.steps, args.maps, str(data), images), args.processes)
    print(json.dumps({"mode": args.mode, "maps": args.maps, "steps_per_s": each, "total_steps_per_s": sum(each)}))


if __name__ == "__main__":
    main()
