"""Metrics that are copied from a GPU while training continues: the journal, the step at which a run is stopped and its
verdicts are the same whenever the copies arrive. Here on the CPU, with copies that are made to arrive late."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gansweep.config import OptimizerConfig, RunConfig, TrainingConfig
from gansweep.gan import run, training
from gansweep.gan.data import Pixels
from gansweep.gan.host_copy import HostCopy
from gansweep.gan.run import Run
from gansweep.gan.training import Trainer
from gansweep.health.metrics import FD_RATIO, MACHINE, NONFINITE_STEP
from gansweep.records import journal, outcome
from gansweep.records.layout import TrialFolder
from gansweep.records.outcome import Outcome

CONFIG = RunConfig(steps=10, metrics=3, samples=9, checkpoints=100, keep=2, evaluations=5)
EXPLODING = {"generator": OptimizerConfig(1e20, 0.5, 0.999)}


class DelayedCopy(HostCopy):
    """A copy whose values are not there before a delay, in seconds, is over."""

    delays: Callable[[], float] = staticmethod(lambda: 0.0)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self._arrived = threading.Event()
        self._there = {name: value.clone() for name, value in self._values.items()}
        for value in self._values.values():
            value.zero_()
        self._timer = threading.Timer(type(self).delays(), self._arrive)
        self._timer.start()

    def _arrive(self) -> None:
        for name, value in self._there.items():
            self._values[name].copy_(value)
        self._arrived.set()

    def read(self) -> dict[str, Tensor]:
        assert self._arrived.wait(10)
        return super().read()


DELAYS: dict[str, Callable[[], float]] = {
    "at once": lambda: 0.0,
    "late": lambda: 0.05,
    "at random": partial(random.Random(0).choice, [0.0, 0.001, 0.01, 0.05]),
}


class Evaluates:
    """An evaluator whose only metric gets better until step 5."""

    notices: tuple[str, ...] = ()

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        return {FD_RATIO: abs(trainer.step - 5.0)}

    def description(self) -> dict[str, int]:
        return {"samples": 2}


@pytest.fixture
def opened(
    make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Run]:
    """A run on a device whose metrics are read later. delays: when its copies arrive."""

    def open_run(
        folder: TrialFolder, config: RunConfig = CONFIG, delays: Callable[[], float] = DELAYS["at once"], **changes: Any
    ) -> Run:
        monkeypatch.setattr(run, "is_delayed", lambda device: True)
        monkeypatch.setattr(DelayedCopy, "delays", staticmethod(delays))
        for module in (run, training):
            monkeypatch.setattr(module, "HostCopy", DelayedCopy)
        make_trainer = partial(Trainer, make_settings(**changes), make_pixels(), torch.device("cpu"))
        return Run(folder, config, make_trainer, Evaluates if config.evaluations else None)  # type: ignore[arg-type]

    return open_run


def ended(run: Run) -> Outcome:
    found = run.advance(60)
    run.close()
    assert found is not None
    return found


def records(folder: TrialFolder) -> list[tuple[int, dict[str, str]]]:
    """The journal without what depends on the machine."""
    return [
        (r.step, {k: repr(v) for k, v in r.values.items() if k not in MACHINE}) for r in journal.read(folder.journal)
    ]


def text(folder: TrialFolder) -> bytes:
    """The journal's bytes, with the values that depend on the machine, and times, replaced."""
    return re.sub(rb'"(time|steps_per_s)": [\d.e+-]+', rb'"\1": 0', folder.journal.read_bytes())


@pytest.mark.parametrize("changes", [{}, {"validation": 0.3}, EXPLODING], ids=["plain", "validation", "diverging"])
def test_the_journal_and_the_end_do_not_depend_on_when_copies_arrive(
    tmp_path: Path, opened: Callable[..., Run], changes: dict[str, Any]
) -> None:
    folders, ends = {}, {}
    for name, delays in DELAYS.items():
        folders[name] = TrialFolder(tmp_path / name)
        ends[name] = ended(opened(folders[name], delays=delays, **changes))
    assert len({text(folder) for folder in folders.values()}) == 1
    assert ends["late"] == ends["at once"] == ends["at random"]
    steps = [0, 3, 5] if changes == EXPLODING else [0, 3, 5, 6, 9, 10]
    assert [step for step, _ in records(folders["late"])] == steps


def test_what_is_read_later_is_what_is_read_at_once(
    tmp_path: Path, opened: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed, at_once = TrialFolder(tmp_path / "delayed"), TrialFolder(tmp_path / "at once")
    ended(opened(delayed, delays=DELAYS["late"]))
    both = opened(at_once)
    monkeypatch.setattr(run, "is_delayed", lambda device: False)
    ended(both)
    assert text(delayed) == text(at_once)


def test_a_divergence_stops_the_run_when_the_next_record_is_due(tmp_path: Path, opened: Callable[..., Run]) -> None:
    folder = TrialFolder(tmp_path / "t")
    config = RunConfig(steps=50, metrics=3, samples=50, checkpoints=50, keep=2)
    found = ended(opened(folder, config, DELAYS["at random"], **EXPLODING))
    assert (found.kind, found.step, found.rule) == ("stopped", 6, "divergence")
    assert [(r.step, r.values.get(NONFINITE_STEP)) for r in journal.read(folder.journal)] == [(3, 2.0), (6, None)]


def test_a_run_that_has_recorded_a_divergence_before_it_was_killed_stops_at_the_same_step(
    tmp_path: Path, opened: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss overflows at step 2 while the weights stay finite, so that later checkpoints exist."""
    train_step = Trainer.train_step

    def overflow(trainer: Trainer) -> None:
        train_step(trainer)
        if trainer.step == 2:
            trainer._rows[-1].fill_(torch.inf)

    monkeypatch.setattr(Trainer, "train_step", overflow)
    config = replace(CONFIG, evaluations=0)
    end = ended(opened(TrialFolder(tmp_path / "whole"), config))
    assert (end.kind, end.step, end.rule) == ("stopped", 6, "divergence")
    for at in (2, 3, 4, 5):
        folder = TrialFolder(tmp_path / f"{at}")
        first = opened(folder, config)
        for _ in range(at):
            first.advance(0)
        first.suspend("asked")
        first.close()
        again = opened(folder, config)
        assert again.step == at
        assert ended(again) == end


@pytest.mark.parametrize("changes", [{}, EXPLODING], ids=["plain", "diverging"])
@pytest.mark.parametrize("asked", [True, False], ids=["asked to end", "killed"])
def test_an_interrupted_run_ends_as_one_that_was_not(
    tmp_path: Path, opened: Callable[..., Run], changes: dict[str, Any], asked: bool
) -> None:
    """Killed with a checkpoint at any step, as checkpoints by time have."""
    whole = TrialFolder(tmp_path / "whole")
    end = ended(opened(whole, **changes))
    for at in range(1, end.step):
        folder = TrialFolder(tmp_path / f"{at}")
        first = opened(folder, delays=DELAYS["at random"], **changes)
        for _ in range(at):
            assert first.advance(0) is None
        if asked:
            first.suspend("asked")
        else:
            first._checkpoint()
        first.close()
        assert ended(opened(folder, delays=DELAYS["at random"], **changes)) == end, f"interrupted at {at}"
        assert records(folder) == records(whole), f"interrupted at {at}"


def test_everything_up_to_a_checkpoint_is_in_the_journal_before_it(
    tmp_path: Path, opened: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrialFolder(tmp_path / "t")
    save, there = run.checkpoint.save, []

    def saved(path: Path, *content: Any) -> None:
        there.append((int(path.stem), [r.step for r in journal.read(folder.journal)], len(folder.all_samples())))
        save(path, *content)

    monkeypatch.setattr(run.checkpoint, "save", saved)
    config = RunConfig(steps=8, metrics=3, samples=4, checkpoints=4, keep=2)
    ended(opened(folder, config, DELAYS["late"]))
    assert there == [(4, [3], 2), (8, [3, 6, 8], 3)]


def test_an_outcome_is_written_after_all_records_and_checkpoints(
    tmp_path: Path, opened: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrialFolder(tmp_path / "t")
    write, there = outcome.write, []

    def written(folder: TrialFolder, ended: Outcome) -> None:
        there.append(([r.step for r in journal.read(folder.journal)], len(folder.all_checkpoints())))
        write(folder, ended)

    monkeypatch.setattr(outcome, "write", written)
    opened_run = opened(folder, RunConfig(steps=9, metrics=3, samples=9, checkpoints=9, keep=1), DELAYS["late"])
    for _ in range(4):
        opened_run.advance(0)
    opened_run.suspend("asked")
    opened_run.close()
    assert there == [([3], 1)]
