"""Expansion of a sweep to trials (configurations times seeds), and the identity of each trial."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from gansweep.config import NetworkName, NetworkTraining, Training
from gansweep.health.metrics import former
from gansweep.records.layout import flat
from gansweep.section import RecordOnly, Section, Since
from gansweep.sweepfile.schema import Sweep, TrialConfig

# Keys of the first version's identity, resolved below. A later key is part of the identity only if it is not at its
# default, so that a new key whose default is the old behaviour does not change existing ids.
FIRST_MODEL_KEYS = (
    "architecture", "latent_dim", "feature_maps", "channels", "generator.feature_maps", "discriminator.feature_maps",
)  # fmt: skip
FIRST_TRAINING_KEYS = (
    "steps", "epochs", "batch_size", "precision",
    *(f"{part}{key}" for part in ("", "generator.", "discriminator.") for key in ("learning_rate", "beta1", "beta2")),
    "generator.updates", "discriminator.updates",
)  # fmt: skip


FEATURES = {"features", "weights"}  # keys of `evaluation` that choose an embedding, whose identity counts instead


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep.

    Attributes:
        id: 12 hexadecimal digits, the hash of everything that determines the numbers of the run.
        config: Configuration, including the seed.
        varied: Dotted key → value for the keys that the search varies, the same keys in all trials.
        steps: Number of steps. Not part of the identity, so a larger number continues the trial.
    """

    id: str
    config: TrialConfig
    varied: Mapping[str, Any]
    steps: int


def count(sweep: Sweep) -> int:
    """Return the number of trials, without building them."""
    return sweep.method.count * sweep.replicates


def assign(config: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Return a copy of a nested dict with one dotted key set. The input is not changed."""
    head, _, rest = dotted.partition(".")
    inner = config.get(head)
    new = assign(inner if isinstance(inner, dict) else {}, rest, value) if rest else value
    return {**config, head: new}


def configurations(
    sweep: Sweep, suggested: Sequence[Mapping[str, Any]] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each configuration as (unvalidated config without a seed, varied values), in a fixed order.

    Args:
        sweep: The sweep.
        suggested: Varied values that an adaptive search has suggested so far.
    """
    base = sweep.model_dump(include={"dataset", "model", "training", "evaluation"}, exclude_unset=True)
    own = flat(sweep.model_dump(include={"dataset", "model", "training"}))
    for varied in itertools.chain(sweep.method.configurations(own), map(dict, suggested)):
        config = base
        for key, value in varied.items():
            config = assign(config, key, value)
        yield config, varied


def trial_id(
    config: TrialConfig,
    data_fingerprint: str,
    training_version: int,
    code: str = "",
    weights: str = "",
    features: str = "",
) -> str:
    """Return the id of a trial: 12 hexadecimal digits, the hash of everything that determines its numbers.

    Inherited settings are resolved first, so that stating a default does not change the id. Paths of files are not
    included: images are identified by their fingerprint, code and weights by their hashes.

    Args:
        config: The configuration.
        data_fingerprint: Fingerprint of the images.
        training_version: TRAINING_VERSION of gansweep.gan.version.
        code: Hash of the code that the run imports; empty if it imports none.
        weights: Hash of the weights that the run starts from; empty if it starts from new ones.
        features: Identity of the embedding in its evaluations; empty for the embedding of version 0.1.0.
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
            **_beyond(training, (*FIRST_TRAINING_KEYS, *_network_keys(), "from")),
        },
        "evaluation": _without_later(config.evaluation, config.evaluation.model_dump(exclude=FEATURES)),
        "seed": config.seed,
        "version": training_version,
        **({"code": code} if code else {}),
        **({"weights": weights} if weights else {}),
        **({"features": features} if features else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def alike(config: TrialConfig) -> str:
    """Return a text that is equal for configurations that give the same trial, provided the images are the same."""
    return config.dataset.model_dump_json() + trial_id(config, "", 0, weights=config.training.start or "")


def repeated(sweep: Sweep) -> int:
    """Return the number of configurations that equal an earlier one, as far as the file determines it.

    Equal configurations are trained once.
    """
    texts = [alike(TrialConfig.model_validate(config)) for config, _ in configurations(sweep)]
    return len(texts) - len(set(texts))


def _resolved(training: Training, network: NetworkName) -> dict[str, Any]:
    """Return the training options of one network, with inherited values resolved.

    Options that the first version did not have are left out if they are at their defaults.
    """
    options, defaults = vars(training.optimizer(network)), _defaults(network)
    return {k: v for k, v in options.items() if f"{network}.{k}" in FIRST_TRAINING_KEYS or v != defaults[k]}


@cache
def _defaults(network: NetworkName) -> dict[str, Any]:
    """Return the options of one network in a sweep file that sets none."""
    return vars(Training(steps=1).optimizer(network))


@cache
def _network_keys() -> tuple[str, ...]:
    """Return the dotted keys of `training` that `_resolved` returns for either network."""
    return tuple(
        f"{part}{key}" for part in ("", "generator.", "discriminator.") for key in NetworkTraining.model_fields
    )


def _beyond(section: Section, known: Sequence[str]) -> dict[str, Any]:
    """Return dotted key → value of the keys not in `known` that are not at their defaults."""
    return {k: v for k, v in flat(section.model_dump(exclude_defaults=True)).items() if k not in known}


def search_id(sweep: Sweep, training_version: int) -> str:
    """Return the id of an adaptive search: 12 hexadecimal digits.

    It is the hash of everything that suggestions depend on, except results. The number of trials is not included, so a
    larger one continues the search.
    """
    content = sweep.model_dump(
        include={"dataset", "model", "training", "evaluation", "search", "replicates", "seed"},
        exclude={"training": {"steps", "epochs"}, "search": {"trials"}},
    )
    if "objective" in content["search"]:  # under the name by which earlier versions knew the metric
        objective = content["search"]["objective"]
        content["search"]["objective"] = {**objective, "metric": former(objective["metric"])}
    described = [_without_later(sweep, content), training_version]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _without_later(section: Section, dumped: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dumped section without keys marked with `RecordOnly`, or with `Since` if they are at their defaults."""
    found, (later, ignored) = {}, _marked(type(section))
    for key, plain in dumped.items():
        value = getattr(section, key)
        if key not in ignored and (key not in later or value != later[key]):
            found[key] = _without_later(value, plain) if isinstance(value, Section) else plain
    return found


@cache
def _marked(section: type[Section]) -> tuple[dict[str, Any], set[str]]:
    """Return key → default of a section's keys that are marked with `Since`, and the keys marked with `RecordOnly`."""
    marks = {key: {*map(type, declared.metadata)} for key, declared in section.model_fields.items()}
    later = [key for key, types in marks.items() if Since in types]
    defaults = {key: section.model_fields[key].get_default(call_default_factory=True) for key in later}
    return defaults, {key for key, types in marks.items() if RecordOnly in types}
