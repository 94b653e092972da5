"""One GAN run as a Ray Tune trainable. Runs in a process of its own, which trains one trial after another.

The driver imports this module too, and trains nothing: torch is imported in the methods.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ray import tune

from gansweep.records.lock import Locked
from gansweep.records.outcome import OUT_OF_MEMORY, Outcome, crashed
from gansweep.schedule.job import Job

if TYPE_CHECKING:
    from gansweep.gan.run import Run

SLICE_S = 0.9  # of a Tune step: how soon a trial notices that it should end


class GanTrial(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """Every exception becomes the outcome `crashed`: Ray would retry it as if the process had died."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What Ray reserves for a job. Processes are handed on between jobs of equal requests alone."""
        return tune.PlacementGroupFactory([{"CPU": config["threads"], "GPU": config["gpus"]}])

    def setup(self, config: dict[str, Any]) -> None:
        self._run: Run | None = None
        self._ended: Outcome | None = None
        self._crowded = False  # out of a shared GPU's memory: the queue hands the trial out again, with a larger share
        self._job = Job.from_config(config)  # opened at the first step

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        from gansweep.gan.gpu import release

        self._train()
        result = self._result()
        if result["done"]:
            self._close()
            release()  # here: no frame holds the run any more
        return result

    def _train(self) -> None:
        """A slice, or less where the trial was opened at a rung: it was killed before anything was decided there."""
        import torch

        if self._run is None and self._ended is None:
            self._open()
            if self._at_rung():
                return
        run = self._run
        if run is not None and self._ended is None:
            try:
                self._ended = self._advance(run)
            except Exception as error:
                if not self._failed(run.step, error) and isinstance(error, torch.AcceleratorError):
                    raise  # the CUDA context is lost: this process can train nothing more

    def cleanup(self) -> None:
        if self._run is not None and self._ended is None:
            self._run.suspend("the sweep was ended")
        self._close()

    def _open(self) -> None:
        """Not in setup: Tune also begins processes that it ends before they train, because one that became free
        took the trial over, and those must leave its folder alone."""
        try:
            self._run = self._job.open()
        except Locked:
            raise  # a killed driver's trial still lives: the queue hands this one out again
        except Exception as error:
            self._failed(0, error)

    def _failed(self, step: int, error: Exception) -> bool:
        """Whether it was for want of memory: then neighbours may have had it, and the trial is not over."""
        from gansweep.gan.gpu import is_out_of_memory

        lacking = is_out_of_memory(error)
        self._crowded = lacking and 0 < self._job.gpus < 1
        if not self._crowded:
            self._ended = crashed(self._job.folder, step, error, OUT_OF_MEMORY if lacking else "")
        return lacking

    def _at_rung(self) -> bool:
        return self._run is not None and self._run.step in self._run.schedule.pauses

    def _advance(self, run: Run) -> Outcome | None:
        request = run.folder.stop
        if request.exists() and (rule := request.read_text()):
            return run.suspend(rule, rule)
        if request.exists() or self._job.sweep_folder.stop.exists():
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
            "outcome": ended.kind if ended else "pending" if self._crowded else "running",
            "reason": ended.reason if ended else "",
            "rule": ended.rule if ended else "",
            "verdict": ended.verdict if ended else run.verdicts[0].kind if run and run.verdicts else None,
            "at": time.time(),
            "done": ended is not None or self._crowded,
            "crowded": self._crowded,
        }
        notices.clear()
        return result

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
