"""A sweep becomes trials: the grid, the draws or the cases, times the seeds, and each trial's identity."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gansweep.config import NetworkName, NetworkTraining, Training, to_plain
from gansweep.records.layout import flat
from gansweep.section import Section, Since
from gansweep.sweepfile.schema import Sweep, TrialConfig

# What trials were identified by at first, resolved below; any later key counts where it is not at its default, so that
# a new key with the old behaviour as its default gives nobody's trials other ids.
FIRST_MODEL_KEYS = (
    "architecture", "latent_dim", "feature_maps", "channels", "generator.feature_maps", "discriminator.feature_maps",
)  # fmt: skip
FIRST_TRAINING_KEYS = (
    "steps", "epochs", "batch_size", "precision",
    *(f"{part}{key}" for part in ("", "generator.", "discriminator.") for key in ("learning_rate", "beta1", "beta2")),
    "generator.updates", "discriminator.updates",
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    id: 12 hex digits, the hash of everything that determines the run's numbers.
    varied: dotted key → value, for the keys that the search varies, the same in all its trials.
    steps: length of the run; not part of the identity, so that more steps continue a run.
    """

    id: str
    config: TrialConfig
    varied: Mapping[str, Any]
    steps: int


def count(sweep: Sweep) -> int:
    """Return the number of trials, by arithmetic: a grid of any size is counted without being built."""
    return sweep.method.count * sweep.replicates


def assign(config: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """A copy of a nested dict with one dotted key set; the input is left alone."""
    head, _, rest = dotted.partition(".")
    inner = config.get(head)
    new = assign(inner if isinstance(inner, dict) else {}, rest, value) if rest else value
    return {**config, head: new}


def configurations(
    sweep: Sweep, suggested: Sequence[Mapping[str, Any]] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each configuration as (unvalidated config without a seed, varied values), in a fixed order.

    Args:
        suggested: The varied values that an adaptive search has suggested so far.
    """
    base = sweep.model_dump(include={"dataset", "model", "training", "evaluation"}, exclude_unset=True)
    own = flat(sweep.model_dump(include={"dataset", "model", "training"}))
    for varied in itertools.chain(sweep.method.configurations(own), map(dict, suggested)):
        config = base
        for key, value in varied.items():
            config = assign(config, key, value)
        yield config, varied


def trial_id(config: TrialConfig, data_fingerprint: str, training_version: int) -> str:
    """The content address of a run.

    Inherited settings are resolved first, so that saying a default aloud does not make another trial.
    Paths are left out: the fingerprint says what the images are, wherever they lie.
    """
    model, training = config.model, config.training
    content = {
        "data": data_fingerprint,
        "augment": config.dataset.augment.model_dump(),
        "validation": config.dataset.validation,
        "model": {
            "architecture": model.architecture,
            "latent_dim": model.latent_dim,
            "generator": model.generator.feature_maps or model.feature_maps,
            "discriminator": model.discriminator.feature_maps or model.feature_maps,
            **_beyond(model, FIRST_MODEL_KEYS),
        },
        "training": {
            "batch_size": training.batch_size,
            "precision": training.precision,
            "generator": _resolved(training, "generator"),
            "discriminator": _resolved(training, "discriminator"),
            **_beyond(training, (*FIRST_TRAINING_KEYS, *_network_keys())),
        },
        "evaluation": config.evaluation.model_dump(),
        "seed": config.seed,
        "version": training_version,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def alike(config: TrialConfig) -> str:
    """A text that is the same for configurations that are one trial on the same images: inherited settings resolved."""
    return config.dataset.model_dump_json() + trial_id(config, "", 0)


def repeated(sweep: Sweep) -> int:
    """How many configurations are the same as one before, as far as the file says: each is trained once."""
    texts = [alike(TrialConfig.model_validate(config)) for config, _ in configurations(sweep)]
    return len(texts) - len(set(texts))


def _resolved(training: Training, network: NetworkName) -> dict[str, Any]:
    """Options of one network, inheritance resolved; later ones only where they are not at their defaults."""
    options, defaults = (to_plain(one.optimizer(network)) for one in (training, Training(steps=1)))
    return {k: v for k, v in options.items() if f"{network}.{k}" in FIRST_TRAINING_KEYS or v != defaults[k]}


def _network_keys() -> list[str]:
    """Dotted keys of `training` that `_resolved` accounts for."""
    return [f"{part}{key}" for part in ("", "generator.", "discriminator.") for key in NetworkTraining.model_fields]


def _beyond(section: Section, known: Sequence[str]) -> dict[str, Any]:
    """Dotted key → value of the keys beside `known` that are not at their defaults."""
    return {k: v for k, v in flat(section.model_dump(exclude_defaults=True)).items() if k not in known}


def search_id(sweep: Sweep, training_version: int) -> str:
    """Return 12 hex digits of what an adaptive search depends on beside its results. More trials continue it."""
    content = sweep.model_dump(
        include={"dataset", "model", "training", "evaluation", "search", "replicates", "seed"},
        exclude={"training": {"steps", "epochs"}, "search": {"trials"}},
    )
    described = [_without_later(sweep, content), training_version]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _without_later(section: Section, dumped: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was dumped of a section without the keys marked with `Since` that are at their defaults."""
    found = {}
    for key, plain in dumped.items():
        value, declared = getattr(section, key), type(section).model_fields[key]
        if isinstance(value, Section):
            found[key] = _without_later(value, plain)
        elif value != declared.default or not any(isinstance(one, Since) for one in declared.metadata):
            found[key] = plain
    return found
