"""Speed on one GPU: the tutorial's loop, gansweep's step, sweeps with everything recorded and judged, and the peer's.

python tests/benchmarks/gpu.py --data ../shared/data --out /tmp/gpu.json

It takes seven minutes, and prints a table (gpu_table.py). `--device cpu --quick` tries every part without a GPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_table
import numpy as np
import torch
from bare_loop import BETA1, DATA, LEARNING_RATE, find_mnist
from peer import BETAS1, learning_rates
from plain_dcgan import PlainDcgan, batches
from side_by_side import Advance, loops

from gansweep.config import OptimizerConfig, TrainingConfig
from gansweep.engine.mps import sharing
from gansweep.gan import determinism
from gansweep.gan.capture import record_cuda_graph
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.reader import Source
from gansweep.gan.training import Trainer
from gansweep.health.metrics import is_evaluation
from gansweep.records import journal
from gansweep.records.scratch import SHORT, scratch

HERE = Path(__file__).resolve().parent
GANSWEEP = [sys.executable, "-m", "gansweep.cli"]
EVALUATIONS = 25
LOADERS = 2  # processes that load images, as in the tutorial
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        neighbours: Numbers of processes with a loop each.
        narrow: Feature maps and image side of the small networks.
        wide: Those of the large networks.
        wide_neighbours: Numbers of processes with a large network each.
        seconds: Duration of each measurement of a loop.
        trials: (number, steps) of the trials of the sweep of small networks.
        wide_trials: Those of the sweep of large networks.
        peer_trials: Those of the sweep that is compared with the peer's.
        peer_s: Seconds after which the peer's sweep is stopped.
        main_job: Options of the main job.
    """

    neighbours: tuple[int, ...] = (1, 8, 16)
    narrow: tuple[int, int] = (16, 32)
    wide: tuple[int, int] = (64, 64)
    wide_neighbours: tuple[int, ...] = (1, 4)
    seconds: float = 3.0
    trials: tuple[int, int] = (8, 20_000)
    wide_trials: tuple[int, int] = (4, 4_000)
    peer_trials: tuple[int, int] = (8, 2_000)
    peer_s: float = 100.0
    main_job: tuple[str, ...] = ()


QUICK = Size((1, 2), (4, 32), (8, 16), (1, 2), 0.3, (2, 60), (2, 60), (2, 20), 60.0, ("--set", "training.steps=30"))


@dataclass(frozen=True)
class Machine:
    """What is measured on.

    Attributes:
        device: "cuda" or "cpu".
        data: Root of MNIST.
        folder: Folder for caches and homes.
    """

    device: str
    data: Path
    folder: Path

    def images(self, side: int) -> ImageSet:
        return prepare(Source("mnist", side, data_dir=str(self.data)), self.folder / "cache")

    def share(self, trials: int) -> float:
        """Return the share of the GPU of each of a number of trials side by side."""
        return 1 / trials if self.device == "cuda" else 0

    @contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Let processes that start in the block run side by side on the GPU, as in a sweep."""
        with scratch(SHORT) as folder, sharing(folder, self.device == "cuda") as settled:
            found = settled()
            if found.refused:
                print(f"MPS: {found.refused}", file=sys.stderr)
            yield


def tutorial_loop(number: int, machine: Machine, maps: int) -> Advance:
    torch.manual_seed(number)
    workers = LOADERS if machine.device == "cuda" else 0
    model = PlainDcgan(maps, LEARNING_RATE, BETA1, machine.device)
    real = batches(machine.data, machine.device, workers)

    def advance(steps: int) -> None:
        for _ in range(steps):
            model.step(next(real))  # it reads its losses, so it waits for the device

    return advance


def step_loop(number: int, machine: Machine, shape: tuple[int, int], precision: str, kind: str) -> Advance:
    device, (maps, side) = torch.device(machine.device), shape
    determinism.set_up(device)
    adam = OptimizerConfig(LEARNING_RATE, BETA1, 0.999)
    config = TrainingConfig(100, maps, maps, side, 1, 64, adam, adam, seed=number, precision=precision)
    recorder = record_cuda_graph if device.type == "cuda" and kind == "captured" else None
    trainer = Trainer(config, machine.images(side).load(), device, record=recorder)

    def advance(steps: int) -> None:
        for _ in range(steps):
            trainer.train_step()
        trainer.read()  # waits for the device

    return advance


def tutorial(machine: Machine, size: Size) -> dict[str, Any]:
    """Steps per second together of the tutorial's loop in several processes, by their number."""
    with loops(max(size.neighbours), tutorial_loop, machine, size.narrow[0]) as started:
        return {str(count): started.rate(count, size.seconds) for count in size.neighbours}


def step(machine: Machine, size: Size) -> list[dict[str, Any]]:
    """Steps per second together of gansweep's step in several processes, by shape, precision, kind and number."""
    measured = [
        (size.narrow, "float32", "eager", (1,)),
        (size.narrow, "float32", "captured", size.neighbours),
        (size.wide, "float32", "eager", (1,)),
        *((size.wide, precision, "captured", size.wide_neighbours) for precision in PRECISIONS),
    ]
    rows = []
    for side in (size.narrow[1], size.wide[1]):
        machine.images(side)  # decoded once
    with machine.side_by_side():
        for shape, precision, kind, numbers in measured:
            with loops(max(numbers), step_loop, machine, shape, precision, kind) as started:
                rates = {str(count): started.rate(count, size.seconds) for count in numbers}
            row = {"maps": shape[0], "side": shape[1], "precision": precision, "kind": kind, "steps_per_s": rates}
            rows.append(row)
    return rows


def sweep_file(machine: Machine, name: str, shape: tuple[int, int], trials: tuple[int, int], **more: Any) -> Path:
    """Write a sweep file, of which all trials train side by side to the end, and return its path."""
    count, steps = trials
    document = {
        "name": name,
        "dataset": {"name": "mnist", "image_size": shape[1], "data_dir": str(machine.data)},
        "model": {"latent_dim": 100, "feature_maps": shape[0]},
        "training": {"steps": steps, "batch_size": 64, "precision": more.get("precision", "float32")},
        "search": {
            "method": "grid",
            "over": {"training.learning_rate": learning_rates(count), "training.beta1": list(BETAS1)},
        },
        "evaluation": {"per_run": more.get("evaluations", EVALUATIONS)},
        "stop": "none",
        "resources": {"cpus": 1, "gpus": machine.share(count)},
    }
    path = machine.folder / f"{name}.yaml"
    path.write_text(json.dumps(document))
    return path


def command(machine: Machine, file: Path, home: str, *more: str) -> tuple[float, str]:
    """Return the seconds of `gansweep run` of a file, in a home of that name, and where they went."""
    began = time.perf_counter()
    options = ["--home", str(machine.folder / home), "--verbose", *more]
    done = subprocess.run([*GANSWEEP, "run", str(file), *options], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{file.name}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return seconds, done.stderr


def swept(machine: Machine, name: str, shape: tuple[int, int], trials: tuple[int, int], **more: Any) -> dict[str, Any]:
    """Return figures of a sweep with everything recorded and judged."""
    seconds, messages = command(machine, sweep_file(machine, name, shape, trials, **more), name)
    found = sorted((machine.folder / name).glob(f"sweeps/{name}/trials/*/journal.jsonl"))
    return {
        "maps": shape[0], "side": shape[1], "precision": more.get("precision", "float32"),
        "trials": trials[0], "steps": trials[1], "command_s": seconds,
        "steps_per_s": together([journal.read(path) for path in found]), "messages": messages.splitlines(),
    }  # fmt: skip


def together(trials: list[list[Any]]) -> float:
    """Return the steps per second of all trials in the time in which all of them train.

    That time begins after each trial's second evaluation: start, capture and the first evaluation's caches precede it.
    Evaluations, samples and checkpoints are part of it.
    """
    evaluated = [[r for r in records if any(map(is_evaluation, r.values))] for records in trials]
    begin = max(records[1].time for records in evaluated)
    end = min(records[-1].time for records in trials)
    steps = 0.0
    for records in trials:
        times, counts = [r.time for r in records], [float(r.step) for r in records]
        steps += float(np.interp(end, times, counts) - np.interp(begin, times, counts))
    return steps / (end - begin) if end > begin else float("nan")


def sweeps(machine: Machine, size: Size) -> list[dict[str, Any]]:
    return [swept(machine, "narrow", size.narrow, size.trials)]


def wide_sweeps(machine: Machine, size: Size) -> list[dict[str, Any]]:
    return [
        swept(machine, f"wide-{precision}", size.wide, size.wide_trials, precision=precision)
        for precision in PRECISIONS
    ]


def main_job(machine: Machine, size: Size) -> dict[str, Any]:
    """Seconds of the main job, the whole command: in a new home, and again in a home that has its cache."""
    file = HERE.parents[1] / "sweeps" / "lr_grid.yaml"
    first, messages = command(machine, file, "main", *size.main_job)
    shutil.copytree(machine.folder / "main" / "cache", machine.folder / "again" / "cache")
    again, more = command(machine, file, "again", *size.main_job)
    return {"command_s": [first, again], "messages": messages.splitlines(), "messages_again": more.splitlines()}


def peer(machine: Machine, size: Size) -> dict[str, Any]:
    """Seconds of a sweep that is recorded but not evaluated, and of the peer's, which is stopped after a time."""
    count, steps = size.peer_trials
    ours, _ = command(machine, sweep_file(machine, "ours", size.narrow, size.peer_trials, evaluations=0), "ours")
    options = ["--data", str(machine.data), "--out", str(machine.folder / "peer"), "--trials", str(count)]
    options += ["--steps", str(steps), "--maps", str(size.narrow[0]), "--gpus", str(machine.share(count))]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(HERE / "peer.py"), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        code: int | None = process.wait(timeout=size.peer_s)
    except subprocess.TimeoutExpired:
        code = None
        process.kill()  # after SIGTERM it would wait for Ray
        process.wait()
    theirs = time.perf_counter() - began
    if code:
        raise SystemExit(f"peer.py: exit {code}")
    return {"trials": count, "steps": steps, "gansweep_s": ours, "peer_s": theirs, "peer_ended": code == 0}


PARTS: dict[str, Callable[[Machine, Size], Any]] = {
    "step": step,
    "tutorial": tutorial,
    "sweeps": sweeps,
    "wide_sweeps": wide_sweeps,
    "main_job": main_job,
    "peer": peer,
}


def card(device: str) -> dict[str, str]:
    """Return what the figures belong to."""
    found = {"torch": torch.__version__, "device": device}
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"]
        listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")[0]
        driver, _, name = listed.partition(", ")
        found |= {"card": name, "cuda": str(torch.version.cuda), "driver": driver}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON; parts that are not measured stay")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small networks and few steps, to try the command")
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    figures = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    figures["on"] = card(options.device)
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(options.device, find_mnist(options.data), Path(folder))
        for name in options.parts:
            began = time.perf_counter()
            figures[name] = PARTS[name](machine, size)
            print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            if options.out:
                options.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(gpu_table.table(figures))


if __name__ == "__main__":
    main()
