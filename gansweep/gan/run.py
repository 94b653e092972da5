"""One GAN run in its trial folder: training, records, checkpoints, and resuming."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gansweep.config import RunConfig
from gansweep.features import is_compared
from gansweep.gan import checkpoint, determinism, restore
from gansweep.gan.closing import Closing
from gansweep.gan.data import A_CLASS, grid_side
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.gpu import readings, synchronize
from gansweep.gan.host_copy import HostCopy
from gansweep.gan.measurement import Measurement, is_delayed
from gansweep.gan.sampling import grid_png, reduced, sample_on_device
from gansweep.gan.training import Trainer
from gansweep.health.history import History
from gansweep.health.judge import judge_of
from gansweep.health.metrics import MACHINE, NONFINITE_STEP, STEPS_PER_S, is_evaluation, typical_speed
from gansweep.health.verdict import Verdict
from gansweep.losses.registry import has_logits
from gansweep.records import journal, lock, outcome
from gansweep.records.background_writer import BackgroundWriter
from gansweep.records.fid import at_end_of
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder, write_atomically, write_json
from gansweep.records.outcome import Outcome
from gansweep.records.ranking import WORST, Point, Ranking, best_step

LOCK_WAIT_S = 20.0  # the trials of a killed driver survive it by a second, longer on a loaded machine
DOUBTED_S = 5.0  # a death on a shared GPU withdraws newer checkpoints (records/withdrawal.py), so an older one is kept


@dataclass(frozen=True)
class _Row:
    """Metrics of an interval of steps, which may not have been copied to the host yet.

    Attributes:
        step: Last step of the interval.
        time: Time of that step, in seconds since the epoch.
        measurement: The metrics.
        machine: Readings of the GPU, by name of the metric.
        whole: Whether the interval ends at a multiple of `config.metrics`. Only the one at the last step may not.
    """

    step: int
    time: float
    measurement: Measurement
    machine: Mapping[str, float]
    whole: bool


class Run:
    """A run of a trial in its folder, which is locked until `close`.

    Call `advance` until it returns an outcome, or call `suspend`. Then call `close`.

    Attributes:
        notices: Sentences for the user, such as that a damaged checkpoint was skipped.
        verdicts: The current verdicts on the run.

    Args:
        folder: Folder of the trial.
        config: Length of the run, what is recorded when, and what ends it.
        make_trainer: Returns a new trainer. It is called when the folder is locked.
        make_evaluator: Returns the evaluator. Called like `make_trainer`; None if `config.evaluations` is 0.
        closing: Measurement after the last step; None for none.

    Raises:
        Locked: Another process trains the trial.
        CheckpointError: All checkpoints are damaged.
    """

    def __init__(
        self,
        folder: TrialFolder,
        config: RunConfig,
        make_trainer: Callable[[], Trainer],
        make_evaluator: Callable[[], Evaluator] | None = None,
        closing: Closing | None = None,
    ) -> None:
        self.folder, self.config, self._closing = folder, config, closing
        self._judge, self._ranking = judge_of(config.thresholds), Ranking(config.objective, config.mode)
        self.latest: dict[str, float] = {}
        with ExitStack() as opened:
            opened.enter_context(lock.acquire(folder.lock, wait_s=LOCK_WAIT_S))
            self._journal = opened.enter_context(Journal(folder.journal))
            self._writer = opened.enter_context(BackgroundWriter())
            if closing:
                opened.callback(closing.close)
            self._trainer = make_trainer()
            self.notices = self._trainer.notices
            found, notices = checkpoint.load_latest(folder)
            self.notices += notices
            if found:
                tensors, meta = found
                self._trainer.load_state(tensors, meta["step"], meta["position"])
            self._saved_step, self._saved_at = self._trainer.step if found else None, time.monotonic()
            self._compared = False
            self._evaluator = make_evaluator() if make_evaluator else None
            if self._evaluator:
                self.notices += self._evaluator.notices
                self._evaluator.notices = self.notices
                description = self._evaluator.description()
                write_json(folder.evaluator, description, durable=True)
                features = description.get("features", {})
                self._compared = is_compared(features.get("name", ""), features.get("resolution", 0))
            self._records = journal.read(folder.journal)
            self._doubted = journal.read(folder.doubted)
            self._row: _Row | None = None  # is recorded later
            self._judged = self._last_judged()
            known = (r.values for r in self._records if r.step <= self.step)
            self._nonfinite = any(NONFINITE_STEP in values for values in known)  # recorded once
            self.verdicts = self._judge(self._history())
            self._reported = {v.kind for v in self.verdicts}
            _sweep_up(folder)
            folder.outcome.unlink(missing_ok=True)  # the run is no longer ended
            if self.step == 0:  # state before training; MLflow's slider starts there as well
                self._record_samples()
                self._record_values()
                self._writer.drain()
            self._opened = opened.pop_all()

    @property
    def step(self) -> int:
        """Number of steps trained so far."""
        return self._trainer.step

    @property
    def steps_per_s(self) -> float | None:
        """Steps per second of the whole run, the median of its records; None if no speed has been recorded."""
        return typical_speed([r.values[STEPS_PER_S] for r in self._records if STEPS_PER_S in r.values])

    def advance(self, seconds: float) -> Outcome | None:
        """Train for about this number of seconds, at least one step, and return the outcome; None if the run goes on.

        It also returns at the steps of `config.pauses`. Files are written in the background; when the run has ended or
        pauses, all of them are complete.

        Raises:
            OSError: A file cannot be written.
        """
        deadline = time.perf_counter() + seconds
        try:
            while not (ended := self._ended()):
                self._trainer.train_step()
                self._record()
                pausing = self.step in self.config.pauses
                if pausing:
                    self._writer.drain()
                if pausing or time.perf_counter() >= deadline:
                    ended = self._ended()
                    break
            if ended and ended.kind == "completed" and not self._close_measured(deadline):
                ended = None
        except Exception:
            with suppress(Exception):  # the first error counts
                self._writer.drain()
            raise
        self.notices += determinism.notices()
        return self._end(ended) if ended else None

    def suspend(self, reason: str, rule: str = "") -> Outcome:
        """Write a checkpoint, and record and return the outcome: interrupted, or stopped if a rule is given."""
        self._checkpoint()
        return self._end(Outcome("stopped" if rule else "interrupted", self.step, reason, rule=rule))

    def close(self) -> None:
        """Wait for the device and for all writes, then unlock the folder, so that the trial can be opened again."""
        synchronize()
        self._opened.close()

    def _ended(self) -> Outcome | None:
        """Return the outcome if the run has ended, else None.

        It depends only on the step and on verdicts, so that a run resumed after a kill ends at the same step.
        """
        steps = self.config.steps
        failure = self._failure()
        if failure and (self.step < steps or failure.kind == "divergence"):
            return Outcome("stopped", self.step, failure.reason, self._judge.conclude(self._history()), failure.kind)
        if self.step < steps:
            return None
        return Outcome("completed", self.step, verdicts=self._judge.conclude(self._history()))

    def _close_measured(self, deadline: float) -> bool:
        """Continue the closing measurement until the deadline, and return whether it is complete or there is none.

        The last checkpoint is written before the measurement starts. If the process is killed during the measurement,
        no step has to be trained again.
        """
        closing, step = self._closing, self.step
        if closing is None or any(r.step == step and closing.metric in r.values for r in self._records):
            return True
        self._writer.drain()
        done = closing.advance(self._trainer, deadline)
        self.notices += closing.notices
        closing.notices.clear()
        if closing.result and (record := at_end_of(self._records, closing.result)):
            record = self._confirmed(record)
            self._records.append(record)
            self._writer.put(partial(self._journal.append_more, record))
            self.latest |= record.values
        return done

    def _failure(self) -> Verdict | None:
        """Return the verdict that ends the run, if there is one."""
        return next((v for v in self.verdicts if v.kind in self.config.stop_on), None)

    def _record(self) -> None:
        """Write the records, samples and checkpoint that are due after this step.

        The checkpoint is last, because a resumed run does not repeat what was due before it.
        """
        due, step = self.config, self.step
        self._record_values()
        failure = self._failure()
        last = step == due.steps or failure is not None
        if step % due.samples == 0 or last:
            self._record_samples()
        if (last or self._checkpoint_is_due()) and not (failure and failure.kind == "divergence"):
            self._checkpoint()

    def _checkpoint_is_due(self) -> bool:
        due, step = self.config, self.step
        if step in due.pauses:
            return True
        if due.checkpoints:
            return step % due.checkpoints == 0
        return time.monotonic() >= self._saved_at + due.checkpoint_s or self._is_best()

    def _is_best(self) -> bool:
        """Whether there is an evaluation at this step, and the objective is better than at any step before."""
        if not self._evaluates():
            return False
        *before, last = [(-1, WORST), *self._ranking.points(r for r in self._records if r.step <= self.step)]
        return last[0] == self.step and last[1] < min((score for _, score in before), default=WORST)

    def _evaluates(self) -> bool:
        """Whether an evaluation is due at this step."""
        due, step = self.config, self.step
        return self._evaluator is not None and (step % due.evaluations == 0 or step == due.steps)

    def _record_values(self) -> None:
        """Record metrics and an evaluation if they are due, and update the verdicts.

        On a GPU, metrics of a step without an evaluation are judged only when the next record is due, not when their
        copy to the host is complete. Thus the step at which a run is stopped does not depend on timing.
        """
        due, step = self.config, self.step
        last, evaluates = step == due.steps, self._evaluates()
        measures = step > 0 and (step % due.metrics == 0 or last)
        if not (measures or evaluates):
            return
        self._record_row()
        row = self._measure() if measures else None
        if row and not evaluates and not last and is_delayed(self._trainer.device):
            self._row = row
            self._update_verdicts(step - 1)
            return
        values = self._values(row) if row else {}
        if evaluates:
            values |= self._evaluation()
        self._append(Record(step, time.time(), values))
        self._update_verdicts(step)

    def _record_row(self) -> None:
        """Record the metrics that are still being copied to the host, if any. Waits until they have been copied."""
        row, self._row = self._row, None
        if row:
            self._append(Record(row.step, row.time, self._values(row)))

    def _append(self, record: Record) -> None:
        """Append a record to the journal, unless it is empty or a killed process has written one for its step."""
        if record.values and record.step > self._last_recorded:
            record = self._confirmed(record)
            self._records.append(record)
            self._writer.put(partial(self._journal.append, record))
        self.latest |= record.values

    def _confirmed(self, record: Record) -> Record:
        """Return the withdrawn record of the same step if it has the same values, else the given record.

        The time of the record and metrics of the machine may differ. See `records.withdrawal`.
        """
        same = (d for d in self._doubted if d.step == record.step and _reproducible(d) == _reproducible(record))
        return next(same, record)

    def _update_verdicts(self, step: int) -> None:
        """Judge the records up to a step, if those not judged before contain a value that verdicts depend on."""
        first, end = (bisect_right(self._records, at, key=lambda r: r.step) for at in (self._judged, step))
        self._judged = step
        new = (name for record in self._records[first:end] for name in record.values)
        if any(name == NONFINITE_STEP or is_evaluation(name) for name in new):
            self.verdicts = self._judge(self._history())
            self._flag()

    def _last_judged(self) -> int:
        """Return the step up to which records had been judged when the loaded checkpoint was written.

        On a GPU, the record of that step may not have been judged yet: see `_record_values`.
        """
        last = next((record for record in reversed(self._records) if record.step <= self.step), None)
        if last is None or last.step == self.config.steps or any(map(is_evaluation, last.values)):
            return self.step
        return last.step - 1 if is_delayed(self._trainer.device) else self.step

    @property
    def _last_recorded(self) -> int:
        """Last step with a record, perhaps of a killed process that had trained beyond its checkpoint; -1 for none."""
        return self._records[-1].step if self._records else -1

    def _flag(self) -> None:
        new = [v for v in self.verdicts if v.kind in self.config.flag and v.kind not in self._reported]
        self.notices += [v.reason for v in new]
        self._reported |= {v.kind for v in new}

    def _history(self) -> History:
        """Return the history of the records up to the last judged step. A killed process may have left later ones."""
        s = self._trainer.config
        points = ((r.step, r.values) for r in self._records if r.step <= self._judged)
        return History.of(
            points, self.config.steps, s.loss.critic, s.networks.growth_at, has_logits(s.loss.name), self._compared
        )

    def _evaluation(self) -> dict[str, float]:
        """Return the metrics of the evaluation at this step, from the journal if a killed process recorded them."""
        assert self._evaluator is not None
        if self.step <= self._last_recorded:
            found = next((r for r in self._records if r.step == self.step), None)
            return {k: v for k, v in found.values.items() if is_evaluation(k)} if found else {}
        with self._trainer.default_streams():
            return self._evaluator(self._trainer)

    def _measure(self) -> _Row:
        """Return the metrics of the interval that ends at this step. Their copy to the host has been started."""
        trainer, step = self._trainer, self.step
        row = _Row(step, time.time(), trainer.measure(), readings(trainer.device), step % self.config.metrics == 0)
        if row.whole:
            trainer.clear()  # else the interval stays open, because a run with more steps will complete and record it
        return row

    def _values(self, row: _Row) -> dict[str, float]:
        """Return the values to record for a row, by name of the metric. Waits until they have been copied to the host.

        Metrics of training are means over the steps of the interval.
        """
        measured = row.measurement.read()
        rows = measured.rows
        with np.errstate(all="ignore"):
            means = rows.mean(axis=0, dtype=np.float64)
        values = {name: float(mean) for name, mean in zip(self._trainer.metrics, means, strict=True)}
        values |= {**measured.validation, **row.machine}
        if row.whole and measured.steps_per_s == measured.steps_per_s:
            values[STEPS_PER_S] = measured.steps_per_s
        if not self._nonfinite:
            bad = ~np.isfinite(rows).all(axis=1)
            if bad.any():
                values[NONFINITE_STEP] = float(row.step - len(rows) + 1 + int(np.argmax(bad)))
            elif not measured.finite:
                values[NONFINITE_STEP] = float(row.step)
            self._nonfinite = NONFINITE_STEP in values
        return values

    def _record_samples(self) -> None:
        path = self.folder.sample(self.step)
        if not path.exists():
            (z, labels), s = self._trainer.grid(), self._trainer.config
            with self._trainer.default_streams():
                images = HostCopy({"images": sample_on_device(self._trainer.sampler, z, labels, s.image_size)})
            side, columns = grid_side(s.image_size, len(s.networks.classes)), None if labels is None else A_CLASS
            self._writer.put(partial(_write_grid, path, images, side, columns), images.size)

    def _checkpoint(self) -> None:
        if self._saved_step == self.step:
            return
        self._record_row()
        trainer = self._trainer
        state = HostCopy(trainer.state())
        meta = {
            "step": self.step,
            "position": trainer.batches.position,
            "device": trainer.device.type,
            **restore.description(trainer.config),
        }
        points = self._ranking.points(self._records)
        self._writer.put(partial(self._write_checkpoint, state, meta, points), state.size)
        self._saved_step, self._saved_at = self.step, time.monotonic()

    def _write_checkpoint(self, state: HostCopy, meta: Mapping[str, Any], points: Sequence[Point]) -> None:
        """Write a checkpoint, then delete old ones. Called by the writer, after all records up to its step.

        If a weight is not finite, nothing is written or deleted, so that the last finite checkpoint remains.
        """
        tensors = state.read()
        if checkpoint.weights_finite(tensors):
            self._journal.sync()
            checkpoint.save(self.folder.checkpoint(meta["step"]), tensors, meta)
            before = time.time() - DOUBTED_S if self._trainer.device.type == "cuda" else None
            checkpoint.keep(self.folder, self.config.keep, partial(best_step, points), before)

    def _end(self, ended: Outcome) -> Outcome:
        self._record_row()
        self._writer.drain()
        self._journal.sync()
        ended = replace(ended, thresholds=self.config.thresholds)
        outcome.write(self.folder, ended)
        if ended.kind != "interrupted":
            self.folder.doubted.unlink(missing_ok=True)
        return ended


def _reproducible(record: Record) -> dict[str, str]:
    """Return the values that do not depend on the machine, by name. They are text, so that NaN equals NaN."""
    return {name: repr(value) for name, value in record.values.items() if name not in MACHINE}


def _write_grid(path: Path, images: HostCopy, side: int, columns: int | None) -> None:
    write_atomically(path, grid_png(reduced(images.read()["images"].numpy(), side), columns), durable=True)


def _sweep_up(folder: TrialFolder) -> None:
    """Delete incomplete files of a killed process that trained the trial.

    Other files of the trial's folder are also written by the driver, which may be doing so now.
    """
    own = ((folder.path, f".{path.name}.*") for path in (folder.cadence, folder.devices))
    for place, names in ((folder.samples, ".*"), (folder.checkpoints, ".*"), *own):
        for leftover in place.glob(names):
            leftover.unlink(missing_ok=True)
