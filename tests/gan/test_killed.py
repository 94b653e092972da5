"""A process that trains a run is killed with SIGKILL while its thread writes: nothing is lost or doubled.

The same with whole sweeps, their drivers and MLflow: tests/integration/test_kills.py."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gansweep.config import RunConfig, TrainingConfig
from gansweep.gan import checkpoint
from gansweep.gan.data import Pixels
from gansweep.gan.run import Run
from gansweep.gan.training import Trainer
from gansweep.health.metrics import FD_RATIO, MACHINE
from gansweep.records import journal
from gansweep.records.journal import Journal
from gansweep.records.layout import TrialFolder, write_atomically

KILLS = 10
STEPS = 90
BY_STEPS = RunConfig(STEPS, metrics=3, samples=40, checkpoints=7, keep=2, evaluations=20)
BY_TIME = RunConfig(STEPS, metrics=3, samples=40, checkpoints=0, keep=2, evaluations=20, checkpoint_s=0.05)


class Evaluates:
    """An evaluator whose metric depends on the weights."""

    notices: tuple[str, ...] = ()

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        return {FD_RATIO: float(sum(p.detach().abs().sum() for p in trainer.generator.parameters()))}

    def description(self) -> dict[str, int]:
        return {"samples": 2}


def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be slower than training, so that a kill meets writes that are waiting or half done."""
    append = Journal.append

    def slow_append(journal: Journal, record: journal.Record) -> bool:
        time.sleep(0.002)
        return append(journal, record)

    def slow_write(path: Path, content: bytes, *, durable: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.parent / f".{path.name}.half"
        half.write_bytes(content[: len(content) // 2])
        time.sleep(0.01)
        write_atomically(path, content, durable=durable)
        half.unlink()

    monkeypatch.setattr(Journal, "append", slow_append)
    for module in ("checkpoint", "run"):
        monkeypatch.setattr(f"gansweep.gan.{module}.write_atomically", slow_write)


def train_and_tell(open_run: Callable[[], Run], pipe: int) -> None:
    """Train to the end, in a process of its own. One byte is written to the pipe per step."""
    train_step = Trainer.train_step

    def tell(self: Trainer) -> None:
        train_step(self)
        os.write(pipe, b".")

    Trainer.train_step = tell  # type: ignore[method-assign]
    run = open_run()
    while run.advance(0.01) is None:
        pass
    run.close()


def life(open_run: Callable[[], Run], steps: int) -> bool:
    """Train in another process that is killed after this number of steps. Return whether it had ended before."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            train_and_tell(open_run, writing)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        while steps and pipe.read(1):
            steps -= 1
        if not steps:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


def kept(folder: TrialFolder) -> dict[str, Any]:
    """Everything that must not depend on how often the run was killed."""
    tensors, meta = checkpoint.load(folder.all_checkpoints()[-1])
    return {
        "meta": meta,
        "tensors": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        "journal": [
            (r.step, {k: repr(v) for k, v in r.values.items() if k not in MACHINE})
            for r in journal.read(folder.journal)
        ],
        "samples": {path.name: path.read_bytes() for path in folder.all_samples()},
    }


@pytest.mark.parametrize("config", [BY_STEPS, BY_TIME], ids=["checkpoints by steps", "checkpoints by time"])
def test_a_run_that_is_killed_again_and_again_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path,
    make_settings: Callable[..., TrainingConfig],
    make_pixels: Callable[..., Pixels],
    monkeypatch: pytest.MonkeyPatch,
    config: RunConfig,
) -> None:
    make_trainer = partial(Trainer, make_settings(), make_pixels(), torch.device("cpu"))
    whole, folder = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "killed")
    run = Run(whole, config, make_trainer, Evaluates)  # type: ignore[arg-type]
    assert run.advance(600) is not None
    run.close()
    slow_disk(monkeypatch)
    open_run = partial(Run, folder, config, make_trainer, Evaluates)  # type: ignore[arg-type]
    rng, kills = random.Random(0), 0
    while not life(open_run, rng.randint(1, 14)):
        kills += 1
        assert kills < 500, "the run does not advance"
    print(f"killed {kills} times")
    assert kills >= KILLS
    assert kept(folder) == kept(whole)
    assert not [path for path in folder.path.rglob(".*") if path.is_file()], "half-written files are left"
