"""One GAN run as a Ray Tune trainable. Runs in a process of its own, which trains one trial after another."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from ray import tune

from gansweep.errors import UserError
from gansweep.gan.batches import Augmentation
from gansweep.gan.data import ImageSet
from gansweep.gan.run import Run, Schedule, crashed
from gansweep.gan.training import Settings, Updates
from gansweep.records.layout import SweepFolder, TrialFolder
from gansweep.records.outcome import Outcome

SLICE_S = 0.9  # of a Tune step: how soon a trial notices that it should end


@dataclasses.dataclass(frozen=True)
class Job:
    """What crosses to a trial's process, as plain data; validated here again."""

    id: str
    sweep: str
    settings: Settings
    schedule: Schedule
    images: ImageSet
    threads: int
    gpu: bool

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Job:
        """Raises TypeError for missing or unknown fields."""
        settings = dict(config["settings"])
        settings["generator"] = Updates(**settings["generator"])
        settings["discriminator"] = Updates(**settings["discriminator"])
        settings["augmentation"] = Augmentation(**settings["augmentation"])
        return cls(
            **{
                **config,
                "settings": Settings(**settings),
                "schedule": Schedule(**config["schedule"]),
                "images": ImageSet(**config["images"]),
            }
        )

    @property
    def sweep_folder(self) -> SweepFolder:
        return SweepFolder(Path(self.sweep))

    @property
    def folder(self) -> TrialFolder:
        return self.sweep_folder.trial(self.id)


class GanTrial(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """Every exception becomes the outcome `crashed`: Ray would retry it as if the process had died."""

    def setup(self, config: dict[str, Any]) -> None:
        self._run: Run | None = None
        self._ended: Outcome | None = None
        self._job = Job.from_config(config)
        folder = self._job.folder
        try:
            torch.set_num_threads(self._job.threads)
            if self._job.gpu and not torch.cuda.is_available():
                raise UserError("a GPU was asked for, but torch sees none; is this torch built for CUDA?")
            device = torch.device("cuda" if self._job.gpu else "cpu")
            self._run = Run(folder, self._job.settings, self._job.schedule, self._job.images.load(), device)
        except Exception as error:
            self._ended = crashed(folder, 0, error)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        run = self._run
        if run is not None and self._ended is None:
            try:
                self._ended = self._advance(run)
            except Exception as error:
                self._ended = crashed(run.folder, run.step, error)
                if isinstance(error, torch.AcceleratorError):
                    raise  # the CUDA context is lost: this process can train nothing more
        return self._result()

    def cleanup(self) -> None:
        if self._run is not None and self._ended is None:
            self._run.suspend("the sweep was ended")
        self._close()

    def _advance(self, run: Run) -> Outcome | None:
        if run.folder.stop.exists() or self._job.sweep_folder.stop.exists():
            return run.suspend("stopped on request")
        return run.advance(SLICE_S)

    def _result(self) -> dict[str, Any]:
        run, ended = self._run, self._ended
        notices = run.notices if run else []
        result = {
            "id": self._job.id,
            "step": ended.step if ended else run.step if run else 0,
            "metrics": dict(run.latest) if run else {},
            "notices": list(notices),
            "outcome": ended.kind if ended else "running",
            "reason": ended.reason if ended else "",
            "verdict": ended.verdict.kind if ended and ended.verdict else None,
            "at": time.time(),
            "done": ended is not None,
        }
        notices.clear()
        if ended:
            self._close()
        return result

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
