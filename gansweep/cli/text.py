"""How numbers, settings and outcomes are written for people."""

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
from gansweep.sweepfile.rerun import alone
from gansweep.sweepfile.settings import varied as varied_of

# One colour an outcome, everywhere. Both ends of the palette differ in lightness, for the colour-blind.
COLOURS = {
    "pending": "bright_black",
    "running": "cyan",
    "completed": "green",
    "stopped": "yellow",
    "crashed": "bold red",
    "interrupted": "blue",
}
# One colour per standing of verdicts: magenta and green differ for every kind of eye.
STANDINGS = {
    Standing.FAILURE: "bold magenta",
    Standing.HEALTHY: "green",
    Standing.UNDECIDED: "bright_black",
    Standing.INFORMATION: "cyan",
}

SHARE = 0.4  # of a line, that columns of settings may take
MANY_SETTINGS = "settings"  # heads the one column that stands for more of them


def verdict_colour(kind: str) -> str:
    """Return the colour of a kind of verdict in a terminal."""
    return STANDINGS[KINDS[kind].standing]


def measured(value: float | None, digits: int = 3) -> str:
    """A measurement to a few significant digits; – where there is none."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


@dataclass(frozen=True)
class SettingColumns:
    """What each trial's settings are. columns: a heading, and a cell a trial. usual: what most trials have, where the
    columns leave that out, in words."""

    columns: list[list[str]]
    usual: str = ""


def columns_of(settings: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A column a key."""
    return [[name, *(number(one.get(key, "")) for one in settings)] for key, name in _short_names(settings).items()]


def setting_columns(settings: Sequence[Mapping[str, Any]], width: int) -> SettingColumns:
    """A column a key; where these take more than SHARE of a line, one that says what a trial has and most have not."""
    columns = columns_of(settings)
    if sum(max(map(len, column)) + 2 for column in columns) <= SHARE * width:
        return SettingColumns(columns)
    usual = {name: _usual(values) for name, *values in columns}
    cells = [_words({name: values[i] for name, *values in columns if values[i] != usual[name]})
             for i in range(len(settings))]  # fmt: skip
    most = _words({name: value for name, value in usual.items() if value is not None})
    return SettingColumns([[MANY_SETTINGS, *(cell or "as most" for cell in cells)]], most)


def _usual(values: Sequence[str]) -> str | None:
    """What more than half have; None where there is no such value."""
    value, times = Counter(values).most_common(1)[0]
    return value if times > 1 and 2 * times > len(values) else None


def varied(settings: Mapping[str, Any], seed: int | None = None) -> str:
    """learning_rate=2e-4 beta1=0.5 seed=0."""
    words = _words(dict(columns_of([settings])))
    return words if seed is None else f"{words} seed={seed}".lstrip()


def _words(settings: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _short_names(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """training.learning_rate → learning_rate, or more of it where another key ends alike."""
    keys = list(dict.fromkeys(key for one in settings for key in one))
    return {key: ".".join(parts) for key, parts in telling_parts(keys).items()}


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def command_alone(sweep: SweepFolder, document: Mapping[str, Any]) -> str:
    """What trains one trial (document: its trial.json) without the rest of its sweep.

    The sweep's file is that of the current plan: of a trial of an earlier one the command says all that differs.
    """
    overrides, seed = read_json(sweep.plan).get("overrides", []), document["config"]["seed"]
    varied, planned = document["varied"], sweep.planned()
    if planned and document["id"] not in [trial.id for trial in planned]:
        varied, _ = varied_of([document, read_json(planned[0].trial)])
    return alone(str(sweep.source), sweep.name, document["id"], seed, varied, overrides)


def say(text: str) -> None:
    """On stderr; on a terminal it is wrapped at words, as what a running sweep says."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=not console.is_terminal)


def reached(found: Mapping[str, Any], metric: str) -> list[tuple[str, str]]:
    """Return what a trial reached as lines of a table: the value that ranks it, and its best one.

    Args:
        found: as `records.figures` gives it.
        metric: the objective.
    """
    return [
        ("quality", at_step(metric, found["quality"], found["quality_step"])),
        ("best value", at_step(metric, found["best_value"], found["best_step"])),
    ]


def at_step(metric: str, value: float | None, step: int | None) -> str:
    """Return "cfd_ratio 3.48 at step 500"; empty where there is no value."""
    return "" if step is None else f"{metric} {measured(value)} at step {step:,}"


def to_json(data: Any) -> str:
    """Valid JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(data), indent=2, ensure_ascii=False)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
