"""Training of a single configuration in this process, outside any sweep. Does not load Ray; functions load torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.config import to_plain
from gansweep.errors import CheckpointError, UserError
from gansweep.planning import weights
from gansweep.planning.cadence import new_cadence
from gansweep.planning.dispatch import job_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan, Resolver, trial_document
from gansweep.planning.resources import gpus
from gansweep.records import devices, journal
from gansweep.records.layout import Home, RunFolder, TrialFolder, read_json, write_atomically, write_json
from gansweep.sweepfile.schema import Sweep
from gansweep.sweepfile.searches.method import AdaptiveSearch
from gansweep.sweepfile.trials import count
from gansweep.words import counted

if TYPE_CHECKING:
    from gansweep.gan.run import Run

# Options that determine the tensors of a checkpoint and their meaning: field of TrainingConfig → key of a sweep file.
MUST_AGREE = {
    "networks.architecture": "model.architecture",
    "networks.generator_network": "model.generator.network",
    "networks.generator_options": "model.generator.options",
    "networks.discriminator_network": "model.discriminator.network",
    "networks.discriminator_options": "model.discriminator.options",
    "networks.conditioning": "model.conditioning",
    "networks.classes": "dataset.classes",
    "image_size": "dataset.image_size",
    "channels": "dataset.channels",
    "latent_dim": "model.latent_dim",
    "generator_maps": "model.generator.feature_maps",
    "discriminator_maps": "model.discriminator.feature_maps",
    "networks.generator_depth": "model.generator.depth",
    "networks.discriminator_depth": "model.discriminator.depth",
    "networks.generator_separable": "model.generator.separable",
    "networks.discriminator_separable": "model.discriminator.separable",
    "networks.norm": "model.discriminator.norm",
    "networks.spectral_norm": "model.discriminator.spectral_norm",
    "networks.growth_at": "model.discriminator.growth.at",
    "networks.growth_adds": "model.discriminator.growth.adds",
    "loss.name": "training.loss",
}
# Options that cannot be turned on if the checkpoint was trained without them, since it has no state for them.
WITH_STATE = {
    "ema": "training.ema",
    "loss.instance_noise": "training.instance_noise",
    "augment.policy": "training.augment.policy",
    "augment.adaptive": "training.augment.adaptive",
}
COLOURS = {1: "greyscale", 3: "RGB"}


@dataclass(frozen=True)
class Start:
    """A checkpoint to continue from.

    Attributes:
        path: Path of the checkpoint.
        step: Step at which it was written.
        settings: TrainingConfig in the checkpoint as plain data; {} for old checkpoints, which have none.
        device: Type of device that it was written on, as in records.devices; "" if the file does not tell.
    """

    path: Path
    step: int
    settings: Mapping[str, Any]
    device: str


@dataclass(frozen=True)
class SingleJob(Job):
    """Job of a single run, which belongs to no sweep. `sweep` holds the path of the folder of all single runs."""

    @property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.sweep) / self.id)


def make_plan(sweep: Sweep, home: Home) -> Plan:
    """Return a plan of one trial: the single configuration of the sweep file with the first seed.

    Raises:
        UserError: The file has several configurations, or its data set is missing or does not suit the settings.
    """
    configurations = count(sweep) // sweep.replicates
    several = f"gives {configurations:,} configurations" if configurations > 1 else ""
    if isinstance(sweep.search, AdaptiveSearch):
        several = f"draws {counted(configurations, 'time')}"
    if several:
        raise UserError(
            f"search: {several}, and a single run has one configuration;"
            " remove the search with --set search=null, and set values with --set KEY=VALUE"
        )
    single = sweep.model_copy(update={"replicates": 1})
    ((planned,),) = Resolver(single, home).trials()
    # What is recorded of this trial in a sweep does not belong to this run.
    cadence = new_cadence(sweep.cadence, planned.trial.steps)
    return Plan(single, home.sweep(sweep.name), (replace(planned, ended=None, began_on="", cadence=cadence),))


def start_from(path: Path) -> Start:
    """Read a checkpoint file, and return it as the start of a run.

    Raises:
        UserError: The file is not an intact checkpoint of a training.
    """
    from gansweep.gan import checkpoint

    try:
        _, meta = checkpoint.load(path)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    if "step" not in meta or "position" not in meta:
        raise UserError(f"{path}: contains no networks to train; name a checkpoint of a trial or of a single run")
    return Start(path, int(meta["step"]), meta.get("settings", {}), devices.of_checkpoint(path))


def differences(plan: Plan, start: Start) -> list[tuple[str, Any, Any]]:
    """Return (option, value here, value in the checkpoint) of every option that differs and may differ.

    Raises:
        UserError: An option differs that must not differ, or the checkpoint has already been trained for all steps.
    """
    (planned,) = plan.trials
    if start.step >= planned.trial.steps:
        raise UserError(
            f"training.steps: {planned.trial.steps:,}, but {start.path} has been trained for {start.step:,};"
            " raise training.steps"
        )
    here = dict(_leaves(to_plain(planned.training.at("").starting_from(""))))
    there = dict(_leaves(start.settings))
    differing = {key: (here[key], there[key]) for key in here if key in there and here[key] != there[key]}
    missing = {key: name for key, name in WITH_STATE.items() if here[key] and not there.get(key)}
    differing |= {key: (here[key], there.get(key)) for key in missing}
    for key, name in (MUST_AGREE | missing).items():
        if key in differing and not (key == "networks.growth_at" and _alike(*differing[key], start.step)):
            raise UserError(_mismatch(name, *differing[key], start.path))
    return [(key, *values) for key, values in differing.items()]


def _alike(here: int | None, there: int | None, step: int) -> bool:
    """Whether D has the same blocks at a step for two values of growth.at; False if one is None (D never grows)."""
    return here is not None and there is not None and (step > here) == (step > there)


def begin(plan: Plan, home: Home, start: Start | None, text: str, command: Callable[[Path], str]) -> SingleJob:
    """Create a run folder with the checkpoint to continue from, and return the job that trains there.

    Args:
        plan: A plan of one trial.
        home: Home folder.
        start: Checkpoint to continue from; None for a new run.
        text: Text of the sweep file, which is written to the run folder.
        command: Function from the path of that copy of the sweep file to the command that is recorded.

    Raises:
        OSError: The run folder cannot be written. It is removed.
        UserError: The checkpoint was written on another type of device.
    """
    (planned,) = plan.trials
    share = _gpus(plan, start)
    folder = home.new_run(plan.sweep.name)
    origin = {"checkpoint": str(start.path.absolute())} if start else {}
    try:
        write_atomically(folder.source, text.encode())
        planned.training.code.copy_to(folder.code)
        weights.write(planned.training.start, folder.path)
        write_json(folder.trial, {**trial_document(planned, plan.sweep), "command": command(folder.source), **origin})
        if start:
            write_atomically(folder.checkpoint(start.step), start.path.read_bytes())
            _carry_records(start, folder)
    except OSError:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    job = job_of(plan, planned, share)
    start_file = weights.file_in(folder.path.absolute(), job.training.start.digest)
    training = job.training.at(folder.code.absolute()).starting_from(start_file)
    return SingleJob(**{**vars(job), "id": folder.id, "sweep": str(folder.path.parent), "training": training})


def _gpus(plan: Plan, start: Start | None) -> float:
    """Return the number of GPUs for a run. Raises UserError if it would continue on another type of device."""
    asked, began = plan.sweep.resources.gpus, start.device if start else ""
    found = (0.0 if began == devices.CPU else float(min(1, gpus()))) if asked == "auto" else asked
    if start and began not in ("", now := devices.GPU if found else devices.CPU):
        given = asked if asked == "auto" else f"{asked:g}"
        wanted = "a number above 0, on a machine with a GPU" if began == devices.GPU else "0"
        raise UserError(
            f"resources.gpus: {given}, which trains on {devices.NAMES[now]}, but {start.path} was written on"
            f" {devices.NAMES[began]}; set resources.gpus: {wanted}, or train without --checkpoint"
        )
    return found


def open_run(job: SingleJob, start: Start | None) -> Run:
    """Open the run of a job, and return it. If UserError is raised, the folder of the run is removed.

    Raises:
        UserError: The checkpoint does not fit the options, or the GPU is missing.
    """
    try:
        return job.open()
    except (CheckpointError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if start is None:
            raise
        shutil.rmtree(job.folder.path)
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"{start.path}: cannot be continued with these settings ({what})") from None
    except UserError:
        shutil.rmtree(job.folder.path)
        raise


def _carry_records(start: Start, folder: RunFolder) -> None:
    """Copy the metric records up to the checkpoint's step to the journal of a run.

    Nothing is copied if the checkpoint is not in the folder of its trial, or if the images differ.

    Verdicts depend on earlier records (the first samples, the last improvement), and plots show the whole run.
    """
    before = TrialFolder(start.path.absolute().parent.parent)
    if start.path.absolute() != before.checkpoint(start.step):
        return
    if read_json(before.trial).get("data") != read_json(folder.trial)["data"]:
        return
    with journal.Journal(folder.journal) as records:
        for record in journal.read(before.journal):
            if record.step <= start.step:
                records.append(record)


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every value in nested mappings."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            # Version 0.1.0 wrote the options of a loss next to its name.
            yield f"{prefix}{key}".replace("loss.options.", "loss."), value


def _mismatch(key: str, here: Any, there: Any, path: Path) -> str:
    channels = key == "dataset.channels"
    colours = [f" ({COLOURS[count]})" if channels else "" for count in (here, there)]
    remedy = " to convert the images" if channels else ""
    return (
        f"{key}: {_words(here)}{colours[0]}, but {path} was trained with {_words(there)}{colours[1]};"
        f" set {key}: {_words(there)}{remedy}, or train without --checkpoint"
    )


def _words(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return value if isinstance(value, str) else json.dumps(value)
