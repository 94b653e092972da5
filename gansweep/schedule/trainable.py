"""One GAN run as a Ray Tune trainable. Runs in a process of its own, which trains one trial after another.

The driver imports this module too, and trains nothing: torch is imported in the methods.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ray import tune

from gansweep.errors import TakenOverError
from gansweep.records.lock import Locked
from gansweep.records.outcome import Outcome, crashed
from gansweep.records.storage import StorageError
from gansweep.schedule.job import Job
from gansweep.schedule.workplace import Workplace, workplace

if TYPE_CHECKING:
    from gansweep.gan.run import Run

SLICE_S = 0.9  # of a Tune step: how soon a trial notices that it should end


class GanTrial(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """Every exception becomes the outcome `crashed`: Ray would retry it as if the process had died."""

    def setup(self, config: dict[str, Any]) -> None:
        self._run: Run | None = None
        self._ended: Outcome | None = None
        self._place: Workplace | None = None
        self._job = Job.from_config(config)  # opened at the first step

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        import torch

        if self._run is None and self._ended is None:
            self._open()
            if self._at_rung():
                return self._result()  # it was killed before anything was decided there
        run = self._run
        if run is not None and self._ended is None:
            try:
                self._ended = self._advance(run)
            except TakenOverError:
                raise  # our results count no more
            except Exception as error:
                self._ended = crashed(run.folder, run.step, error)
                if isinstance(error, torch.AcceleratorError):
                    raise  # the CUDA context is lost: this process can train nothing more
        return self._result()

    def cleanup(self) -> None:
        if self._run is not None and self._ended is None:
            self._run.suspend("the sweep was ended")
        self._close()

    def _open(self) -> None:
        """Not in setup: Tune also begins processes that it ends before they train, because one that became free
        took the trial over, and those must leave its folder alone."""
        self._place = place = workplace(self._job)
        try:
            self._run = self._job.open(place.folder, place.prepare())
        except (Locked, StorageError, TakenOverError):
            raise  # a killed driver's trial still lives, or nothing can be recorded: the queue hands this one out again
        except Exception as error:
            self._ended = crashed(place.folder, 0, error)

    def _at_rung(self) -> bool:
        return self._run is not None and self._run.step in self._run.schedule.pauses

    def _advance(self, run: Run) -> Outcome | None:
        assert self._place is not None
        if self._at_rung():
            self._place.look()  # the driver has decided by now
        rule = self._place.request()
        if rule is not None:
            return run.suspend(rule or "stopped on request", rule)
        return run.advance(SLICE_S)

    def _result(self) -> dict[str, Any]:
        run, ended = self._run, self._ended
        notices = [*(run.notices if run else []), *(self._place.notices if self._place else [])]
        result = {
            "id": self._job.id,
            "step": ended.step if ended else run.step if run else 0,
            "metrics": [*run.latest.items()] if run else [],  # no dict: see schedule.job.TEXTS
            "notices": notices,
            "outcome": ended.kind if ended else "running",
            "reason": ended.reason if ended else "",
            "verdict": ended.verdict if ended else run.verdicts[0].kind if run and run.verdicts else None,
            "at": time.time(),
            "done": ended is not None,
        }
        for said in (run, self._place):
            if said:
                said.notices.clear()
        if ended:
            self._close()
        return result

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
        if self._place is not None:
            place, self._place = self._place, None
            place.close()
