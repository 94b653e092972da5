"""Histories of labelled runs as compact JSON lines."""

import gzip
import json
import sys
from concurrent.futures import ProcessPoolExecutor

KEPT = ("loss_d", "nonfinite_step")  # in addition to the records of evaluations


def compact(points):
    """Return metric → [steps, values], rounded to four digits."""
    series = {}
    for step, values in points:
        for name, value in values.items():
            if name in KEPT or "fd_ratio" in values:
                steps, numbers = series.setdefault(name, ([], []))
                steps.append(step)
                numbers.append(float(f"{value:.4g}"))
    return series


def write(output, function, tasks):
    """Write one JSON line per task, computed by two processes."""
    with ProcessPoolExecutor(2) as pool, gzip.open(output, "wt") as file:
        for number, run in enumerate(pool.map(function, tasks), 1):
            file.write(json.dumps(run) + "\n")
            print(f"{number}/{len(tasks)}", end="\r", file=sys.stderr)
