"""Measurement of FID at the end of a run, in slices, so that the run can be interrupted during the measurement."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

from torch import Tensor

from gansweep.config import FidConfig
from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.gan.fid import Progress, Samples, measure
from gansweep.gan.network_file import identify
from gansweep.gan.sampling import sample_on_device
from gansweep.gan.training import Trainer
from gansweep.health.fid import FID
from gansweep.records import fid
from gansweep.records.fid import Measured
from gansweep.records.layout import TrialFolder
from gansweep.words import counted

ESTIMATED_AFTER_S = 5.0  # seconds of a phase after which its remaining time is estimated
LONG_S = 60.0  # remaining seconds that are told


class Closing:
    """Measurement of FID, KID and the inception score at the last step of a run.

    Args:
        folder: Folder of the trial, which receives the result.
        images: The real images.
        config: What to measure.

    Attributes:
        notices: Sentences for the user.
        result: The result; None until the measurement is complete.

    Raises:
        UserError: The network's file cannot be used, or its SHA-256 differs from that of the driver's file.
    """

    def __init__(self, folder: TrialFolder, images: ImageSet, config: FidConfig) -> None:
        self._folder, self._images, self._config = folder, images, config
        self._file = identify(Path(config.weights))
        if self._file.sha256 != config.sha256:
            raise UserError(f"{config.weights}: differs from the file of that name on the machine of the driver")
        self._work: Generator[None, None, None] | None = None
        self.notices: list[str] = []
        self.result: Measured | None = None

    @property
    def metric(self) -> str:
        """Name of one metric of the result, by which a record that contains the result is recognised."""
        return f"frechet/{self._file.name}" if self._file.name else FID

    def advance(self, trainer: Trainer, deadline: float) -> bool:
        """Continue the measurement until `deadline`, as given by time.perf_counter, and for at least one batch.

        Returns whether the measurement is complete.
        """
        if self._work is None:
            self._work = self._steps(trainer)
        return all(time.perf_counter() < deadline for _ in self._work)

    def close(self) -> None:
        """Abandon an incomplete measurement. Other processes that wait for its statistics of the real images go on."""
        if self._work is not None:
            self._work.close()

    def _steps(self, trainer: Trainer) -> Generator[None, None, None]:
        config, s = self._config, trainer.config
        self.result = fid.known(self._folder, trainer.step, config.samples, config.sha256)
        if self.result is not None:  # of a process that was killed before it was recorded
            return

        def generate(z: Tensor, labels: Tensor | None) -> Tensor:
            with trainer.default_streams():
                on_device = z.to(trainer.device), None if labels is None else labels.to(trainer.device)
                return sample_on_device(trainer.sampler, *on_device, s.image_size)

        name = self._file.name or "Inception"
        grey = ", grey ones repeated to three channels" if self._images.channels == 1 else ""
        self.notices.append(f"comparing {counted(config.samples, 'sample')} with the real images in {name}{grey}")
        samples = Samples(generate, s.latent_dim, bool(s.networks.classes), config.samples, s.seed)
        work = measure(self._file, self._images, samples, trainer.device)
        estimate = Estimate()
        while True:
            try:
                progress = next(work)
            except StopIteration as end:
                self.result = Measured(
                    trainer.step,
                    config.samples,
                    config.sha256,
                    self._images.images,
                    self._images.channels,
                    end.value.record(),
                )
                fid.add(self._folder, self.result)
                return
            if words := estimate.of(progress):
                self.notices.append(words)
            yield


class Estimate:
    """Estimates of the remaining time of a measurement, at most one for each phase."""

    def __init__(self) -> None:
        self._phase, self._began, self._told = "", 0.0, False

    def of(self, progress: Progress) -> str:
        """Return the estimate for the current phase in words.

        "" if it is too early, if little time remains, or if the phase's estimate was returned before.
        """
        now = time.monotonic()
        if progress.what != self._phase:
            self._phase, self._began, self._told = progress.what, now, False
        elif progress.total and not self._told and now > self._began + ESTIMATED_AFTER_S:
            self._told = True
            left = (now - self._began) / progress.done * (progress.total - progress.done)
            if left > LONG_S:
                return f"{progress.what}: about {left / 60:.0f} min left"
        return ""
