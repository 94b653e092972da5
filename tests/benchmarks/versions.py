"""The time of the same sweeps in another checkout of gansweep and in this one, in turn, each in a fresh home.

python tests/benchmarks/versions.py OTHER --data ../shared/data --out /tmp/versions.json

OTHER is the Python of a virtual environment in which the other checkout is installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bare_loop import DATA, LEARNING_RATE, find_mnist
from compare import sweep_file
from peer import BETAS1, learning_rates

GRID = {"training.learning_rate": learning_rates(10), "training.beta1": list(BETAS1)}
# Defaults of the cadence differ between versions; with this one all record the same.
CADENCE = {"metrics": 10, "samples": 100, "checkpoints": 100}
MAIN_JOB = Path(__file__).resolve().parents[2] / "sweeps" / "lr_grid.yaml"


def written(steps: int, over: dict[str, list[Any]], cadence: dict[str, int] | None = None) -> Callable[..., Path]:
    """Return a function that writes a sweep file into a folder, given MNIST's root, and returns its path."""

    def write(folder: Path, data: Path) -> Path:
        file = sweep_file(folder, "one", steps, 16, over, data)
        file.write_text(json.dumps({**json.loads(file.read_text()), "cadence": cadence or {}}))
        return file

    return write


SWEEPS: dict[str, Callable[[Path, Path], Path]] = {
    "main job": lambda folder, data: MAIN_JOB,
    "short": written(100, GRID),
    "short, the same records": written(100, GRID, CADENCE),
    "long": written(1000, {"training.learning_rate": [1e-4, LEARNING_RATE]}),
}


def seconds(python: str, file: Path, home: Path) -> float:
    """Return the duration of `gansweep run` by the clock."""
    began = time.perf_counter()
    # -P: not the package of the working directory
    subprocess.run(
        [python, "-P", "-m", "gansweep", "run", str(file), "--home", str(home)], check=True, capture_output=True
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="Python with the other version")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=[*SWEEPS])
    options = parser.parse_args()
    pythons, found = {"other": options.other, "this": sys.executable}, {}
    for name in options.only:
        took: dict[str, list[float]] = {version: [] for version in pythons}
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as scratch:
                file = SWEEPS[name](Path(scratch), find_mnist(options.data))
                for version, python in pythons.items():
                    took[version].append(seconds(python, file, Path(scratch) / version))
        ratio = statistics.median(a / b for a, b in zip(took["other"], took["this"], strict=True))
        found[name] = {**took, "other_over_this": ratio}
        print(name, found[name], flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
