"""Withdrawal of what a trial recorded since a time: it ends as one that was never disturbed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from gansweep.config import RunConfig, TrainingConfig
from gansweep.gan import checkpoint
from gansweep.gan.data import Pixels
from gansweep.gan.run import Run
from gansweep.gan.training import Trainer
from gansweep.health.metrics import MACHINE
from gansweep.records import journal, lock, outcome
from gansweep.records.journal import Record
from gansweep.records.layout import TrialFolder
from gansweep.records.withdrawal import withdraw

STEPS = 60
CONFIG = RunConfig(STEPS, metrics=3, samples=20, checkpoints=7, keep=9)
OpenRun = Callable[[TrialFolder], Run]


@pytest.fixture
def open_run(make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]) -> OpenRun:
    make_trainer = partial(Trainer, make_settings(), make_pixels(), torch.device("cpu"))
    return lambda folder: Run(folder, CONFIG, make_trainer)


def train(open_run: OpenRun, folder: TrialFolder, until: int = STEPS) -> None:
    run = open_run(folder)
    while run.step < until and run.advance(0) is None:
        pass
    run.close()


def kept(folder: TrialFolder) -> tuple[object, ...]:
    tensors, meta = checkpoint.load(folder.all_checkpoints()[-1])
    records = [(r.step, values(r)) for r in journal.read(folder.journal)]
    samples = {path.name: path.read_bytes() for path in folder.all_samples()}
    return meta, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, records, samples


def values(record: Record) -> dict[str, str]:
    return {name: repr(value) for name, value in record.values.items() if name not in MACHINE}


def spoil(folder: TrialFolder, since_step: int) -> float:
    """Add an error to everything recorded from a step on, and return a time before that."""
    records = [r for r in journal.read(folder.journal) if r.step >= since_step]
    content = folder.journal.read_bytes()
    for record in records:
        wrong = Record(record.step, record.time, {**record.values, "loss_d": record.values["loss_d"] + 1})
        content = content.replace(journal.line_of(record), journal.line_of(wrong))
    folder.journal.write_bytes(content)
    for path in folder.all_checkpoints():
        tensors, meta = checkpoint.load(path)
        if meta["step"] >= since_step:
            checkpoint.save(path, {name: tensor + 1 for name, tensor in tensors.items()}, meta)
    for path in folder.all_samples():
        if int(path.stem) >= since_step:
            path.write_bytes(b"")
    since = records[0].time
    for path in (*folder.all_checkpoints(), *folder.all_samples()):  # a step takes less than the clock of files shows
        at = since + 1 if int(path.stem) >= since_step else since - 1
        os.utime(path, (at, at))
    return since


@pytest.mark.parametrize("reached", [45, STEPS], ids=["while it trains", "when it has ended"])
@pytest.mark.parametrize("since_step", [24, 3], ids=["from an older checkpoint", "from the start"])
def test_a_trial_with_wrong_weights_and_records_ends_as_one_without(
    tmp_path: Path, open_run: OpenRun, reached: int, since_step: int
) -> None:
    whole, disturbed = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "disturbed")
    train(open_run, whole)
    train(open_run, disturbed, reached)
    withdraw(disturbed, spoil(disturbed, since_step))
    assert outcome.read(disturbed) is None
    assert all(record.step < since_step for record in journal.read(disturbed.journal))
    train(open_run, disturbed)
    assert kept(disturbed) == kept(whole)
    assert not disturbed.doubted.exists()


def test_records_that_prove_right_keep_their_bytes(tmp_path: Path, open_run: OpenRun) -> None:
    folder = TrialFolder(tmp_path / "trial")
    train(open_run, folder, 45)
    before, records = folder.journal.read_bytes(), journal.read(folder.journal)
    withdraw(folder, records[10].time)
    assert before.startswith(folder.journal.read_bytes())
    train(open_run, folder, 39)  # and again, before all have been confirmed
    withdraw(folder, journal.read(folder.journal)[5].time)
    train(open_run, folder)
    assert folder.journal.read_bytes().startswith(before)


def test_nothing_is_withdrawn_from_a_trial_whose_records_are_older(tmp_path: Path, open_run: OpenRun) -> None:
    folder = TrialFolder(tmp_path / "trial")
    train(open_run, folder, 45)
    before = kept(folder)
    withdraw(folder, journal.read(folder.journal)[-1].time + 60)
    assert kept(folder) == before
    assert not folder.doubted.exists()


def test_a_trial_in_training_is_left(tmp_path: Path, open_run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.records.withdrawal.LOCK_WAIT_S", 0.1)
    folder = TrialFolder(tmp_path / "trial")
    run = open_run(folder)
    with pytest.raises(lock.Locked):
        withdraw(folder, 0)
    run.close()
