"""A sweep of very many trials: what each costs beside its training, and whether the commands still answer.

python tests/benchmarks/many_trials.py [SIZE...] [--folder FOLDER]     prints it; keeps the last sweep's home in FOLDER
python tests/benchmarks/compare.py many_trials --out docs/speed.json   records it; takes about 15 minutes

Trials of one step of the smallest networks, without evaluations, through the real `gansweep run`: a sweep of ten, which
has what every sweep costs, and one of each size, each in a fresh home. Times are those at which the command says that a
trial has ended. What a trial takes by itself is measured apart: in as many processes as the sweep has, of one thread
each, that train such trials one after the other without Ray. What is left of the time of a trial is scheduling.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from gansweep.engine.environment import WORKERS
from gansweep.gan.cores import cores
from gansweep.planning.dispatch import job_of
from gansweep.planning.job import Job
from gansweep.planning.plan import make_plan
from gansweep.records.layout import Home
from gansweep.sweepfile.loader import load

COMMAND = [sys.executable, "-m", "gansweep.cli"]
SWEEP, SIZES, FEW = "many", (500, 1_000, 2_000), 10
SETTLED = 200  # trials after which MLflow is loaded and the publisher at work
OWN_TRIALS, WARM_UP = 100, 10  # of each process that trains without Ray
END = " completed at step "
RAY = ("gcs_server", "raylet")


@dataclass(frozen=True)
class Mark:
    """Measurement when `trials` trials had ended.

    Attributes:
        bytes: Resident memory of the driver.
        main_s: CPU seconds of its main thread, which schedules.
        other_s: CPU seconds of its other threads (the publisher, Ray's).
        ray_s: CPU seconds of Ray's own processes.
    """

    trials: int
    at_s: float
    bytes: int
    main_s: float
    other_s: float
    ray_s: float


def sweep_file(folder: Path, trials: int) -> Path:
    """Random draws: any number of them, each with settings of its own."""
    path = folder / f"{SWEEP}.yaml"
    over = {"training.learning_rate": {"log_uniform": [1e-5, 1e-2]}, "training.beta1": {"uniform": [0.0, 0.9]}}
    objective = {"metric": "loss_g", "mode": "min"}
    document = {
        "name": SWEEP,
        "dataset": {"name": "digits", "image_size": 16},
        "model": {"latent_dim": 2, "feature_maps": 1},
        "training": {"steps": 1, "batch_size": 2},
        "evaluation": {"per_run": 0},
        "search": {"method": "random", "trials": trials, "over": over, "objective": objective},
    }
    path.write_text(json.dumps(document))
    return path


def run(file: Path, home: Path, at: Collection[int]) -> tuple[list[Mark], float]:
    """Run a sweep to its end: a mark for each of these numbers of trials, and the seconds of the whole command."""
    began = time.perf_counter()
    command = [*COMMAND, "run", str(file), "--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    marks, ended, output = [], 0, ""
    for line in process.stderr:
        if END in line:
            ended += 1
            if ended in at:
                marks.append(_mark(psutil.Process(process.pid), ended, began))
        else:
            output += line if "running from" not in line else ""
    if process.wait():
        raise SystemExit(output)
    print(f"{marks[-1].trials} trials: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return marks, time.perf_counter() - began


def _mark(driver: psutil.Process, trials: int, began: float) -> Mark:
    at = time.perf_counter() - began
    threads = {thread.id: thread.user_time + thread.system_time for thread in driver.threads()}
    main = threads.pop(driver.pid)
    ray = sum(sum(child.cpu_times()[:2]) for child in driver.children() if child.name() in RAY)
    return Mark(trials, at, driver.memory_info().rss, main, sum(threads.values()), ray)


def each(first: Mark, last: Mark) -> dict[str, float]:
    """Per trial, between two marks."""
    before, after = asdict(first), asdict(last)
    return {name: (after[name] - before[name]) / (last.trials - first.trials) for name in after if name != "trials"}


def own_s(file: Path, home: Path, slots: int, trials: int = OWN_TRIALS) -> float:
    """Seconds of a trial by itself: opened, trained, recorded, closed; in `slots` parallel processes."""
    plan = make_plan(load(file, (), 10_000), Home(home))
    configs = [job_of(plan, planned, 0.0).to_config() for planned in plan.trials[: slots * (WARM_UP + trials)]]
    os.environ.update({**WORKERS, "OMP_NUM_THREADS": "1"})  # as trial processes have them
    with ProcessPoolExecutor(slots, get_context("spawn")) as pool:
        return sum(pool.map(_train, [configs[n::slots] for n in range(slots)])) / slots


def _train(configs: list[dict[str, Any]]) -> float:
    """Seconds of each of them, on average, after those that warm up."""
    began = 0.0
    for number, config in enumerate(configs):
        if number == WARM_UP:
            began = time.perf_counter()
        trial = Job.from_config(config).open()
        while trial.advance(1.0) is None:
            pass
        trial.close()
    return (time.perf_counter() - began) / (len(configs) - WARM_UP)


def commands(file: Path, home: Path) -> dict[str, float]:
    """Seconds of each command on a finished sweep."""
    trials = [folder.id for folder in Home(home).sweep(SWEEP).planned()]
    asked = {
        "status": ["status", SWEEP],
        "status_json": ["status", SWEEP, "--json"],
        "plan": ["plan", str(file), "--no-timing"],
        "run": ["run", str(file)],
        "best": ["best", SWEEP],
        "compare": ["compare", *trials[:2]],
        "show": ["show", trials[0]],
        "diagnose": ["diagnose", SWEEP],
        "export": ["export", SWEEP, "--csv", str(home.parent / "csv")],
        "report": ["report", SWEEP, "-o", str(home.parent / "report.pdf")],
    }
    return {name: _seconds([*COMMAND, *words, "--home", str(home)]) for name, words in asked.items()}


def _seconds(command: list[str]) -> float:
    """Seconds of a command that exits with 0, or with 1 and a reason (`diagnose` of trials without evaluations)."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return time.perf_counter() - began


def measure(sizes: Sequence[int] = SIZES, folder: Path | None = None) -> dict[str, Any]:
    """ten_s: seconds of a sweep of FEW trials, the whole command. own_s: see above. sizes: for each, what a trial costs
    from the SETTLED one on; peak_bytes: of the driver, at the last trial; tail_s: from there to the end of the command;
    load: processes that wanted a core before it began, a minute's average. commands: seconds, on the last sweep."""
    slots = cores()
    found: dict[str, Any] = {"slots": slots, "sizes": {}}
    with tempfile.TemporaryDirectory(prefix="gansweep-") as scratch:
        few = Path(scratch, "few")
        few.mkdir()
        _, found["ten_s"] = run(sweep_file(few, FEW), few / "home", [FEW])
        found["own_s"] = own_s(sweep_file(few, slots * (OWN_TRIALS + WARM_UP)), few / "own", slots)
        for size in sizes:
            place = folder or Path(scratch, str(size))
            shutil.rmtree(place / "home", ignore_errors=True)
            place.mkdir(exist_ok=True)
            file, load_before = sweep_file(place, size), os.getloadavg()[0]
            (first, last), whole = run(file, place / "home", [min(SETTLED, size // 2), size])
            ended = {"peak_bytes": last.bytes, "tail_s": whole - last.at_s, "load": load_before}
            found["sizes"][str(size)] = {**each(first, last), **ended}
        found["commands"] = commands(file, place / "home")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE")
    parser.add_argument("--folder", type=Path, help="keeps the home of the last sweep")
    given = parser.parse_args()
    print(json.dumps(measure(given.sizes, given.folder), indent=1))
