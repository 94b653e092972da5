"""The table of docs/gpu.md, from what gpu.py measured.

python tests/benchmarks/gpu_table.py docs/gpu.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = tuple[str, str, str]


def table(figures: dict[str, Any]) -> str:
    """Return all parts that were measured as Markdown: what, figure, and comparison."""
    of = f"{figures['on'].get('card') or figures['on']['device'].upper()}, torch {figures['on']['torch']}"
    rows = [(of, "measured", "compared"), ("---", "---:", "---")]
    for name, part in PARTS.items():
        if name in figures:
            rows += part(figures[name], figures)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _tutorial(found: dict[str, float], figures: dict[str, Any]) -> Iterable[Row]:
    for count, rate in found.items():
        yield f"the tutorial's loop, {_processes(count)}", f"{rate:,.0f} steps/s", ""


def _step(found: list[dict[str, Any]], figures: dict[str, Any]) -> Iterable[Row]:
    for one in found:
        rates = one["steps_per_s"]
        for count, rate in rates.items():
            more = "" if count == "1" else f"{rate / rates['1']:.2f} × one process"
            yield f"{one['kind']} step, {_shape(one)}, {_processes(count)}", f"{rate:,.0f} steps/s", more


def _sweeps(found: list[dict[str, Any]], figures: dict[str, Any]) -> Iterable[Row]:
    for (what, rate, _), one in zip(_wide_sweeps(found, figures), found, strict=True):
        tutorial = figures.get("tutorial", {}).get(str(one["trials"]))
        more = f"{one['steps_per_s'] / tutorial:.1f} × the tutorial's loop in as many processes" if tutorial else ""
        yield what, rate, more


def _wide_sweeps(found: list[dict[str, Any]], figures: dict[str, Any]) -> Iterable[Row]:
    for one in found:
        trials = "1 trial" if one["trials"] == 1 else f"{one['trials']} trials"
        what = f"sweep of {trials} × {one['steps']:,} steps, {_shape(one)}"
        yield what, f"{one['steps_per_s']:,.0f} steps/s", ""


def _main_job(found: dict[str, Any], figures: dict[str, Any]) -> Iterable[Row]:
    first, again = found["command_s"]
    more = f"{again:.0f} s with the cache of an earlier run"
    yield "`gansweep run sweeps/lr_grid.yaml`, whole command", f"{first:.0f} s", more


def _peer(found: dict[str, Any], figures: dict[str, Any]) -> Iterable[Row]:
    ratio, than = found["peer_s"] / found["gansweep_s"], "" if found["peer_ended"] else "more than "
    theirs = f"{than}{ratio:.1f} × as fast as the peer's ({than}{found['peer_s']:.0f} s)"
    yield f"{found['trials']} trials × {found['steps']:,} steps, whole command", f"{found['gansweep_s']:.0f} s", theirs


PARTS: dict[str, Callable[[Any, dict[str, Any]], Iterable[Row]]] = {
    "tutorial": _tutorial,
    "step": _step,
    "sweeps": _sweeps,
    "wide_sweeps": _wide_sweeps,
    "main_job": _main_job,
    "peer": _peer,
}


def _shape(one: dict[str, Any]) -> str:
    return f"{one['maps']} maps, {one['side']} px, {one['precision']}"


def _processes(count: str) -> str:
    return "one process" if count == "1" else f"{count} processes"


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
