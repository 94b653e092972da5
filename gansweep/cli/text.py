"""Formatting of numbers, settings and outcomes for terminals."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gansweep.health.kinds import Standing
from gansweep.health.verdict import KINDS
from gansweep.records.layout import SweepFolder, read_json
from gansweep.report.words import number, telling_parts
from gansweep.sweepfile import rerun
from gansweep.sweepfile.settings import varied as varied_of

# One colour per outcome. Opposite outcomes differ in lightness, for colour-blind users.
COLOURS = {
    "pending": "bright_black",
    "running": "cyan",
    "completed": "green",
    "stopped": "yellow",
    "crashed": "bold red",
    "interrupted": "blue",
}
# One colour per standing of verdicts: colour-blind users can tell magenta and green apart.
STANDINGS = {
    Standing.FAILURE: "bold magenta",
    Standing.HEALTHY: "green",
    Standing.UNDECIDED: "bright_black",
    Standing.STATE: "blue",
    Standing.INFORMATION: "cyan",
}

SHARE = 0.4  # maximum fraction of a line for columns of settings
MANY_SETTINGS = "settings"  # heading of a column that combines several settings


def verdict_colour(kind: str) -> str:
    """Return the colour of a kind of verdict in a terminal."""
    return STANDINGS[KINDS[kind].standing]


def measured(value: float | None, digits: int = 3) -> str:
    """Format a measurement with `digits` significant digits, or two if it is nearer to 0 than .001; "–" for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


@dataclass(frozen=True)
class SettingColumns:
    """Settings of trials, for a table.

    Attributes:
        columns: One list per column: its heading, then one cell per trial.
        usual: Settings of most trials, as text, if the columns omit them; else "".
    """

    columns: list[list[str]]
    usual: str = ""


def columns_of(settings: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return one column per key: its short name as heading, then the value in each mapping as text, "" if missing."""
    return [[name, *(number(one.get(key, "")) for one in settings)] for key, name in _short_names(settings).items()]


def setting_columns(settings: Sequence[Mapping[str, Any]], width: int) -> SettingColumns:
    """Return one column per key.

    If these columns need more than SHARE of a line of `width` characters, return a single column instead. It lists the
    settings in which each trial differs from most trials.
    """
    columns = columns_of(settings)
    if sum(max(map(len, column)) + 2 for column in columns) <= SHARE * width:
        return SettingColumns(columns)
    usual = {name: _usual(values) for name, *values in columns}
    cells = [_words({name: values[i] for name, *values in columns if values[i] != usual[name]})
             for i in range(len(settings))]  # fmt: skip
    most = _words({name: value for name, value in usual.items() if value is not None})
    return SettingColumns([[MANY_SETTINGS, *(cell or "as most" for cell in cells)]], most)


def _usual(values: Sequence[str]) -> str | None:
    """Return the value of more than half of the trials; None if there is none."""
    value, times = Counter(values).most_common(1)[0]
    return value if times > 1 and 2 * times > len(values) else None


def varied(settings: Mapping[str, Any], seed: int | None = None) -> str:
    """Format settings, as in "learning_rate=2e-4 beta1=0.5 seed=0"."""
    words = _words(dict(columns_of([settings])))
    return words if seed is None else f"{words} seed={seed}".lstrip()


def _words(settings: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _short_names(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return key → its shortest unique ending, as in training.learning_rate → learning_rate."""
    keys = list(dict.fromkeys(key for one in settings for key in one))
    return {key: ".".join(parts) for key, parts in telling_parts(keys).items()}


def size(count: float) -> str:
    """Format a number of bytes in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def rerun_command(sweep: SweepFolder, document: Mapping[str, Any]) -> str:
    """Return the command that trains one trial again by itself.

    The command uses the sweep file in the sweep's folder, which describes the current plan. For a trial of an earlier
    plan, the command therefore sets all settings in which the trial differs from that plan.

    Args:
        sweep: Folder of the sweep.
        document: Content of the trial's trial.json.
    """
    overrides, seed = read_json(sweep.plan).get("overrides", []), document["config"]["seed"]
    varied, planned = document["varied"], sweep.planned()
    if planned and document["id"] not in [trial.id for trial in planned]:
        varied, _ = varied_of([document, read_json(planned[0].trial)], ["", ""])  # a command cannot choose a device
    return rerun.rerun_command(str(sweep.source), sweep.name, document["id"], seed, varied, overrides)


def say(text: str) -> None:
    """Print a message on stderr; on a terminal it is wrapped between words."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=not console.is_terminal)


def reached(found: Mapping[str, Any], metric: str) -> list[tuple[str, str]]:
    """Return (heading, text) for the value by which a trial is ranked, and for its best value.

    Args:
        found: Figures of the trial, as returned by `records.figures`.
        metric: The objective.
    """
    return [
        ("quality", at_step(metric, found["quality"], found["quality_step"])),
        ("best value", at_step(metric, found["best_value"], found["best_step"])),
    ]


def at_step(metric: str, value: float | None, step: int | None) -> str:
    """Format a value, as in "fd_ratio 3.48 at step 500"; "" for None."""
    return "" if step is None else f"{metric} {measured(value)} at step {step:,}"


def to_json(data: Any) -> str:
    """Return data as valid JSON: numbers that are not finite become null."""
    return json.dumps(_finite(data), indent=2, ensure_ascii=False)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
