"""What crosses from the driver to a trial's process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet, evaluation_samples
from gansweep.records import copies
from gansweep.records.layout import SweepFolder, TrialFolder
from gansweep.schedule import code

if TYPE_CHECKING:
    import torch

    from gansweep.gan.evaluator import Evaluator
    from gansweep.gan.run import Run
    from gansweep.gan.training import Settings
    from gansweep.schedule.planned import Planned
    from gansweep.schedule.prepare import Plan

# As JSON: for the whole sweep Tune keeps statistics of every number in a trial's configuration and results, a kilobyte
# each, and six copies of the rest; of a text one.
TEXTS = ("settings", "schedule", "code")


@dataclass(frozen=True)
class Job:
    """One trial to train. sweep: its folder. settings, schedule: gan.training.Settings and gan.run.Schedule.

    samples: drawn at each evaluation. gpus: a share of one, or whole ones; 0 for the CPU. code: the driver's
    schedule.code.origins. storage: where the sweep lies, for machines that do not share that folder.
    """

    id: str
    sweep: str
    settings: Mapping[str, Any]
    schedule: Mapping[str, Any]
    images: ImageSet
    samples: int
    threads: int
    gpus: float
    code: Mapping[str, str]
    storage: str | None = None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Job:
        """The reverse of to_config. Raises TypeError for missing or unknown fields."""
        texts = {name: json.loads(config[name]) for name in TEXTS}
        return cls(**{**config, **texts, "images": ImageSet(**config["images"])})

    def to_config(self) -> dict[str, Any]:
        """Plain data, with as few numbers as can be: see TEXTS."""
        plain = asdict(self)
        return {**plain, **{name: json.dumps(plain[name]) for name in TEXTS}}

    @property
    def sweep_folder(self) -> SweepFolder:
        return SweepFolder(Path(self.sweep))

    @property
    def folder(self) -> TrialFolder:
        return self.sweep_folder.trial(self.id)

    @property
    def device(self) -> torch.device:
        """Raises UserError where the GPU is missing."""
        import torch

        if self.gpus and not torch.cuda.is_available():
            raise UserError("a GPU was asked for, but torch sees none; is this torch built for CUDA?")
        return torch.device("cuda" if self.gpus else "cpu")

    @property
    def prefix(self) -> str:
        """Of the trial's copy in the storage."""
        return copies.of_trial(self.sweep_folder.name, self.id)

    def open(self, folder: TrialFolder | None = None, images: ImageSet | None = None) -> Run:
        """The run, where it was left. folder, images: others than the job's (of a workplace).

        Raises what gan.run.Run raises, UserError where the GPU is missing."""
        import torch

        from gansweep.gan.run import Run, Schedule

        folder, images = folder or self.folder, images or self.images
        torch.set_num_threads(self.threads)
        schedule, settings = Schedule(**self.schedule), settings_of(self.settings)
        make = partial(self._evaluator, images) if schedule.evaluations else None
        labels = images.labels() if settings.networks.classes else None
        return Run(folder, settings, schedule, images.load(), self.device, make, labels)

    def _evaluator(self, images: ImageSet) -> Evaluator:
        from gansweep.gan.evaluator import Evaluator
        from gansweep.gan.reference import reference_of

        reference, notices = reference_of(images)
        evaluator = Evaluator(reference, self.samples, self.settings["seed"])
        evaluator.notices[:0] = notices
        return evaluator


def job_of(plan: Plan, planned: Planned, gpus: float, pauses: Sequence[int] = (), storage: str | None = None) -> Job:
    """A planned trial, with absolute paths. pauses: steps at which it waits for a decision. storage: its URI."""
    sweep, evaluation = plan.sweep, planned.trial.config.evaluation
    schedule = {
        "steps": planned.trial.steps,
        **sweep.cadence.model_dump(),
        "keep": sweep.retention.checkpoints,
        "evaluations": planned.evaluation_cadence,
        "stop_on": sweep.stop.rules,
        "flag": sweep.stop.flags,
        "objective": plan.ranking.metric,
        "mode": plan.ranking.mode,
        "pauses": tuple(pauses),
    }
    images = replace(planned.images, file=str(Path(planned.images.file).absolute()), notes=())
    return Job(
        id=planned.trial.id,
        sweep=str(plan.folder.path.absolute()),
        settings=planned.settings(),
        schedule=schedule,
        images=images,
        samples=evaluation_samples(images.images, evaluation.samples) if evaluation.per_run else 0,
        threads=sweep.resources.cpus,
        gpus=gpus,
        code=code.origins(),
        storage=storage,
    )


def settings_of(data: Mapping[str, Any]) -> Settings:
    """Settings from plain data. Raises TypeError for missing or unknown fields."""
    from gansweep.gan.batches import Augmentation
    from gansweep.gan.losses import LossSettings
    from gansweep.gan.restore import composition_of
    from gansweep.gan.training import Settings, Updates

    return Settings(
        **{
            **data,
            "generator": Updates(**data["generator"]),
            "discriminator": Updates(**data["discriminator"]),
            "augmentation": Augmentation(**data["augmentation"]),
            "networks": composition_of(data),
            "loss": LossSettings(**data["loss"]),
        }
    )
