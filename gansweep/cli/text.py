"""How numbers, settings and outcomes are written for people."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gansweep.health.verdict import FAILURES
from gansweep.plan.alone import alone
from gansweep.records.layout import SweepFolder, read_json
from gansweep.report.words import number, telling_parts

# One colour an outcome, everywhere. Both ends of the palette differ in lightness, for the colour-blind.
COLOURS = {
    "pending": "bright_black",
    "running": "cyan",
    "completed": "green",
    "stopped": "yellow",
    "crashed": "bold red",
    "interrupted": "blue",
}
# One colour a group of verdicts: magenta and green differ for every kind of eye.
FAILED, HEALTHY, UNDECIDED, INFORMATION = "bold magenta", "green", "bright_black", "cyan"

MOST_COLUMNS = 3  # of settings
MANY_SETTINGS = "settings"  # heads the one column that stands for more of them


def verdict_colour(kind: str) -> str:
    """Of any kind of verdict."""
    if kind in FAILURES:
        return FAILED
    return {"healthy": HEALTHY, "undecided": UNDECIDED}.get(kind, INFORMATION)


def measured(value: float | None, digits: int = 3) -> str:
    """A measurement to a few significant digits; – where there is none."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


def setting_columns(settings: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What each trial's settings are, as columns: a heading, and a cell a trial.

    A column a key; where there are many keys, which few trials change each, one column that says what is unusual.
    """
    names = _short_names(settings)
    if len(names) > MOST_COLUMNS:
        usual = {key: Counter(number(s.get(key)) for s in settings).most_common(1)[0][0] for key in names}
        return [[MANY_SETTINGS, *(_unusual(one, names, usual) for one in settings)]]
    return [[name, *(number(one.get(key, "")) for one in settings)] for key, name in names.items()]


def varied(settings: Mapping[str, Any], seed: int | None = None) -> str:
    """learning_rate=2e-4 beta1=0.5 seed=0."""
    parts = [f"{name}={number(settings[key])}" for key, name in _short_names([settings]).items()]
    return " ".join(parts + ([f"seed={seed}"] if seed is not None else []))


def _short_names(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """training.learning_rate → learning_rate, or more of it where another key ends alike."""
    keys = list(dict.fromkeys(key for one in settings for key in one))
    return {key: ".".join(parts) for key, parts in telling_parts(keys).items()}


def _unusual(settings: Mapping[str, Any], names: Mapping[str, str], usual: Mapping[str, str]) -> str:
    found = {name: number(settings.get(key)) for key, name in names.items()}
    parts = [f"{names[key]}={found[names[key]]}" for key in names if found[names[key]] != usual[key]]
    return " ".join(parts) or "as most"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def command_alone(sweep: SweepFolder, document: Mapping[str, Any]) -> str:
    """What trains one trial (document: its trial.json) without the rest of its sweep."""
    overrides, seed = read_json(sweep.plan).get("overrides", []), document["config"]["seed"]
    return alone(str(sweep.source), sweep.name, document["id"], seed, document["varied"], overrides)


def to_json(data: Any) -> str:
    """Valid JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(data), indent=2, ensure_ascii=False)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
