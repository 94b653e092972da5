"""Rerun command of a single trial."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from gansweep.sweepfile.settings import in_file

LONGEST_NAME = 50  # characters of the sweep's name that are kept, so that the name fits with the trial's id


def rerun_command(
    source: str, sweep: str, trial_id: str, seed: int, varied: Mapping[str, Any], overrides: Sequence[str]
) -> str:
    """Return the command that trains a trial by itself.

    It runs the sweep's file without the search, with the trial's values, under a new name.

    Args:
        source: Path of the sweep file.
        sweep: Name of the sweep.
        trial_id: Id of the trial.
        seed: Seed of the trial.
        varied: Varied settings, as returned by `settings.varied`.
        overrides: The --set options of the sweep. Those that the trial's own values replace are dropped.
    """
    settings = {
        "name": f"{sweep[:LONGEST_NAME]}-{trial_id}",
        "search": "null",
        "replicates": "1",
        "seed": str(seed),
        **{key: _yaml(value) for key, value in in_file(varied).items()},
    }
    kept = [one for one in overrides if not _is_replaced(one.partition("=")[0], settings)]
    given = [*kept, *(f"{key}={value}" for key, value in settings.items())]
    return shlex.join(["gansweep", "run", source, *(word for one in given for word in ("--set", one))])


def _is_replaced(key: str, settings: Mapping[str, str]) -> bool:
    """Whether the settings contain this key or a section that contains it."""
    parts = key.split(".")
    return any(".".join(parts[:count]) in settings for count in range(1, len(parts) + 1))


def _yaml(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)  # YAML reads "\ud83d\ude00" as two characters
