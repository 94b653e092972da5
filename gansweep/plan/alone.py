"""One trial of a sweep as a sweep of its own."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from gansweep.plan.settings import in_file

LONGEST_NAME = 50  # characters of the sweep's name that are kept: with the id it must fit in a name


def alone(
    source: str, sweep: str, trial_id: str, seed: int, varied: Mapping[str, Any], overrides: Sequence[str]
) -> str:
    """The command that trains a trial alone: the sweep's own file with the search taken out and the trial's values put
    in, under a name of its own. varied: as `settings.varied` has it. overrides: those that the sweep was run with; what
    the trial's own values replace is left out."""
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
    """Whether settings give this key, or a section that it lies in, another value."""
    parts = key.split(".")
    return any(".".join(parts[:count]) in settings for count in range(1, len(parts) + 1))


def _yaml(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)  # YAML reads "\ud83d\ude00" as two characters
