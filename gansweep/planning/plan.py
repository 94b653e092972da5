"""Plans: the trials of a sweep with their images, networks and previous outcomes. Does not load Ray or torch."""

from __future__ import annotations

import functools
import itertools
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gansweep.config import FeaturesConfig, StartConfig, from_plain, to_plain
from gansweep.errors import UserError
from gansweep.features import GREY_SIDE, INTACT_FEWEST
from gansweep.gan.data import (
    UNREDUCED,
    ImageSet,
    evaluation_samples,
    first_features,
    grid_side,
    grid_size,
    prepare,
    split_sizes,
)
from gansweep.gan.version import TRAINING_VERSION
from gansweep.health.detectors.base import Thresholds
from gansweep.health.judge import Judge, judge_of
from gansweep.health.metrics import INTACT, LABELLED, is_evaluation
from gansweep.networks.own import OwnDesign
from gansweep.networks.registry import discriminator_design, generator_design
from gansweep.planning import features, fid, weights
from gansweep.planning.cadence import cadence_of
from gansweep.planning.codes import Codes
from gansweep.planning.images import ImageSets
from gansweep.planning.own import checked
from gansweep.planning.resources import uses_gpu
from gansweep.planning.source import source_of
from gansweep.planning.trial import PlannedTrial, training_config
from gansweep.records import devices, outcome, suggestions
from gansweep.records.layout import Home, SweepFolder, read_json, write_json
from gansweep.records.ranking import Ranking
from gansweep.sweepfile.schema import Cadence, Sweep, TrialConfig
from gansweep.sweepfile.searches.method import AdaptiveSearch
from gansweep.sweepfile.trials import Trial, configurations, count, search_id, trial_id
from gansweep.usercode.code import Code
from gansweep.words import counted

SAMPLE_SHARE = 1.3  # size of a PNG of noise relative to its pixels, including the gaps between images


@dataclass(frozen=True)
class Suggestion:
    """Varied values that an adaptive search has suggested, and their trials, one per replicate."""

    varied: Mapping[str, Any]
    trials: tuple[PlannedTrial, ...]


@dataclass(frozen=True)
class Plan:
    """A sweep that is ready to run.

    Attributes:
        sweep: The sweep.
        folder: Folder of the sweep.
        trials: Trials of the sweep without duplicates.
        suggested: Suggestions of an adaptive search so far, by number.
        to_come: Stand-ins for trials that have not been suggested yet.
        codes: The user's code as it was when the plan was made.
    """

    sweep: Sweep
    folder: SweepFolder
    trials: tuple[PlannedTrial, ...]
    suggested: tuple[Suggestion, ...] = ()
    to_come: tuple[PlannedTrial, ...] = ()
    codes: Codes = field(default_factory=Codes)

    @property
    def pending(self) -> tuple[PlannedTrial, ...]:
        """Trials that are not finished."""
        return tuple(p for p in self.trials if not p.finished)

    @property
    def left(self) -> tuple[PlannedTrial, ...]:
        """Trials that remain to be trained: pending ones, and stand-ins for those that the search is yet to suggest."""
        return (*self.pending, *self.to_come)

    @property
    def total(self) -> int:
        """Number of trials, including those not suggested yet."""
        return len(self.trials) + len(self.to_come)

    @property
    def repeated(self) -> int:
        """Number of trials in the file that equal another one; each is trained once."""
        return count(self.sweep) - self.total

    @property
    def ranking(self) -> Ranking:
        """Ranking of trials by the sweep's objective."""
        return Ranking(self.sweep.objective.metric, self.sweep.objective.mode)

    @functools.cached_property
    def judge(self) -> Judge:
        """Judge that makes the verdicts on the trials, with the sweep's thresholds."""
        return judge_of(self.sweep.thresholds.changed())

    @property
    def image_sets(self) -> tuple[ImageSet, ...]:
        """Image sets of the trials, each once."""
        return tuple({p.images.fingerprint: p.images for p in (*self.trials, *self.to_come)}.values())

    @functools.cached_property
    def orphans(self) -> dict[str, str]:
        """Begun trials that are no longer in the plan because the user's code was edited.

        Each is given as its id → the id of the trial in the plan that differs from it in the code alone.
        """
        documents = [read_json(trial.trial) for trial in self.folder.begun({p.trial.id for p in self.trials})]
        with_code = [one for one in documents if "code" in one]
        if not with_code:  # as a rule, and the plan may have thousands of trials
            return {}
        by_settings = {_apart_from_code(trial_document(p, self.sweep)): p.trial.id for p in self.trials}
        found = ((one["id"], by_settings.get(_apart_from_code(one), "")) for one in with_code)
        return {old: new for old, new in found if new}

    def slots(self, fit: int) -> int:
        """Return the number of trials that the sweep trains in parallel.

        Args:
            fit: Number of trials that fit on the available resources.
        """
        search = self.sweep.method
        return min(fit, search.parallel * self.sweep.replicates) if isinstance(search, AdaptiveSearch) else fit

    def evaluated_every(self, planned: PlannedTrial) -> int:
        """Return the number of steps between two values of a trial's objective; 0 if it has no values."""
        return planned.evaluation_cadence if is_evaluation(self.ranking.metric) else planned.cadence.metrics

    @property
    def disk_bytes(self) -> int:
        """Upper bound on the bytes that the remaining trials will write.

        It includes checkpoints, sample grids and journals. The checkpoints are the newest ones, the best one, one being
        written, and on a GPU two older ones. MLflow keeps one copy of the last checkpoint and two of each sample grid.
        """
        older = 2 if uses_gpu(self.sweep.resources) else 0
        most_kept = self.sweep.retention.checkpoints + 2 + older
        total = 0
        for planned in self.left:
            steps, images, cadence = planned.trial.steps, planned.images, planned.cadence
            due = -(-steps // cadence.checkpoints) if cadence.checkpoints else steps  # by time: one a step at most
            checkpoints = 1 + min(most_kept, due)
            classes = planned.generator.classes
            side = grid_side(images.image_size, classes)
            grid = int(grid_size(classes) * images.channels * side**2 * SAMPLE_SHARE)
            copies = 6 if side <= UNREDUCED else 3  # MLflow has two copies; of small images, one is enlarged
            samples = (1 + -(-steps // cadence.samples)) * grid * copies
            journal = -(-steps // cadence.metrics) * 1_000
            total += checkpoints * planned.checkpoint_bytes + samples + journal
        return total


class Resolver:
    """Conversion of the configurations of a sweep to planned trials.

    Args:
        sweep: The sweep.
        home: Home folder.
        codes: The user's code as it was when the sweep was first planned; by default as it is now.
    """

    def __init__(self, sweep: Sweep, home: Home, codes: Codes | None = None) -> None:
        self._sweep, self._cache, self._folder = sweep, home.cache, home.sweep(sweep.name)
        self.codes = Codes(sweep.folder, home.cache / "code") if codes is None else codes
        self._thresholds = sweep.thresholds.changed()
        self._sets = ImageSets(home.cache, self.codes, self._folder)
        self._starts = weights.Starts(home)
        fid.config_of(sweep)

    def trials(self, values: Sequence[Mapping[str, Any]] = ()) -> list[tuple[PlannedTrial, ...]]:
        """Return the trials of each configuration, one per replicate.

        Args:
            values: Varied values of an adaptive search.

        Raises:
            UserError: The data set is missing, or does not suit the settings (its size or labels); or a network of the
                user is missing or cannot be trained.
        """
        replicates = range(self._sweep.replicates)
        found = [
            tuple(self._resolve({**config, "seed": self._sweep.seed + number}, varied) for number in replicates)
            for config, varied in configurations(self._sweep, values)
        ]
        planned = checked(found, self._cache)
        for one in itertools.chain.from_iterable(planned):
            self._check_start(one)
        return planned

    def _resolve(self, settings: Mapping[str, Any], varied: Mapping[str, Any]) -> PlannedTrial:
        config = TrialConfig.model_validate(settings)
        images = self._sets.of(config.dataset)
        _check_labels(self._sweep, images)
        _check_fit(config, images)
        fid.check(self._sweep, images)
        steps = _steps(config, images)
        _check_growth(config, steps)
        code, start = self.codes.of(config), self._start(config, images)

        def id_with(chosen: FeaturesConfig) -> str:
            identity = features.identity(chosen, images)
            return trial_id(config, images.fingerprint, TRAINING_VERSION, code.digest, start.digest, identity)

        chosen = features.choose(config.evaluation, images, lambda one: self._folder.trial(id_with(one)).trial.exists())
        trial = Trial(id_with(chosen), config, varied, steps)
        sweep = self._sweep
        return _planned(trial, images, code, start, chosen, self._folder, sweep.cadence, sweep.rules, self._thresholds)

    def _start(self, config: TrialConfig, images: ImageSet) -> StartConfig:
        """Return the weights that a trial starts from; an empty StartConfig for new weights.

        Raises:
            UserError: The weights do not exist, or do not fit the networks of the trial.
        """
        if config.training.start is None:
            return StartConfig()
        found = self._starts.of(config.training.start)
        found.check(training_config(config, images, Code()))
        return found.config()

    def _check_start(self, planned: PlannedTrial) -> None:
        """Raise UserError if the weights that a trial starts from do not fit its own networks."""
        start = planned.trial.config.training.start
        for network, design in (("generator", planned.generator), ("discriminator", planned.discriminator)):
            if start is not None and isinstance(design, OwnDesign):
                self._starts.of(start).check_own(network, design)


def make_plan(sweep: Sweep, home: Home) -> Plan:
    """Return the plan of a sweep: its trials, each with its data set and its outcome so far.

    Raises:
        UserError: The data set is missing or does not suit the settings, or a network of the user cannot be trained.
    """
    resolver, folder, search = Resolver(sweep, home), home.sweep(sweep.name), sweep.method
    if not isinstance(search, AdaptiveSearch):
        return Plan(sweep, folder, unique(resolver.trials()), codes=resolver.codes)
    values = suggestions.read(folder.suggestions, search_id(sweep, TRAINING_VERSION))[: search.trials]
    suggested = tuple(map(Suggestion, values, resolver.trials(values)))
    to_come = resolver.trials(search.stand_ins(len(values)))
    if to_come:
        resolver.trials(search.extreme_values())  # raises if a suggestion might not fit
    trials = unique(s.trials for s in suggested)
    return Plan(sweep, folder, trials, suggested, tuple(itertools.chain.from_iterable(to_come)), resolver.codes)


def unique(groups: Iterable[tuple[PlannedTrial, ...]]) -> tuple[PlannedTrial, ...]:
    """Return the trials of all groups in order, each once, since two configurations may be the same trial."""
    trials: dict[str, PlannedTrial] = {}
    for planned in itertools.chain.from_iterable(groups):
        trials.setdefault(planned.trial.id, planned)
    return tuple(trials.values())


def _apart_from_code(document: Mapping[str, Any]) -> str:
    """Return a text of a trial's configuration and images, equal for trials that differ in their code alone."""
    return json.dumps([document["config"], document["data"]["fingerprint"]], sort_keys=True)


def check_disk(plan: Plan, home: Home) -> None:
    """Raise UserError if the plan needs more disk space than is free."""
    place = home.path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if plan.disk_bytes > free:
        raise UserError(
            f"{home.path}: the plan needs up to {plan.disk_bytes / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free;"
            " lower retention.checkpoints, or name another disk with --home"
        )


def _check_fit(config: TrialConfig, images: ImageSet) -> None:
    wanted = config.model.channels
    if wanted is not None and wanted != images.channels:
        raise UserError(
            f"model.channels: {wanted}, but the images of {config.dataset.name} have {images.channels}"
            f" ({'RGB' if images.channels == 3 else 'greyscale'});"
            f" set model.channels: {images.channels}, or dataset.channels: {wanted} to convert them"
        )
    if config.model.conditioning != "none" and len(images.classes) < 2:
        raise UserError(
            f"model.conditioning: {config.model.conditioning}, but the images of {config.dataset.name} have fewer"
            " than two classes; give more (dataset.classes, subfolders), or set model.conditioning: none"
        )
    training, held_out = split_sizes(images.images, config.dataset.validation)
    if config.dataset.validation and not held_out:
        raise UserError(
            f"dataset.validation: {config.dataset.validation:g} of {images.images:,} images is less than one image;"
            f" give at least {_least_share(images.images)}, or 0"
        )
    if training < config.training.batch_size:
        there = counted(training, "image trains", "images train")
        raise UserError(
            f"training.batch_size: {config.training.batch_size}, but only {there}; lower it or give more images"
        )
    if config.evaluation.per_run:
        evaluation_samples(images.images, config.evaluation.samples)


def _least_share(images: int) -> str:
    """Return the smallest share of images that holds out one image, as text rounded up to two significant digits."""
    digits = 1 - math.floor(math.log10(1 / images))
    return f"{math.ceil(10**digits / images) / 10**digits:g}"


def _check_growth(config: TrialConfig, steps: int) -> None:
    """Raise UserError if D is to grow at or after the last step of the run.

    If the sweep file sets both steps, sweepfile/conflicts.py has refused them, with their line, before this is called.
    """
    at = config.model.discriminator.growth.at
    if at is not None and at >= steps:
        raise UserError(f"model.discriminator.growth.at: {at}, but the run ends at step {steps}; grow before it")


def _check_labels(sweep: Sweep, images: ImageSet) -> None:
    metric = sweep.objective.metric
    if sweep.needs_objective and metric in LABELLED and len(images.classes) < 2:
        raise UserError(
            f"search.objective.metric: no run records {metric}: the images have no classes;"
            " sort them into subfolders, or choose another metric"
        )
    if sweep.needs_objective and metric == INTACT and features.intact_side_of(images) is None:
        raise UserError(
            f"search.objective.metric: no run records {metric}: it needs {2 * INTACT_FEWEST} or more grey images of at"
            f" most {GREY_SIDE} pixels; choose another metric"
        )


def _steps(config: TrialConfig, images: ImageSet) -> int:
    training = config.training
    if training.steps is not None:
        return training.steps
    assert training.epochs is not None
    images_training, _ = split_sizes(images.images, config.dataset.validation)
    batches = training.epochs * (images_training // training.batch_size)
    return max(1, batches // training.discriminator.updates)


def _planned(
    trial: Trial,
    images: ImageSet,
    code: Code,
    start: StartConfig,
    chosen: FeaturesConfig,
    folder: SweepFolder,
    cadence: Cadence,
    rules: tuple[str, ...],
    thresholds: Thresholds,
) -> PlannedTrial:
    training = training_config(trial.config, images, code, start)
    size, channels, networks = training.image_size, training.channels, training.networks
    files = folder.trial(trial.id)
    return PlannedTrial(
        trial,
        images,
        training,
        generator_design(training.latent_dim, training.generator_maps, size, channels, networks, code),
        discriminator_design(training.discriminator_maps, size, channels, networks, code),
        outcome.read(files),
        devices.began_on(files),
        cadence_of(files, cadence, trial.steps),
        rules,
        thresholds,
        chosen,
    )


def recorded(home: Home, sweep: str, trial_id: str) -> PlannedTrial:
    """Return a trial as recorded in its folder. Raises UserError if its images no longer exist."""
    folder = home.sweep(sweep)
    document = json.loads(folder.trial(trial_id).trial.read_text())
    config = document["config"]
    config["training"]["steps"] = document["steps"]
    resolved = TrialConfig.model_validate(config)
    fingerprint = document["data"]["fingerprint"]
    code = Code(document.get("code", "")).at(folder.code)
    images = prepare(source_of(resolved.dataset, code), home.cache, lambda: (fingerprint,))
    trial = Trial(trial_id, resolved, document["varied"], document["steps"])
    digest = document.get("weights", "")
    start = StartConfig(digest, str(weights.file_in(folder.path, digest))) if digest else StartConfig()
    chosen = from_plain(FeaturesConfig, document.get("features", {"name": first_features(images)}))
    return _planned(trial, images, code, start, chosen, folder, Cadence(), (), {})


def write_trials(plan: Plan, command: str, overrides: Sequence[str], file: str = "") -> None:
    """Record the plan: the document of every trial, then the list of trials.

    Args:
        plan: The plan.
        command: The command that was called.
        overrides: Values of its --set options.
        file: Path of the sweep file as given to the command.
    """
    _write_documents(plan, plan.trials)
    head = {"sweep": plan.sweep.name, "command": command, "file": file, "overrides": list(overrides)}
    _write_list(plan, head)


def write_more(plan: Plan, new: Iterable[PlannedTrial]) -> None:
    """Record the plan again after an adaptive search has added the trials `new`."""
    _write_documents(plan, new)
    _write_list(plan, read_json(plan.folder.plan))


def _write_documents(plan: Plan, trials: Iterable[PlannedTrial]) -> None:
    for code in plan.codes.known:
        code.copy_to(plan.folder.code)
    for planned in trials:
        folder = plan.folder.trial(planned.trial.id)
        folder.stop.unlink(missing_ok=True)
        weights.write(planned.training.start, plan.folder.path)
        write_json(folder.trial, trial_document(planned, plan.sweep))


def _write_list(plan: Plan, head: dict[str, Any]) -> None:
    ids = [p.trial.id for p in plan.trials]
    made = {"objective": plan.sweep.objective.model_dump(), "thresholds": plan.sweep.thresholds.changed()}
    document = {**head, **made, "to_come": len(plan.to_come), "trials": ids}
    write_json(plan.folder.plan, document, durable=True)


def trial_document(planned: PlannedTrial, sweep: Sweep) -> dict[str, Any]:
    """Return the contents of trial.json."""
    trial = planned.trial
    return {
        "id": trial.id,
        "sweep": sweep.name,
        "varied": dict(trial.varied),
        "steps": trial.steps,
        "config": trial.config.model_dump(exclude={"training": {"steps", "epochs"}, "evaluation": {"fid"}}),
        "data": {"fingerprint": planned.images.fingerprint, "images": planned.images.images},
        "parameters": dict(zip(("generator", "discriminator"), planned.parameters, strict=True)),
        "training_version": TRAINING_VERSION,
        **({"code": digest} if (digest := planned.training.code.digest) else {}),
        **({"weights": digest} if (digest := planned.training.start.digest) else {}),
        "features": to_plain(planned.features),
    }
