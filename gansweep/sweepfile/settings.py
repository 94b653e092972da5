"""Settings of trials by dotted key, and the settings in which the trials of a sweep differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from gansweep.records.layout import flat

STEPS, DATA, VERSION, DEVICE, CODE = "steps", "data_fingerprint", "training_version", "device", "code"
# Settings that follow from others, and are shown only if the others do not explain them. A prefix ends in a dot.
FOLLOWS = {
    STEPS: ("dataset.", DATA, "training.batch_size", "training.discriminator.updates"),
    DATA: ("dataset.",),
}
Settings = Mapping[str, Any]


def of_trial(document: Mapping[str, Any], device: str = "") -> dict[str, Any]:
    """Return all settings of a trial except its seed, without keys that are not set.

    The device is one of them, because the same configuration has other numbers on another device.

    Args:
        document: Content of trial.json.
        device: Devices of the trial, as given by records.devices.label; "" if it has not begun.
    """
    found = flat({key: value for key, value in document["config"].items() if key != "seed"})
    found |= {STEPS: document["steps"], DATA: document["data"]["fingerprint"]}
    found |= {key: document[key] for key in (VERSION, CODE) if key in document}
    return found | ({DEVICE: device} if device else {})


def configuration(settings: Settings) -> str:
    """Return a key that is equal for replicates: trials that differ only in the seed.

    Args:
        settings: Settings of a trial without its seed, as returned by `of_trial`.
    """
    return json.dumps(settings, sort_keys=True)


def telling(settings: Sequence[Settings], varied: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the keys that distinguish trials: those that the search varies, then all others in which they differ.

    If a trial's record lacks a key, as those of older versions may, the key's default is assumed. The device of a trial
    that has not begun does not distinguish it.
    """
    first = dict.fromkeys(varied)
    others = sorted({key for one in settings for key in one}.difference(first))
    return (*first, *(key for key in others if _tells(settings, key)))


def varied(documents: Sequence[Mapping[str, Any]], devices: Sequence[str]) -> list[dict[str, Any]]:
    """Return key → value of the settings that distinguish trials, one mapping per trial.

    Args:
        documents: Content of trial.json, for each trial.
        devices: Devices as in `of_trial`, for each trial.
    """
    settings = [of_trial(document, device) for document, device in zip(documents, devices, strict=True)]
    keys = telling(settings, (key for document in documents for key in document["varied"]))
    found = [{**own, **document["varied"]} for own, document in zip(settings, documents, strict=True)]
    return [{key: one.get(key) for key in keys} for one in found]


def in_file(settings: Settings) -> dict[str, Any]:
    """Return settings under the keys that they have in a sweep file, without settings that a file cannot contain."""
    found = {key: value for key, value in settings.items() if key not in (STEPS, DATA, VERSION, DEVICE, CODE)}
    length = {"training.epochs": None, "training.steps": settings[STEPS]} if STEPS in settings else {}
    return {**found, **length}


def _tells(settings: Sequence[Settings], key: str) -> bool:
    if key == DEVICE:
        settings = [one for one in settings if key in one]
    values = [_comparable(one[key] if key in one else _defaults().get(key)) for one in settings]
    if len(set(values)) < 2:
        return False
    if key not in FOLLOWS:
        return True
    causes = [tuple(sorted((k, _comparable(v)) for k, v in one.items() if _is_cause(k, key))) for one in settings]
    return len(set(zip(causes, values, strict=True))) > len(set(causes))


def _is_cause(key: str, of: str) -> bool:
    return any(key == cause or (cause.endswith(".") and key.startswith(cause)) for cause in FOLLOWS[of])


def _comparable(value: Any) -> str:
    """Return a text that is equal for equal values, such as 0 and 0.0."""
    return repr(float(value) if type(value) is int else value)


@cache
def _defaults() -> dict[str, Any]:
    """Return dotted key → default of the schema. The schema is imported here because few calls need it."""
    from gansweep.config import Training
    from gansweep.sweepfile.schema import TrialConfig

    return flat(TrialConfig(training=Training(steps=1)).model_dump())
