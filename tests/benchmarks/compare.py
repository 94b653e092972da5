"""gansweep against the sweep that a competent user would write (peer.py), both as whole commands, side by side in one
run; table.py makes the table of docs/benchmarks.md of it. Takes about 40 minutes; leave the machine alone meanwhile.

python tests/benchmarks/compare.py --out docs/speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import many_trials
import psutil
from bare_loop import BETA1, DATA, LEARNING_RATE, find_mnist
from peer import BETAS1, learning_rates

from gansweep.records import journal
from gansweep.records.layout import Home
from gansweep.sweeps.provenance import current
from gansweep.tracking.context import tags

HERE = Path(__file__).resolve().parent
GANSWEEP = [sys.executable, "-m", "gansweep.cli"]
POLL_S = 1.0


@dataclass
class Timed:
    """A finished command. peaks: bytes of resident memory at most, of the command and of its largest trial process."""

    seconds: float
    peaks: dict[str, int] = field(default_factory=dict)


def timed(command: list[str], environment: dict[str, str] | None = None) -> Timed:
    """Run a command that must succeed."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with _watching(process.pid) as peaks:
        output, _ = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{output}")
    return Timed(seconds, peaks)


@contextmanager
def _watching(pid: int) -> Iterator[dict[str, int]]:
    peaks = {"command": 0, "trial": 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL_S):
            try:
                root = psutil.Process(pid)
                _note(peaks, "command", root)
                children = root.children(recursive=True)
            except psutil.Error:
                continue
            for child in children:
                with suppress(psutil.Error):  # it has ended since, perhaps as a zombie
                    if "ray::GanTrial" in " ".join(child.cmdline()):
                        _note(peaks, "trial", child)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def _note(peaks: dict[str, int], name: str, process: psutil.Process) -> None:
    peaks[name] = max(peaks[name], process.memory_info().rss)


def sweep_file(folder: Path, name: str, steps: int, maps: int, over: dict[str, list[Any]], data: Path) -> Path:
    """A sweep of the peer's shape."""
    path = folder / f"{name}.yaml"
    document = {
        "name": name,
        "dataset": {"name": "mnist", "image_size": 32, "data_dir": str(data)},
        "model": {"latent_dim": 100, "feature_maps": maps},
        "training": {"steps": steps, "batch_size": 64, "learning_rate": LEARNING_RATE, "beta1": BETA1},
        "evaluation": {"per_run": 0},  # the peer evaluates nothing; what it costs is measured by itself
        "search": {"method": "grid", "over": over},
    }
    path.write_text(json.dumps(document))
    return path


def against_peer(data: Path, trials: int, steps: int, rounds: int) -> dict[str, Any]:
    """Seconds of both, and their ratio, each round in a fresh home (so that ours decodes MNIST anew)."""
    ours, theirs, peaks = [], [], {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            over = {"training.learning_rate": learning_rates(trials), "training.beta1": list(BETAS1)}
            file = sweep_file(folder, "ours", steps, 16, over, data)
            found = timed([*GANSWEEP, "run", str(file), "--home", str(folder / "home")])
            ours.append(found.seconds)
            peaks = found.peaks
            command = [sys.executable, str(HERE / "peer.py"), "--data", str(data), "--out", str(folder / "peer")]
            theirs.append(timed([*command, "--trials", str(trials), "--steps", str(steps)]).seconds)
        _say(f"{trials} × {steps}: gansweep {ours[-1]:.1f} s, peer {theirs[-1]:.1f} s")
    ratio = statistics.median(t / o for o, t in zip(ours, theirs, strict=True))
    return {"trials": trials, "steps": steps, "gansweep_s": ours, "peer_s": theirs, "ratio": ratio, "peak_bytes": peaks}


def throughput(data: Path, steps: int, rounds: int) -> dict[str, Any]:
    """Steps/s of two trials in a sweep with everything recorded, over two processes of the bare loop."""
    found: dict[str, list[float]] = {"sweep": [], "bare": [], "plain": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        home = Home(folder / "home")
        for number in range(rounds):
            name = f"through-{number}"
            file = sweep_file(folder, name, steps, 16, {"training.learning_rate": [1e-4, LEARNING_RATE]}, data)
            # not timed(): watching memory takes 3 % of two cores from what is measured here
            subprocess.run([*GANSWEEP, "run", str(file), "--home", str(home.path)], check=True, capture_output=True)
            found["sweep"].append(sum(_rate(home, name)))
            for mode, options in (("bare", [f"--steps={steps}"]), ("plain", ["--plain", f"--steps={steps // 3}"])):
                command = [sys.executable, str(HERE / "bare_loop.py"), "--data", str(data), *options]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[mode].append(json.loads(output)["total_steps_per_s"])
            _say(", ".join(f"{mode} {rates[-1]:.2f} steps/s" for mode, rates in found.items()))
    return {
        **{f"{mode}_steps_per_s": rates for mode, rates in found.items()},
        "sweep_over_bare": statistics.median(s / b for s, b in zip(found["sweep"], found["bare"], strict=True)),
        "plain_over_bare": statistics.median(p / b for p, b in zip(found["plain"], found["bare"], strict=True)),
    }


def _rate(home: Home, name: str) -> list[float]:
    """Steps/s of each trial between its first and its last record: everything between them is included."""
    rates = []
    for trial in home.sweep(name).planned():
        records = journal.read(trial.journal)
        first, last = records[0], records[-1]
        rates.append((last.step - first.step) / (last.time - first.time))
    return rates


def start_up() -> dict[str, float]:
    """Seconds of `--help`, and of a plan of 1,000 trials without timing: the fastest of five."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = folder / "thousand.yaml"
        over = {
            "training.learning_rate": [1e-4 * (1 + i / 100) for i in range(100)],
            "model.latent_dim": [*range(20, 30)],
        }
        file.write_text(
            json.dumps({"name": "thousand", "training": {"steps": 1}, "search": {"method": "grid", "over": over}})
        )
        plan = [*GANSWEEP, "plan", "--no-timing", str(file), "--home", str(folder / "home")]
        timed(plan)  # decodes the digits
        found = {
            "help_s": min(timed([*GANSWEEP, "--help"]).seconds for _ in range(5)),
            "plan_thousand_s": min(timed(plan).seconds for _ in range(5)),
        }
    _say(", ".join(f"{name} {seconds:.2f}" for name, seconds in found.items()))
    return found


def evaluation(data: Path, maps: tuple[int, ...] = (8, 16, 64), rounds: int = 3) -> dict[str, Any]:
    """Seconds of all evaluations of a run of 600 steps over those of its steps, by width; steps and evaluations take
    turns in one process of one thread."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for width in maps:
            command = [sys.executable, str(HERE / "evaluation.py"), str(data), scratch, str(width), str(rounds)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as Ray gives a trial of one CPU
            output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
            found[str(width)] = json.loads(output)
            _say(f"{width} maps: evaluation is {found[str(width)]['share']:.1%} of training")
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "start_up": lambda data: start_up(),
    "short": lambda data: against_peer(data, trials=10, steps=100, rounds=3),
    "many_trials": lambda data: many_trials.measure(),
    "evaluation": evaluation,
    "throughput": lambda data: throughput(data, steps=600, rounds=6),
    "long": lambda data: against_peer(data, trials=4, steps=1000, rounds=2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help="measure these anew [all]")
    parser.add_argument("--data", type=Path, default=DATA, help="root of torchvision's MNIST")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write, or to replace parts of")
    args = parser.parse_args()
    data = find_mnist(args.data)
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    for name in args.parts:
        results[name] = PARTS[name](data)
        results["context"] = tags(current(HERE))
        args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
