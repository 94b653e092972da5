"""Judge the recorded runs by the rules of version 0.1.0: results/former_tags.csv, a baseline of measure_tags.

    git worktree add /tmp/former b67bb4d
    PYTHONPATH=/tmp/former python analysis/verdicts/judge_formerly.py

Uses the package of that version alone, and no other module of analysis/.
"""

import csv
import gzip
import json
from pathlib import Path

from gansweep import History, Judge

RESULTS = Path(__file__).with_name("results")
THEN = {"fd_ratio": "cfd_ratio"}  # name of a metric → its name in that version


def tag(run):
    """Return the tag at the end of a run."""
    table = {}
    for name, (steps, values) in run["series"].items():
        for step, value in zip(steps, values, strict=True):
            table.setdefault(step, {})[THEN.get(name, name)] = value
    return Judge().conclude(History.of(sorted(table.items()), run["budget"]))[0].kind


if __name__ == "__main__":
    with (RESULTS / "former_tags.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["run", "tag"])
        for path in sorted(RESULTS.glob("fourth_*.jsonl.gz")):
            with gzip.open(path, "rt") as lines:
                out.writerows([run["id"], tag(run)] for run in map(json.loads, lines))
