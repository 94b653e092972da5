"""A sweep becomes trials: the grid, the draws or the cases, times the seeds, and each trial's identity."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gansweep.config import NetworkName, NetworkTraining, Training, to_plain
from gansweep.plan.schema import Sweep, TrialConfig
from gansweep.plan.search import CasesSearch, Distribution, OptunaSearch, RandomSearch, varied_keys
from gansweep.records.layout import flat
from gansweep.section import Section, Since

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
    """Number of trials, by arithmetic: a grid of any size is counted without being built."""
    match sweep.search:
        case None:
            configurations = 1
        case RandomSearch(trials=trials) | OptunaSearch(trials=trials):
            configurations = trials
        case CasesSearch(cases=cases):
            configurations = len(cases)
        case grid:
            configurations = math.prod(len(values) for values in grid.over.values())
    return configurations * sweep.replicates


def assign(config: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """A copy of a nested dict with one dotted key set; the input is left alone."""
    head, _, rest = dotted.partition(".")
    inner = config.get(head)
    new = assign(inner if isinstance(inner, dict) else {}, rest, value) if rest else value
    return {**config, head: new}


def configurations(
    sweep: Sweep, suggested: Sequence[Mapping[str, Any]] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each configuration as (unvalidated config without a seed, varied values), in a fixed order.

    suggested: the varied values of an optuna search, known only as it goes on.
    """
    base = sweep.model_dump(include={"dataset", "model", "training", "evaluation"}, exclude_unset=True)
    for varied in _varied(sweep, suggested):
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
    """What an optuna search depends on beside its results, as 12 hex digits: more trials or steps go on with it."""
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


def stand_ins(search: OptunaSearch, first: int = 0) -> list[dict[str, Any]]:
    """Varied values in the place of those that are not suggested yet, from number `first` on: random draws."""
    return [_drawn(search, number) for number in range(first, search.trials)]


def corners(search: OptunaSearch) -> list[dict[str, Any]]:
    """Varied values at the ends of all ranges and with every choice: what no suggestion goes beyond."""
    axes = {key: d.choice or d.uniform or d.log_uniform or d.int_uniform or [] for key, d in search.over.items()}
    most = max(len(values) for values in axes.values())
    return [{key: values[min(i, len(values) - 1)] for key, values in axes.items()} for i in range(most)]


def _varied(sweep: Sweep, suggested: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    match sweep.search:
        case None:
            yield {}
        case RandomSearch() as search:
            for number in range(search.trials):
                yield _drawn(search, number)
        case OptunaSearch():
            yield from map(dict, suggested)
        case CasesSearch() as search:
            own = flat(sweep.model_dump(include={"dataset", "model", "training"}))
            for case in search.cases:
                holds = flat({**own, **case})  # without what is None
                yield {key: holds.get(key, holds.get(_inherited(key))) for key in varied_keys(search)}
        case grid:
            for values in itertools.product(*grid.over.values()):
                yield dict(zip(grid.over, values, strict=True))


def _inherited(key: str) -> str:
    """training.generator.beta1 → training.beta1, which holds where the first is not given."""
    return key.replace(".generator.", ".").replace(".discriminator.", ".")


def _drawn(search: RandomSearch | OptunaSearch, number: int) -> dict[str, Any]:
    return {key: _draw(d, f"{search.seed}:{number}:{key}") for key, d in search.over.items()}


def _draw(distribution: Distribution, stream: str) -> Any:
    rng = random.Random(stream)  # seeded by text: every draw has a stream of its own
    if distribution.choice is not None:
        return distribution.choice[rng.randrange(len(distribution.choice))]
    if distribution.int_uniform is not None:
        return rng.randint(*distribution.int_uniform)
    if distribution.log_uniform is not None:
        low, high = distribution.log_uniform
        return min(high, max(low, math.exp(rng.uniform(math.log(low), math.log(high)))))
    assert distribution.uniform is not None
    return rng.uniform(*distribution.uniform)
