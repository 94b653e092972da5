"""Check of users' networks, losses, metrics and embeddings before training, in a separate process."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gansweep.config import LossConfig, NetworkConfig, from_plain, to_plain, values_for
from gansweep.errors import UserError
from gansweep.features import OwnFeatures, own_features
from gansweep.health.own import OwnMetric, own_metrics
from gansweep.losses.own import OwnLoss
from gansweep.networks.architecture import Design
from gansweep.networks.own import Facts, OwnDesign
from gansweep.networks.registry import discriminator_design, generator_design
from gansweep.planning.codes import Codes
from gansweep.planning.trial import PlannedTrial
from gansweep.records.layout import read_json, write_json
from gansweep.sweepfile.conflicts import penalises_images
from gansweep.sweepfile.schema import Sweep, TrialConfig
from gansweep.sweepfile.trials import configurations
from gansweep.usercode.code import Code

COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "gansweep.planning.own_check_process")
VERSION = 1  # of the checks: what another one has found is checked again
LONGEST_S = 600.0
CHANNELS = {"digits": 1, "mnist": 1, "fashion_mnist": 1, "glyphs": 1, "cifar10": 3}  # as the data sets are stored

Other = OwnLoss | OwnMetric | OwnFeatures
Part = OwnDesign | Other


def checked(groups: Sequence[tuple[PlannedTrial, ...]], cache: Path) -> list[tuple[PlannedTrial, ...]]:
    """Check the users' parts of trials by running each once on tiny batches, and return the trials.

    In the returned trials, the designs of users' networks have the facts that running them has shown.

    Args:
        groups: The trials of each configuration.
        cache: Cache folder of the home, which holds the results of earlier checks. These are not repeated.

    Raises:
        UserError: A network, loss, metric or embedding cannot be used: it raises, or its outputs are not those of a G,
            D, loss, metric or embedding.
    """
    found = _with_facts(groups, cache)
    trials = [planned for group in found for planned in group]
    others: dict[str, Sequence[Other]] = {
        "losses": _losses(trials),
        "metrics": [metric for planned in trials for metric in planned.own_metrics],
        "features": [one for planned in trials for one in planned.own_features],
    }
    _check_once({cache / folder / f"{_key(part)}.json": part for folder, parts in others.items() for part in parts})
    return found


def _with_facts(groups: Sequence[tuple[PlannedTrial, ...]], cache: Path) -> list[tuple[PlannedTrial, ...]]:
    """Return the trials with the facts about users' networks, which are run unless the cache holds their facts."""
    trials = [planned for group in groups for planned in group]
    own = {_key(design): design for planned in trials for design in _own(planned)}
    if not own:
        return [*groups]
    facts = _facts(own, cache)
    for planned in trials:
        _check_penalty(planned, facts)

    def known(design: Design) -> Design:
        return replace(design, facts=facts[_key(design)]) if isinstance(design, OwnDesign) else design

    return [
        tuple(replace(one, generator=known(one.generator), discriminator=known(one.discriminator)) for one in group)
        for group in groups
    ]


def validate(sweep: Sweep, *, runs: bool) -> None:
    """Check a sweep's import paths before its images are known.

    Losses are run. Networks, metrics and embeddings are run if the sweep file determines the channels of the images;
    otherwise `checked` runs them later.

    Args:
        sweep: The sweep.
        runs: Whether the user's code may run. If not, modules are only found and read.

    Raises:
        UserError: A module cannot be found or read (see `Codes.of`), or a part cannot be used (see `checked`).
    """
    own: dict[str, OwnDesign] = {}
    others: dict[str, Other] = {}
    with TemporaryDirectory() as folder:
        codes = Codes(sweep.folder, Path(folder))
        for settings, _ in configurations(sweep):
            config = TrialConfig.model_validate(settings)
            code, training = codes.of(config), config.training
            channels = config.model.channels or config.dataset.channels or CHANNELS.get(config.dataset.name)
            if channels and code.digest:
                designs = _designs(config, channels, code)
                own |= {_key(one): one for one in designs if isinstance(one, OwnDesign)}
            if loss := LossConfig(training.loss, training.options_of_loss(), own_critic=training.critic).own(code):
                others[_key(loss)] = loss
            if channels:
                shape = (channels, config.dataset.image_size)
                metrics = own_metrics(config.evaluation.metrics, code, *shape)
                embedding = own_features(config.evaluation.features, code, *shape)
                parts: tuple[Other, ...] = (*metrics, *embedding)
                others |= {_key(one): one for one in parts}
        if runs and (own or others):
            _ask([*own.values(), *others.values()])


def _designs(config: TrialConfig, channels: int, code: Code) -> tuple[Design, Design]:
    """Return the designs of G and D, for two classes if the model is conditional."""
    model, size = config.model, config.dataset.image_size
    classes = ("first", "second") if model.conditioning != "none" else ()
    networks = NetworkConfig(classes=classes, **values_for(NetworkConfig, model))
    g, d = (own.feature_maps or model.feature_maps for own in (model.generator, model.discriminator))
    return (
        generator_design(model.latent_dim, g, size, channels, networks, code),
        discriminator_design(d, size, channels, networks, code),
    )


def _check_penalty(planned: PlannedTrial, facts: Mapping[str, Facts]) -> None:
    """Raise UserError if a penalty of D's loss treats each image by itself, but a user's D mixes those of a batch."""
    design = planned.discriminator
    if isinstance(design, OwnDesign) and facts[_key(design)].has_batch_norm:
        training = planned.trial.config.training
        if penalises_images(training):
            raise UserError(
                f"{design.key}: {design.path}: a penalty of D's loss ({training.loss}) treats each image by"
                " itself, and batch norm mixes them; use another norm, or training without a penalty"
            )


def _losses(trials: Sequence[PlannedTrial]) -> list[OwnLoss]:
    """Return the user's loss of each trial that has one."""
    found = ((planned, planned.training.loss.own(planned.training.code)) for planned in trials)
    return [replace(own, mixes=planned.discriminator.has_batch_norm) for planned, own in found if own]


def _check_once(parts: Mapping[Path, Other]) -> None:
    """Check the parts whose files do not exist, and write a file for each part that can be used.

    Args:
        parts: File in the cache → part.

    Raises:
        UserError: A part cannot be used.
    """
    if new := {file: part for file, part in parts.items() if not file.exists()}:
        _ask([*new.values()])
        for file, part in new.items():
            with suppress(UserError, OSError):  # a home that cannot be written stays without it
                write_json(file, {"part": str(part.path)})


def _own(planned: PlannedTrial) -> Iterator[OwnDesign]:
    return (design for design in (planned.generator, planned.discriminator) if isinstance(design, OwnDesign))


def _key(part: Part) -> str:
    """Return the name of a part in the cache: the hash of everything that its check depends on."""
    versions = [VERSION, importlib.metadata.version("torch")]
    content = json.dumps([to_plain(replace(part, code=part.code.at(""))), versions], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _facts(own: Mapping[str, OwnDesign], cache: Path) -> dict[str, Facts]:
    """Return key → facts about the network, read from the cache or else found by running the network."""
    found = {key: facts for key in own if (facts := _cached(_file(cache, key)))}
    new = {key: design for key, design in own.items() if key not in found}
    if new:
        for key, facts in zip(new, _check([*new.values()]), strict=True):
            found[key] = facts
            with suppress(UserError, OSError):  # a home that cannot be written stays without it
                write_json(_file(cache, key), to_plain(facts))
    return found


def _cached(file: Path) -> Facts | None:
    with suppress(UserError, OSError, TypeError):
        return from_plain(Facts, read_json(file))
    return None


def _file(cache: Path, key: str) -> Path:
    return cache / "networks" / f"{key}.json"


def _check(designs: Sequence[OwnDesign]) -> list[Facts]:
    """Run networks in a separate process, and return the facts about each.

    A separate process keeps torch out of this one, and this one goes on if the user's code ends the other.
    """
    return [from_plain(Facts, answer) for answer in _ask(designs)]


def _ask(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Check users' parts in a separate process, and return its answer for each part.

    Raises:
        UserError: A part cannot be used, ends the process, or the check takes longer than LONGEST_S.
    """
    question = json.dumps([(type(part).__name__, to_plain(part)) for part in parts])
    try:
        done = subprocess.run(COMMAND, input=question, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        raise UserError(f"{_named(parts)}: did not end in {LONGEST_S:.0f} s; give it less to do") from None
    answers: list[dict[str, Any]] = []
    with suppress(ValueError):
        answers = json.loads(done.stdout)
    if problems := [answer["problem"] for answer in answers if "problem" in answer]:
        raise UserError("\n".join(dict.fromkeys(problems)))
    if len(answers) != len(parts):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{_named(parts)}: ended the process that checks it (exit code {done.returncode}: {last})")
    return answers


def _named(parts: Sequence[Part]) -> str:
    return ", ".join(dict.fromkeys(f"{part.key}: {part.path}" for part in parts))
