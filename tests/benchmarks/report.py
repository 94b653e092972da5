"""How long `gansweep report` takes, from the command to the PDF, and how large that is: 10, 100 and 200 trials of a
made-up sweep in a real store. Leave the machine alone meanwhile.

python tests/benchmarks/report.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pypdfium2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from synthetic import publish


def report(trials: int, rounds: int) -> dict[str, object]:
    """Seconds of the whole command, where they go in the last round, pages and megabytes."""
    seconds, stderr = [], ""
    with tempfile.TemporaryDirectory() as scratch:
        home, pdf = publish(Path(scratch) / "home", trials), Path(scratch) / "report.pdf"
        command = [sys.executable, "-m", "gansweep.cli", "report", "synthetic", "-o", str(pdf), "--verbose"]
        for _ in range(rounds):
            began = time.perf_counter()
            done = subprocess.run([*command, "--home", str(home.path)], check=True, capture_output=True, text=True)
            seconds.append(round(time.perf_counter() - began, 2))
            stderr = done.stderr
        pages, size = len(pypdfium2.PdfDocument(pdf)), pdf.stat().st_size
    parts = dict(line.rsplit(maxsplit=2)[:2] for line in stderr.splitlines() if line.endswith(" s"))
    median = statistics.median(seconds)
    return {
        "trials": trials,
        "seconds": seconds,
        "median_s": median,
        "parts_s": parts,
        "pages": pages,
        "MB": size / 1e6,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(json.dumps([report(trials, given.rounds) for trials in (10, 100, 200)], indent=1))
