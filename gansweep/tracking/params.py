"""Conversion of a trial's settings from the parameters of its MLflow run, which are text, to values with types."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from gansweep.sweepfile.settings import DATA, DEVICE, STEPS
from gansweep.sweeps.summary import Summary

PARAMETERS = "parameters."  # + the name of a network: its number of parameters


def settings_of(params: Mapping[str, str], told: Summary) -> dict[str, Any]:
    """Return every setting of a trial except the seed: dotted key → value, with the keys of `settings.of_trial`.

    A value is a number, a truth value or text; a varied setting may also be None. The types of varied settings are
    those in the summary. The types of the others are inferred from the text that MLflow stores.

    Args:
        params: Parameters of the trial's MLflow run.
        told: Summary of the trial.
    """
    found = {k: _value(text) for k, text in params.items() if k != "seed" and not k.startswith(PARAMETERS)}
    plain = {k: v if isinstance(v, bool | int | float | None) else str(v) for k, v in told.varied.items()}
    derived = {STEPS: told.steps, DATA: told.data_fingerprint}
    return {**found, **plain, **derived, **({DEVICE: told.device} if told.device else {})}


def parameters_of(params: Mapping[str, str]) -> dict[str, int]:
    """Return the number of parameters of each network, by the network's name.

    `params`: Parameters of the trial's MLflow run.
    """
    return {k.removeprefix(PARAMETERS): int(text) for k, text in params.items() if k.startswith(PARAMETERS)}


def _value(text: str) -> Any:
    """Return the number or truth value that `str` writes as this text; for any other text, even a list, the text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float) and str(value) == text else text
