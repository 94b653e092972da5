"""Job of a trial's process: its input, and how it opens the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.config import FeaturesConfig, FidConfig, RunConfig, TrainingConfig, from_plain, to_plain
from gansweep.gan.data import ImageSet
from gansweep.health.metrics import SAMPLE_METRICS
from gansweep.health.own import own_metrics
from gansweep.planning import cadence
from gansweep.records import devices
from gansweep.records.layout import SweepFolder, TrialFolder
from gansweep.stopwatch import Stopwatch

if TYPE_CHECKING:
    import torch

    from gansweep.gan.closing import Closing
    from gansweep.gan.evaluator import Evaluator
    from gansweep.gan.run import Run
    from gansweep.gan.training import Trainer

# Passed as JSON text. During a sweep, Tune keeps statistics of every number in a trial's configuration and results, one
# kilobyte each, and six copies of other values, but only one copy of a text.
TEXTS = ("training", "run", "code", "fid")


@dataclass(frozen=True)
class Job:
    """One trial to train.

    Attributes:
        id: Id of the trial.
        sweep: Path of the sweep's folder.
        samples: Number of samples per evaluation.
        metrics: Import paths of metrics of the user that evaluations compute.
        fid: Settings of the FID measurement at the end of the run.
        threads: Number of CPU threads.
        gpus: Share of a GPU, or number of whole GPUs; 0 for the CPU.
        code: Files and digests of the driver's packages, as returned by `planning.code.origins`.
        features: Embedding of the evaluations.
        storage: URI of the sweep's storage, for machines that do not share the folder; None without one.
    """

    id: str
    sweep: str
    training: TrainingConfig
    run: RunConfig
    images: ImageSet
    samples: int
    threads: int
    gpus: float
    code: Mapping[str, str]
    features: FeaturesConfig
    storage: str | None = None
    metrics: tuple[str, ...] = ()
    fid: FidConfig = field(default_factory=FidConfig)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Job:
        """Return the job from its plain data, the inverse of `to_config`. Raises TypeError for unknown fields."""
        texts = {name: json.loads(config[name]) for name in TEXTS}
        return from_plain(cls, {**config, **texts})

    def to_config(self) -> dict[str, Any]:
        """Return the job as plain data for Ray Tune.

        The fields in TEXTS are encoded as JSON text, because Tune keeps statistics of every number.
        """
        plain = to_plain(self)
        return {**plain, **{name: json.dumps(plain[name]) for name in TEXTS}}

    @property
    def sweep_folder(self) -> SweepFolder:
        return SweepFolder(Path(self.sweep))

    @property
    def folder(self) -> TrialFolder:
        return self.sweep_folder.trial(self.id)

    def set_up_device(self) -> torch.device:
        """Set up this process for the device to train on, and return the device.

        Raises:
            UserError: The job needs a GPU, but torch finds none, or the GPU cannot be used.
        """
        from gansweep.gan.device import set_up

        return set_up(self.gpus, self.training.precision)

    @property
    def reference(self) -> Path:
        """Path of the reference data of the evaluations."""
        return self.images.reference(self.features.key(self.training.code))

    def open(
        self,
        folder: TrialFolder | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> Run:
        """Open the run, restore it from its last checkpoint if there is one, and return it.

        Args:
            folder: Folder to train in instead of the job's own.
            stopwatch: Measures the phases until the first step.

        Raises:
            UserError: The GPU is missing, or the trial began on another type of device.
            Locked: Another process trains the trial.
            CheckpointError: All checkpoints are damaged.
        """
        import torch

        from gansweep.gan.run import Run

        stopwatch = stopwatch or Stopwatch()
        stopwatch.lap("imports of torch")
        folder, images = folder or self.folder, self.images
        torch.set_num_threads(self.threads)
        device = self.set_up_device()
        stopwatch.lap("device")
        make_trainer = partial(self._trainer, folder, images, device, stopwatch)
        make_evaluator = partial(self._evaluator, images, stopwatch) if self.run.evaluations else None
        run = Run(folder, self.run, make_trainer, make_evaluator, self._closing(folder, images))
        stopwatch.lap("first records")
        return run

    def _closing(self, folder: TrialFolder, images: ImageSet) -> Closing | None:
        """Return the FID measurement at the end of the run; None if the sweep has none.

        Raises:
            UserError: The network's file is not the one that was planned.
        """
        if not self.fid.weights:
            return None
        from gansweep.gan.closing import Closing

        return Closing(folder, images, self.fid)

    def _trainer(self, folder: TrialFolder, images: ImageSet, device: torch.device, stopwatch: Stopwatch) -> Trainer:
        from gansweep.gan.capture import record_cuda_graph
        from gansweep.gan.gpu import describe
        from gansweep.gan.training import Trainer

        devices.record(folder, describe(device))
        cadence.record(folder, self.run)
        record = stopwatch.timed("capture", record_cuda_graph)
        trainer = Trainer.on(images, self.training, device, share=self.gpus, record=record)
        stopwatch.lap("networks and images")
        return trainer

    def _evaluator(self, images: ImageSet, stopwatch: Stopwatch) -> Evaluator:
        evaluator = self.evaluator(images)
        stopwatch.lap("classifier and statistics of real images")
        return evaluator

    def evaluator(self, images: ImageSet) -> Evaluator:
        """Return the evaluator of the run.

        Args:
            images: Images of the trial, with the path of their file on this machine.
        """
        from gansweep.gan.evaluator import Evaluator
        from gansweep.gan.reference import reference_of, unseen_images

        reference, notices = reference_of(images, self.features, self.training.code)
        own = own_metrics(self.metrics, self.training.code, images.channels, images.image_size)
        real = unseen_images(images, self.samples) if own else None
        metrics = (*SAMPLE_METRICS, *(one.metric(real) for one in own if real is not None))
        evaluator = Evaluator(reference, self.samples, self.training.seed, metrics)
        evaluator.notices[:0] = notices
        return evaluator
