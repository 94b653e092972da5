"""The parameters of a trial's run, which are text, as settings with their types."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from gansweep.sweepfile.settings import DATA, DEVICE, STEPS
from gansweep.sweeps.summary import Summary

PARAMETERS = "parameters."  # + the name of a network: its number of parameters


def settings_of(params: Mapping[str, str], told: Summary) -> dict[str, Any]:
    """Return dotted key → value of every setting of a trial but the seed, as `plan.settings.of_trial` names them.

    A value is a number, a truth value or text: the store keeps text, and the summary has the types of what varies.
    """
    found = {k: _value(text) for k, text in params.items() if k != "seed" and not k.startswith(PARAMETERS)}
    plain = {k: v if isinstance(v, bool | int | float | None) else str(v) for k, v in told.varied.items()}
    derived = {STEPS: told.steps, DATA: told.data_fingerprint}
    return {**found, **plain, **derived, **({DEVICE: told.device} if told.device else {})}


def parameters_of(params: Mapping[str, str]) -> dict[str, int]:
    """Return network → its number of parameters. params: of the trial's run."""
    return {k.removeprefix(PARAMETERS): int(text) for k, text in params.items() if k.startswith(PARAMETERS)}


def _value(text: str) -> Any:
    """Return the number or truth value whose text this is, else the text: lists stay text as well."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float) and str(value) == text else text
