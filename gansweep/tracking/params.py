"""The parameters of a trial's run, which are text, as settings with their types."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from gansweep.plan.settings import DATA, STEPS
from gansweep.tracking.summary import Summary


def settings_of(params: Mapping[str, str], told: Summary) -> dict[str, Any]:
    """Of a trial's run: dotted key → value of every setting but the seed, as `plan.settings.of_trial` names them.

    A value is a number, a truth value or text: the store keeps text, and of what varies the summary has the type.
    """
    found = {k: _value(text) for k, text in params.items() if k != "seed" and not k.startswith("parameters.")}
    plain = {k: v if isinstance(v, bool | int | float | None) else str(v) for k, v in told.varied.items()}
    derived = {STEPS: told.steps, DATA: told.data_fingerprint}
    return {**found, **plain, **derived}


def _value(text: str) -> Any:
    """The number or truth value whose text this is, else the text: lists stay text as well."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float) and str(value) == text else text
