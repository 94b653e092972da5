"""Process that trains one trial after another.

The driver imports this module too, but does not train. torch is imported only when a run is opened, so that a failing
import is a crash of the trial like any other error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gansweep.engine.actor import Actor
from gansweep.engine.failures import TryAgainError
from gansweep.errors import TakenOverError
from gansweep.gan import gpu
from gansweep.health.verdict import tag_of
from gansweep.planning import code
from gansweep.planning.job import Job
from gansweep.records import disk
from gansweep.records.lock import Locked
from gansweep.records.outcome import OUT_OF_MEMORY, Outcome, crashed
from gansweep.stopwatch import Stopwatch
from gansweep.sync.storage import StorageError
from gansweep.sync.workspace import Workspace, workspace

if TYPE_CHECKING:
    from gansweep.gan.run import Run

SLICE_S = 0.9  # duration of a Tune step: the time after which a trial notices that it should end


class GanTrial(Actor):
    """Process that trains trials. An error in training becomes the trial's outcome `crashed`.

    TryAgainError is raised instead if the reason is outside the trial. The queue then retries the trial.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._stopwatch: Stopwatch | None = Stopwatch.of_process()  # until a second trial begins in this process
        self._stopwatch.lap("start")
        self._prepare(config)

    def _prepare(self, config: dict[str, Any]) -> None:
        self._run: Run | None = None
        self._ended: Outcome | None = None
        self._crowded = False  # a shared GPU is out of memory: the queue retries the trial with a larger share
        self._unbegun = False  # the sweep ends before the trial was opened
        self._lack: str | None = None  # why nothing can be recorded on this machine, so that no trial can continue
        self._place: Workspace | None = None
        self._job = Job.from_config(config)  # opened at the first step

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close()
        self._stopwatch = None
        self._prepare(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            return self._step()
        except (Locked, StorageError, TakenOverError) as error:
            # Another process trains the trial (of a killed driver, or after a take-over), or nothing can be recorded.
            raise TryAgainError from error

    def _step(self) -> dict[str, Any]:
        self._train()
        result = self._result()
        if result["done"]:
            self._close()
            gpu.release()  # here: no frame holds the run any more
        return result

    def _train(self) -> None:
        """Train for SLICE_S seconds. The run is opened first if necessary.

        A trial that resumes at a rung does not train yet: it was killed before the scheduler's decision at that rung.
        """
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
                raise  # the results of this process no longer count
            except Exception as error:
                self._failed(place, run.step, error)

    def cleanup(self) -> None:
        if self._run is not None and self._ended is None:
            self._run.suspend("the sweep was ended")
        self._close()

    def _open(self) -> None:
        """Open the trial's folder, and restore its networks and records or create them.

        This is not part of `setup`, after which Tune may give the trial to another process that became free, and end
        this one. A process that is ended in this way must not have touched the trial's folder.
        """
        self._place = place = workspace(self._job)
        try:
            job = place.prepare()
            code.check(job.code)
            self._run = job.open(place.folder, self._stopwatch)
        except (Locked, StorageError, TakenOverError):
            raise  # see step
        except Exception as error:
            self._failed(place, 0, error)

    def _failed(self, place: Workspace, step: int, error: Exception) -> None:
        """Record an error of the trial as a crash, except in two cases.

        If the memory of a shared GPU is exhausted, the trial is marked to be tried again, since other trials may have
        used the memory. If the disk can no longer be written, the trial is interrupted, and nothing is recorded.

        Raises:
            TryAgainError: The CUDA context is lost, so that this process cannot train any more.
        """
        self._lack = disk.lack(error)
        if self._lack:
            self._ended = Outcome("interrupted", step, self._lack)  # not recorded: it could not be written
            return
        lacking = gpu.is_out_of_memory(error)
        self._crowded = lacking and 0 < self._job.gpus < 1
        if not self._crowded:
            self._ended = crashed(place.folder, step, error, OUT_OF_MEMORY if lacking else "")
        if gpu.is_context_lost(error) and not lacking:
            raise TryAgainError from error

    def _at_rung(self) -> bool:
        return self._run is not None and self._run.step in self._run.config.pauses

    def _advance(self, run: Run, place: Workspace) -> Outcome | None:
        if self._at_rung():
            place.fetch_request()  # the driver has made its decision
        rule = place.request()
        if rule is not None:
            return run.suspend(rule or "stopped on request", rule)
        ended = run.advance(SLICE_S)
        if self._stopwatch:
            self._stopwatch.lap_once("first steps")
        if ended is None and self._at_rung():
            place.report()  # the driver's decision depends on these records
        return ended

    def _result(self) -> dict[str, Any]:
        run, ended = self._run, self._ended
        verdicts = ended.verdicts if ended else run.verdicts if run else ()
        notices = [*(run.notices if run else []), *(self._place.notices if self._place else [])]
        result = {
            "id": self._job.id,
            "step": ended.step if ended else run.step if run else 0,
            "metrics": [*run.latest.items()] if run else [],  # not a dict: see planning.job.TEXTS
            "speed": [run.steps_per_s if run else None],  # not a number, for the same reason
            "notices": notices,
            "outcome": ended.kind if ended else "pending" if self._crowded or self._unbegun else "running",
            "reason": ended.reason if ended else "",
            "rule": ended.rule if ended else "",
            "verdict": tag_of(verdicts),
            "states": [(one.kind, one.since_step) for one in verdicts if one.is_state],  # no dict, as above
            "done": ended is not None or self._crowded or self._unbegun,
            "crowded": self._crowded,
            "lack": self._lack,
            "laps": self._stopwatch.take() if self._stopwatch else [],
        }
        for source in (run, self._place):
            if source:
                source.notices.clear()
        return result

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
        if self._place is not None:
            place, self._place = self._place, None
            place.close()
