"""What evaluations cost in each embedding, in addition to training; the table of docs/features.md is made of it.

python tests/benchmarks/features.py --out docs/features.json

Trains on noise in colour: what is measured does not depend on what the images show. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluation import measure

from gansweep.config import FeaturesConfig, OptimizerConfig, TrainingConfig
from gansweep.features import EMBEDDINGS
from gansweep.gan.data import ImageSet
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.reference import reference_of
from gansweep.gan.training import Trainer
from gansweep.sweepfile.schema import Evaluation

CASES = ((32, 16), (64, 64))  # side and feature maps
IMAGES, CLASSES, ROUNDS = 2_000, 2, 3
SHARE = 0.1  # of the time of training that evaluations may take
BEGIN, END = "<!-- costs -->", "<!-- end of costs -->"


def set_of(folder: Path, side: int) -> ImageSet:
    """Images of noise whose two classes differ in brightness, so that their labels can be learned."""
    rng, file = np.random.default_rng(0), folder / f"{side}.npy"
    labels = np.arange(IMAGES) % CLASSES
    pixels = (
        rng.integers(0, 128, (IMAGES, 3, side, side), np.uint8) + (127 * labels).astype(np.uint8)[:, None, None, None]
    )
    np.save(file, pixels)
    np.save(file.with_suffix(".labels.npy"), labels)
    return ImageSet(str(file), file.stem, IMAGES, 3, side, ("dark", "bright"))


def cost(images: ImageSet, maps: int, name: str) -> dict[str, float]:
    """Seconds of a step and of an evaluation in an embedding."""
    updates = OptimizerConfig(2e-4, 0.5, 0.999)
    config = TrainingConfig(100, maps, maps, images.image_size, 3, 64, updates, updates)
    trainer = Trainer.on(images, config, torch.device("cpu"))
    reference, _ = reference_of(images, FeaturesConfig(name))
    found = measure(trainer, Evaluator(reference, Evaluation().samples, 0), ROUNDS, 1_000)
    del found["share"]
    return found


def rows(measured: dict[str, Any]) -> list[str]:
    """The table: in how many steps 25 evaluations take a tenth of the time."""
    found = [
        "| embedding | images, maps | an evaluation | a step | 25 evaluations are a tenth of |",
        "|---|---|---:|---:|---:|",
    ]
    for name, cases in measured["costs"].items():
        for case, one in cases.items():
            steps = Evaluation().per_run * one["evaluation_s"] / (SHARE * one["step_s"])
            times = f"{1000 * one['evaluation_s']:.0f} ms | {1000 * one['step_s']:.0f} ms"
            found.append(f"| `{name}` | {case} | {times} | {steps:,.0f} steps |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--table", type=Path, help="document whose table of costs is written anew from the JSON file")
    args = parser.parse_args()
    if args.table:
        head, _, rest = args.table.read_text().partition(BEGIN)
        tail = rest.partition(END)[2]
        table = "\n".join(rows(json.loads(args.out.read_text())))
        args.table.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")
        return
    torch.set_num_threads(1)
    names = [name for name, kind in EMBEDDINGS.items() if not kind.weights]
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for side, maps in CASES:
            images = set_of(Path(folder), side)
            for name in names:
                found[name][f"{side} px, {maps} maps"] = cost(images, maps, name)
                print(name, side, found[name], flush=True)
    args.out.write_text(json.dumps({"costs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
