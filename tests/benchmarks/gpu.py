"""Speed on one GPU: the bare training step, eager and captured, and a trial in a sweep that records and judges all.

python tests/benchmarks/gpu.py --data ../shared/data --out /tmp/gpu.json

`--device cpu --quick` tries every part on a machine without a GPU, in a minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bare_loop import BETA1, DATA, LEARNING_RATE, find_mnist

import gansweep
from gansweep.config import OptimizerConfig, TrainingConfig
from gansweep.gan import determinism
from gansweep.gan.capture import EAGER_STEPS, record_cuda_graph
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.reader import Source
from gansweep.gan.training import Trainer
from gansweep.health.metrics import STEPS_PER_S, is_evaluation
from gansweep.records import journal

SHAPES = ((16, 32), (64, 64))  # feature maps, and side of the images in pixels
PRECISIONS = ("float32", "bfloat16")
EVALUATIONS = 25
PARTS = ("step", "sweep")


def card(device: str) -> dict[str, str]:
    """Return what the figures belong to."""
    found = {"torch": torch.__version__, "device": device}
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")[0]
        found |= {"card": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda), "driver": driver}
    return found


def step_rates(images: ImageSet, maps: int, device: torch.device, steps: int) -> list[dict[str, Any]]:
    """Return steps per second of the bare step, eager and captured, in both precisions."""
    adam = OptimizerConfig(LEARNING_RATE, BETA1, 0.999)
    config = TrainingConfig(100, maps, maps, images.image_size, 1, 64, adam, adam)
    rows = []
    for precision in PRECISIONS:
        for kind, recorder in (("eager", None), ("captured", record_cuda_graph)):
            if recorder and device.type != "cuda":
                continue
            trainer = Trainer(replace(config, precision=precision), images.load(), device, record=recorder)
            train(trainer, 2 * EAGER_STEPS)
            count = steps if recorder else max(steps // 10, 2)
            began = time.perf_counter()
            train(trainer, count)
            rate = count / (time.perf_counter() - began)
            row = {"maps": maps, "side": images.image_size, "precision": precision, "kind": kind, "steps_per_s": rate}
            rows.append({**row, "notices": trainer.notices})
    return rows


def train(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.train_step()
    trainer.read()  # waits for the device


def swept(folder: Path, data: Path, maps: int, side: int, device: str, steps: int) -> dict[str, Any]:
    """Return figures of one trial in a sweep with everything recorded and judged, from its journal."""
    name = f"maps-{maps}-side-{side}"
    sweep = {
        "name": name,
        "dataset": {"name": "mnist", "image_size": side, "data_dir": str(data)},
        "model": {"latent_dim": 100, "feature_maps": maps},
        "training": {"steps": steps, "batch_size": 64, "learning_rate": LEARNING_RATE, "beta1": BETA1},
        "search": {"method": "grid", "over": {"training.learning_rate": [LEARNING_RATE]}},
        "evaluation": {"per_run": EVALUATIONS},
        "stop": "none",
        "resources": {"cpus": 1, "gpus": 1 if device == "cuda" else 0},
    }
    began = time.perf_counter()
    gansweep.run_sweep(sweep, home=folder, progress=False)
    whole_s = time.perf_counter() - began
    records = journal.read(next(folder.glob(f"sweeps/{name}/trials/*/journal.jsonl")))
    rates = [r.values[STEPS_PER_S] for r in records if STEPS_PER_S in r.values]
    # From the second evaluation to the end: start, capture and the first evaluation's caches are left out.
    evaluated = [r for r in records if any(map(is_evaluation, r.values))]
    first, last = evaluated[min(2, len(evaluated) - 2)], records[-1]
    elapsed, trained = last.time - first.time, last.step - first.step
    rate = statistics.median(rates)
    return {
        "maps": maps, "side": side, "steps": steps, "whole_command_s": whole_s,
        "steps_per_s": trained / elapsed, "own_steps_per_s": rate, "rows": len(records),
        "evaluations": len(evaluated), "not_training_share": 1 - trained / rate / elapsed,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="few steps, to try the command")
    parser.add_argument("--steps", type=int, help="steps of a swept trial; default 20,000")
    options = parser.parse_args()
    data, device = find_mnist(options.data), torch.device(options.device)
    torch.set_num_threads(1)
    determinism.set_up(device)
    figures: dict[str, Any] = {"on": card(options.device), "step": [], "sweep": []}
    steps = options.steps or (100 if options.quick else 20_000)
    shapes = ((8, 16),) if options.quick else SHAPES
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for maps, side in shapes:
            if "step" in options.parts:
                images = prepare(Source("mnist", side, data_dir=str(data)), folder / "cache")
                figures["step"] += step_rates(images, maps, device, 20 if options.quick else 2000)
            if "sweep" in options.parts:
                figures["sweep"].append(swept(folder, data, maps, side, options.device, steps))
            print(json.dumps(figures), flush=True)
            if options.out:
                options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
