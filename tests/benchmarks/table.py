"""The speed tables of docs/benchmarks.md and docs/scale.md, from what compare.py measured.

python tests/benchmarks/table.py docs/speed.json
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


def table(results: dict[str, Any]) -> str:
    """Return the table of benchmarks as Markdown: measurement, gansweep, the peer, and the target."""
    short, long, through = results["short"], results["long"], results["throughput"]
    start, peaks = results["start_up"], results["long"]["peak_bytes"]
    size, many = [*results["many_trials"]["sizes"].items()][-1]
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
        (f"{int(size):,} trials of 1 step, per trial", f"{many['at_s']:.2f} s", "", "", "≤ 0.1 s"),
        *_evaluations(results["evaluation"]),
        ("`gansweep --help`", f"{start['help_s']:.2f} s", "", "", "< 0.5 s"),
        ("`gansweep plan --no-timing`, 1,000 trials", f"{start['plan_thousand_s']:.2f} s", "", "", "< 2 s"),
        ("peak memory of the driver", f"{peaks['command'] / 1e6:.0f} MB", "", "", ""),
        ("peak memory of a trial's process", f"{peaks['trial'] / 1e6:.0f} MB", "", "", ""),
    ]
    return _markdown(rows)


def scale(results: dict[str, Any]) -> str:
    """Return the costs per trial of large sweeps as Markdown, one column per size, with the targets."""
    many = results["many_trials"]
    slots, sizes = many["slots"], many["sizes"].values()
    own_s = many["own_s"] / slots

    def row(what: str, target: str, figure: Callable[[dict[str, float]], str]) -> tuple[str, ...]:
        return (what, *map(figure, sizes), target)

    rows = [
        ("per trial", *(f"{int(size):,} trials" for size in many["sizes"]), "target"),
        ("---", *["---:"] * len(sizes), "---:"),
        row("wall-clock time", "≤ 0.1 s", lambda one: f"{1000 * one['at_s']:.0f} ms"),
        row(f"of which the trial's own work, {slots} at a time", "", lambda one: f"{1000 * own_s:.0f} ms"),
        row("CPU of the driver's main thread: scheduling", "≤ 0.1 s", lambda one: f"{1000 * one['main_s']:.1f} ms"),
        row("CPU of the driver's other threads: publishing", "", lambda one: f"{1000 * one['other_s']:.0f} ms"),
        row("CPU of Ray's own processes", "", lambda one: f"{1000 * one['ray_s']:.1f} ms"),
        row("memory of the driver, per trial", "≤ 80 kB", lambda one: f"{one['bytes'] / 1000:.0f} kB"),
        row("memory of the driver, total at the end", "", lambda one: f"{one['peak_bytes'] / 1e6:.0f} MB"),
        row("time from the last trial to the end of the command, total", "", lambda one: f"{one['tail_s']:.0f} s"),
        row("load of the machine before the run", "", lambda one: f"{one['load']:.1f}"),
    ]
    return _markdown(rows)


def answers(results: dict[str, Any]) -> str:
    """Return the run times of commands on the largest sweep as Markdown."""
    seconds = results["many_trials"]["commands"]
    return _markdown(
        [
            tuple(f"`{name.replace('_', ' --')}`" for name in seconds),
            ("---:",) * len(seconds),
            tuple(f"{taken:.1f} s" for taken in seconds.values()),
        ]
    )


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _evaluations(found: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            f"26 evaluations in 600 steps, {maps} feature maps",
            f"{1000 * one['evaluation_s']:.0f} ms each",
            f"{1000 * one['step_s']:.0f} ms per step",
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
    measured = json.loads(Path(sys.argv[1]).read_text())
    print(table(measured), scale(measured), answers(measured), sep="\n\n")
