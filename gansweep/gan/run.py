"""One GAN run in its trial folder: trains, records, checkpoints, and continues where it was left."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gansweep.gan import checkpoint
from gansweep.gan.sampling import grid_png, sample
from gansweep.gan.training import Settings, Trainer
from gansweep.health.detectors import divergence
from gansweep.health.metrics import STEPS_PER_S, TRAINING
from gansweep.records import lock, outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder, write_atomically
from gansweep.records.outcome import Outcome

LOCK_WAIT_S = 20.0  # a killed driver's trials live on for a second, longer on a loaded machine


@dataclass(frozen=True)
class Schedule:
    """steps: length of the run. metrics, samples, checkpoints: every so many steps. keep: checkpoints kept."""

    steps: int
    metrics: int
    samples: int
    checkpoints: int
    keep: int


class Run:
    """An opened trial folder. Use: advance() until it returns an outcome, or suspend(); then close().

    notices: sentences for the user (a damaged checkpoint that was passed over).
    Raises Locked where another process trains the trial, CheckpointError where no checkpoint is sound.
    """

    def __init__(
        self,
        folder: TrialFolder,
        settings: Settings,
        schedule: Schedule,
        pixels: NDArray[np.uint8],
        device: torch.device,
    ) -> None:
        self.folder, self.schedule = folder, schedule
        self.latest: dict[str, float] = {}
        self._lock = lock.acquire(folder.lock, wait_s=LOCK_WAIT_S)
        try:
            self._journal = Journal(folder.journal)
            self._trainer = Trainer(settings, pixels, device)
            found, self.notices = checkpoint.load_latest(folder)
            if found:
                tensors, meta = found
                self._trainer.load_state(tensors, meta["step"], meta["position"])
            self._saved_step = self._trainer.step if found else None
            _sweep_up(folder)
            folder.outcome.unlink(missing_ok=True)  # it has not ended any more
            if self.step == 0:
                self._record_samples()  # what training begins from; MLflow's slider begins there as well
        except BaseException:
            self._lock.close()
            raise

    @property
    def step(self) -> int:
        """Steps trained."""
        return self._trainer.step

    def advance(self, seconds: float) -> Outcome | None:
        """Train for about so long (at least a step); the outcome, recorded, once the run has ended."""
        deadline = time.perf_counter() + seconds
        while self.step < self.schedule.steps:
            self._trainer.train_step()
            if ended := self._record():
                return self._end(ended)
            if time.perf_counter() >= deadline:
                break
        if self.step < self.schedule.steps:
            return None
        return self._end(Outcome("completed", self.step))

    def suspend(self, reason: str) -> Outcome:
        """Checkpoint where we are, and record that the run was asked to end."""
        self._checkpoint()
        return self._end(Outcome("interrupted", self.step, reason))

    def close(self) -> None:
        """Let go of the folder; the trial can be opened again."""
        self._journal.close()
        self._lock.close()

    def _record(self) -> Outcome | None:
        """What is due after this step. Checkpoints come last: what they make unrepeatable is on disk by then."""
        due, step = self.schedule, self.step
        last = step == due.steps
        if (step % due.metrics == 0 or last) and (ended := self._record_metrics(last)):
            return ended
        if step % due.samples == 0 or last:
            self._record_samples()
        if step % due.checkpoints == 0 or last:
            self._checkpoint()
        return None

    def _record_metrics(self, last: bool) -> Outcome | None:
        trainer = self._trainer
        rows = trainer.read()
        with np.errstate(all="ignore"):
            means = rows.mean(axis=0, dtype=np.float64)
        values = {name: float(mean) for name, mean in zip(TRAINING, means, strict=True)}
        values |= trainer.validation_losses()
        whole = self.step % self.schedule.metrics == 0
        # A last interval cut short stays open: a run with more steps will fill and record it.
        rate = trainer.clear() if whole else float("nan")
        if rate == rate:
            values[STEPS_PER_S] = rate
        self._journal.append(Record(self.step, time.time(), values))
        self.latest = values
        steps = range(self.step - len(rows) + 1, self.step + 1)
        verdict = divergence(rows, steps, trainer.weights_finite())
        return Outcome("stopped", self.step, verdict.reason, verdict) if verdict else None

    def _record_samples(self) -> None:
        path = self.folder.sample(self.step)
        if not path.exists():
            write_atomically(path, grid_png(sample(self._trainer.generator, self._trainer.fixed_noise)), durable=True)

    def _checkpoint(self) -> None:
        if self._saved_step == self.step:
            return
        self._journal.sync()
        meta = {"step": self.step, "position": self._trainer.batches.position}
        checkpoint.save(self.folder.checkpoint(self.step), self._trainer.state(), meta)
        checkpoint.keep_newest(self.folder, self.schedule.keep)
        self._saved_step = self.step

    def _end(self, ended: Outcome) -> Outcome:
        self._journal.sync()
        outcome.write(self.folder, ended)
        return ended


def _sweep_up(folder: TrialFolder) -> None:
    """Delete what a killed process had half written."""
    for place in (folder.samples, folder.checkpoints):
        for leftover in place.glob(".*"):
            leftover.unlink(missing_ok=True)
