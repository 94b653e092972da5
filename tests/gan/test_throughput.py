"""Throughput of several trainers, eagerly on the CPU; on a GPU their captured steps run side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from gansweep.config import NetworkConfig, TrainingConfig
from gansweep.gan import throughput
from gansweep.gan.capture import EAGER_STEPS, Step, record_cuda_graph
from gansweep.gan.data import Pixels
from gansweep.gan.throughput import SideBySide
from gansweep.gan.training import Trainer
from gansweep.losses.regularizer import Regularizer

CPU = torch.device("cpu")


@pytest.fixture
def made() -> list[Trainer]:
    """Trainers that `trainers` has made."""
    return []


@pytest.fixture
def trainers(made: list[Trainer], make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> SideBySide:
    monkeypatch.setattr(throughput, "TIMED_S", 0.01)

    def make() -> Trainer:
        made.append(make_trainer())
        made[-1].train_step()
        return made[-1]

    return SideBySide(make, CPU)


def test_as_many_trainers_are_made_as_are_measured(trainers: SideBySide, made: list[Trainer]) -> None:
    for number in (1, 2, 2, 5):
        assert trainers.rate(number) > 1
        assert len(made) == number
    assert [trainer.step for trainer in made] == [1] * 5, "a measured step is not counted"


def test_the_rate_is_that_of_all_trainers_together(trainers: SideBySide, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def takes_10_ms(trainer: Trainer) -> None:
        now[0] += 0.01

    monkeypatch.setattr(Trainer, "repeat_step", takes_10_ms)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    assert [trainers.rate(number) for number in (1, 3)] == pytest.approx([100, 100])


def test_each_trainer_takes_its_turn(trainers: SideBySide, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Trainer] = []
    monkeypatch.setattr(Trainer, "repeat_step", lambda trainer: steps.append(trainer))
    trainers.rate(3)
    assert len(steps) % 3 == 0
    assert all(steps[i] is steps[i % 3] for i in range(len(steps)))
    assert len({id(trainer) for trainer in steps}) == 3


def test_a_captured_step_is_what_is_repeated(
    make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]
) -> None:
    replayed = []

    def record(step: Step, generators: Sequence[torch.Generator]) -> Step:
        return lambda: replayed.append(1)

    assert not Trainer(make_settings(), make_pixels(), CPU).captures
    trainer = Trainer(make_settings(), make_pixels(), CPU, record=record)
    assert trainer.captures
    for _ in range(trainer.capture_steps):
        trainer.train_step()
    before = len(replayed)
    trainer.repeat_step()
    assert len(replayed) == before + 1


def test_after_its_capture_steps_a_trainer_has_captured_all_kinds_of_steps(
    make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]
) -> None:
    captured = []

    def record(step: Step, generators: Sequence[torch.Generator]) -> Step:
        captured.append(1)
        return lambda: None

    for interval in (1, 2, 5):
        config = make_settings(regularizer=Regularizer(r1=1.0, interval=interval), networks=NetworkConfig(norm="none"))
        trainer = Trainer(config, make_pixels(), CPU, record=record)
        captured.clear()
        for _ in range(trainer.capture_steps):
            trainer.train_step()
        assert len(captured) == (1 if interval == 1 else 2)


@pytest.mark.gpu
def test_on_a_gpu_captured_steps_run_side_by_side(
    make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]
) -> None:
    device = torch.device("cuda")

    def make() -> Trainer:
        trainer = Trainer(make_settings(batch_size=16), make_pixels(), device, record=record_cuda_graph)
        for _ in range(EAGER_STEPS + 2):
            trainer.train_step()
        assert trainer.captures
        return trainer

    together = SideBySide(make, device)
    rates = {number: together.rate(number) for number in (1, 2, 4)}
    print(f"steps/s of tiny networks by number of trainers: {rates}")
    assert rates[4] > 1.2 * rates[1]
