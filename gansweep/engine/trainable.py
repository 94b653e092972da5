"""One GAN run as a Ray Tune trainable. Runs in a process of its own, which trains one trial after another.

The driver imports this module too, and trains nothing. torch comes with the run that is opened, so that a torch that
cannot be imported is a crash of the trial like any other error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import tune

from gansweep.engine.failures import TryAgainError
from gansweep.errors import TakenOverError
from gansweep.gan import gpu
from gansweep.planning import code
from gansweep.planning.job import Job
from gansweep.records import disk
from gansweep.records.lock import Locked
from gansweep.records.outcome import OUT_OF_MEMORY, Outcome, crashed
from gansweep.sync.storage import StorageError
from gansweep.sync.workspace import Workspace, workspace

if TYPE_CHECKING:
    from gansweep.gan.run import Run

SLICE_S = 0.9  # of a Tune step: how soon a trial notices that it should end


class GanTrial(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """Exceptions become the outcome `crashed`; one raised as TryAgainError lets the queue hand the trial out again."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What Ray reserves for a job. Processes are handed on between jobs of equal requests alone."""
        return tune.PlacementGroupFactory([{"CPU": config["threads"], "GPU": config["gpus"]}])

    def setup(self, config: dict[str, Any]) -> None:
        self._run: Run | None = None
        self._ended: Outcome | None = None
        self._crowded = False  # out of a shared GPU's memory: the queue hands the trial out again, with a larger share
        self._unbegun = False  # the sweep ends before the trial was opened
        self._lack: str | None = None  # why nothing can be recorded here: no trial can go on then
        self._place: Workspace | None = None
        self._job = Job.from_config(config)  # opened at the first step

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            return self._step()
        except (Locked, StorageError, TakenOverError) as error:
            # Another process trains it (of a killed driver, or after a take-over), or nothing can be recorded.
            raise TryAgainError from error

    def _step(self) -> dict[str, Any]:
        self._train()
        result = self._result()
        if result["done"]:
            self._close()
            gpu.release()  # here: no frame holds the run any more
        return result

    def _train(self) -> None:
        """A slice, or less where the trial was opened at a rung: it was killed before anything was decided there."""
        if self._run is None and self._ended is None:
            if self._job.sweep_folder.stop.exists():
                self._unbegun = True
                return
            self._open()
            if self._at_rung():
                return
        run, place = self._run, self._place
        if run is not None and place is not None and self._ended is None:
            try:
                self._ended = self._advance(run, place)
            except TakenOverError:
                raise  # our results count no more
            except Exception as error:
                if not self._failed(place, run.step, error) and gpu.is_context_lost(error):
                    raise TryAgainError from error  # this process can train nothing more

    def cleanup(self) -> None:
        if self._run is not None and self._ended is None:
            self._run.suspend("the sweep was ended")
        self._close()

    def _open(self) -> None:
        """Not in setup: Tune also begins processes that it ends before they train, because one that became free
        took the trial over, and those must leave its folder alone."""
        self._place = place = workspace(self._job)
        try:
            images = place.prepare()
            code.check(self._job.code)
            self._run = self._job.open(place.folder, images)
        except (Locked, StorageError, TakenOverError):
            raise  # see step
        except Exception as error:
            self._failed(place, 0, error)

    def _failed(self, place: Workspace, step: int, error: Exception) -> bool:
        """Whether it was for want of memory: then neighbours may have had it, and the trial is not over."""
        self._lack = disk.lack(error)
        if self._lack:
            self._ended = Outcome("interrupted", step, self._lack)  # not on record: it could not be written
            return False
        lacking = gpu.is_out_of_memory(error)
        self._crowded = lacking and 0 < self._job.gpus < 1
        if not self._crowded:
            self._ended = crashed(place.folder, step, error, OUT_OF_MEMORY if lacking else "")
        return lacking

    def _at_rung(self) -> bool:
        return self._run is not None and self._run.step in self._run.config.pauses

    def _advance(self, run: Run, place: Workspace) -> Outcome | None:
        if self._at_rung():
            place.look()  # the driver has decided by now
        rule = place.request()
        if rule is not None:
            return run.suspend(rule or "stopped on request", rule)
        ended = run.advance(SLICE_S)
        if ended is None and self._at_rung():
            place.report()  # what the driver decides by
        return ended

    def _result(self) -> dict[str, Any]:
        run, ended = self._run, self._ended
        notices = [*(run.notices if run else []), *(self._place.notices if self._place else [])]
        result = {
            "id": self._job.id,
            "step": ended.step if ended else run.step if run else 0,
            "metrics": [*run.latest.items()] if run else [],  # no dict: see schedule.job.TEXTS
            "speed": [run.steps_per_s if run else None],  # no number: likewise
            "notices": notices,
            "outcome": ended.kind if ended else "pending" if self._crowded or self._unbegun else "running",
            "reason": ended.reason if ended else "",
            "rule": ended.rule if ended else "",
            "verdict": ended.verdict if ended else run.verdicts[0].kind if run and run.verdicts else None,
            "done": ended is not None or self._crowded or self._unbegun,
            "crowded": self._crowded,
            "lack": self._lack,
        }
        for said in (run, self._place):
            if said:
                said.notices.clear()
        return result

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
        if self._place is not None:
            place, self._place = self._place, None
            place.close()
