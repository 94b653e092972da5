"""The README's speed table, from what compare.py measured.

python tests/benchmarks/table.py docs/speed.json
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any


def table(results: dict[str, Any]) -> str:
    """Markdown: what was measured, gansweep, the peer, and the target."""
    short, long, through = results["short"], results["long"], results["throughput"]
    start, many, peaks = results["start_up"], results["many_trials"], results["long"]["peak_bytes"]
    sweep, bare, plain = (statistics.median(through[f"{mode}_steps_per_s"]) for mode in ("sweep", "bare", "plain"))
    rows = [
        ("", "gansweep", "compared with", "ratio", "target"),
        ("---", "---:", "---:", "---:", "---:"),
        _against_peer(short, "2.2"),
        _against_peer(long, "1.6"),
        (
            "training inside a sweep, everything recorded",
            f"{sweep:.1f} steps/s",
            f"{bare:.1f} steps/s, bare loop",
            f"{through['sweep_over_bare']:.3f}",
            "≥ 0.95",
        ),
        (
            "the tutorial's loop, without Ray or MLflow",
            f"{plain:.1f} steps/s",
            f"{bare:.1f} steps/s, bare loop",
            f"{through['plain_over_bare']:.2f}",
            "near 0.64",
        ),
        ("200 trials of 1 step: each beyond the first ten", f"{many['each_beyond_s']:.2f} s", "", "", "≤ 0.3 s"),
        *_evaluations(results["evaluation"]),
        ("`gansweep --help`", f"{start['help_s']:.2f} s", "", "", "< 0.5 s"),
        ("`gansweep plan --no-timing`, 1,000 trials", f"{start['plan_thousand_s']:.2f} s", "", "", "< 2 s"),
        ("peak memory of the driver", f"{peaks['command'] / 1e6:.0f} MB", "", "", ""),
        ("peak memory of a trial's process", f"{peaks['trial'] / 1e6:.0f} MB", "", "", ""),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _evaluations(found: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            f"26 evaluations in 600 steps, {maps} feature maps",
            f"{1000 * one['evaluation_s']:.0f} ms each",
            f"{1000 * one['step_s']:.0f} ms a step",
            f"{one['share']:.3f}",
            "≤ 0.10",
        )
        for maps, one in found.items()
    ]


def _against_peer(found: dict[str, Any], target: str) -> tuple[str, ...]:
    ours, theirs = statistics.median(found["gansweep_s"]), statistics.median(found["peer_s"])
    what = f"{found['trials']} trials × {found['steps']:,} steps, the whole command"
    return what, f"{ours:.0f} s", f"{theirs:.0f} s, peer", f"{found['ratio']:.2f}", f"≥ {target}"


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
