"""A captured step computes what an eager one does, whatever the host decides between steps.

On the CPU, tests/support/recording.py stands in for CUDA graphs; the tests marked gpu capture real ones.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds import ABC, MORE_UPDATES, VARIANTS, assert_same_state
from recording import WaitError, record
from torch import Tensor
from waiting import no_waits

from gansweep.config import LossConfig, NetworkConfig, TrainingConfig
from gansweep.gan import determinism
from gansweep.gan.capture import EAGER_STEPS, Recorder, is_refusal, reason_of, record_cuda_graph
from gansweep.gan.training import Trainer
from gansweep.losses.loss import Loss
from gansweep.usercode.code import write

STEPS = 12  # four epochs
KINDS: dict[str, dict[str, Any]] = {
    **VARIANTS,
    "bfloat16": {"precision": "bfloat16"},
    "growth": {"networks": NetworkConfig(growth_at=6, growth_adds="block")},
    "growth of a head": {"networks": NetworkConfig(growth_at=6, growth_adds="head"), "ema": 0.9},
    "separable": {"networks": NetworkConfig(generator_separable=True, discriminator_separable=True)},
    "noise that ends": {"loss": LossConfig(instance_noise=0.3, instance_noise_until=7), **MORE_UPDATES},
    "growth, noise, average and classes": {
        "networks": NetworkConfig(conditioning="concat", classes=ABC, growth_at=8, growth_adds="block"),
        "loss": LossConfig("hinge", instance_noise=0.3, instance_noise_until=11),
        "ema": 0.99,
    },
}
Make = Callable[..., Trainer]


@pytest.fixture
def make(make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Any]) -> Make:
    """A tiny trainer on 20 noisy images, whose images have classes where it asks for them."""

    def make(device: str = "cpu", recorder: Recorder | None = None, resident: bool = True, **changes: Any) -> Trainer:
        settings = make_settings(**changes)
        labels = np.arange(20) % 7 % len(ABC) if settings.networks.classes else None
        pixels = make_pixels(20, settings.image_size, settings.channels)
        return Trainer(settings, pixels, torch.device(device), labels, resident=resident, record=recorder)

    return make


def trained(trainer: Trainer, steps: int = STEPS) -> Trainer:
    for _ in range(steps):
        trainer.train_step()
    return trainer


class Counted:
    """A recorder that counts what it recorded."""

    def __init__(self, recorder: Recorder = record) -> None:
        self.recorder, self.captures, self.replays = recorder, 0, 0

    def __call__(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        replay = self.recorder(step, generators)
        self.captures += 1

        def counted() -> None:
            self.replays += 1
            replay()

        return counted


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_replays_of_a_recorded_step_train_as_eager_steps_do(make: Make, changes: dict[str, Any]) -> None:
    counted = Counted()
    captured, eager = trained(make(recorder=counted, **changes)), trained(make(**changes))
    assert_same_state(captured, eager)
    assert np.array_equal(captured.read(), eager.read())
    assert counted.replays > 0
    assert captured.notices == []


@pytest.mark.parametrize(
    ("name", "captures", "phases"),
    [("plain", 1, 1), ("growth", 2, 2), ("noise that ends", 2, 2), ("falling noise", 1, 2), ("lazy penalties", 2, 2)],
)
def test_a_step_is_captured_anew_where_its_computation_changes(
    make: Make, name: str, captures: int, phases: int
) -> None:
    counted = Counted()
    trained(make(recorder=counted, **KINDS[name]))
    assert (counted.captures, counted.replays) == (captures, STEPS - EAGER_STEPS * phases)


@pytest.mark.parametrize(
    ("name", "at"), [("more updates", 5), ("growth", 7), ("noise that ends", 2), ("average", 10), ("lazy penalties", 9)]
)
def test_a_run_continues_from_eager_to_captured_and_back(make: Make, name: str, at: int) -> None:
    whole = trained(make(**KINDS[name]))
    for first, second in ((record, None), (None, record), (record, record)):
        half = trained(make(recorder=first, **KINDS[name]), at)
        rest = make(recorder=second, **KINDS[name])
        state = {name: tensor.clone() for name, tensor in half.state().items()}
        rest.load_state(state, half.step, half.batches.position)
        assert_same_state(trained(rest, STEPS - at), whole)


def test_a_state_loaded_into_a_captured_trainer_is_trained_from(make: Make) -> None:
    straight, captured = trained(make(), 9), trained(make(recorder=record), 7)
    other = trained(make(), 2)
    captured.load_state(other.state(), other.step, other.batches.position)
    assert_same_state(trained(captured, 7), straight)


class Waiting(Loss):
    """Cross entropy that waits for the device, as a user's loss may."""

    name = "waiting"

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        scale = float(real.mean().detach()) if self.waits else 1.0
        return scale * fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return -fake.mean()

    def probability(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    waits = True


def waiting(trainer: Trainer) -> Trainer:
    trainer.loss = Waiting()
    return trainer


def test_a_step_that_waits_for_the_device_stays_eager_and_is_reported_once(make: Make) -> None:
    refused = trained(waiting(make(recorder=record, **MORE_UPDATES)))
    assert_same_state(refused, trained(waiting(make(**MORE_UPDATES))))
    (notice,) = refused.notices
    assert "CUDA graph" in notice
    assert "_local_scalar_dense" in notice


@pytest.mark.parametrize("name", ["more updates", "falling noise", "augmentation", "spectral norm"])
def test_a_failed_capture_leaves_no_trace_in_the_state(make: Make, name: str) -> None:
    def fails_late(step: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        step()
        raise RuntimeError("operation not permitted when stream is capturing")

    refused = trained(make(recorder=fails_late, **KINDS[name]))
    assert_same_state(refused, trained(make(**KINDS[name])))
    assert len(refused.notices) == 1


def test_memory_that_runs_out_during_capture_is_no_refusal(make: Make) -> None:
    def full(step: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        try:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    trainer = make(recorder=full)
    trained(trainer, EAGER_STEPS)
    with pytest.raises(RuntimeError):
        trainer.train_step()
    assert trainer.notices == []


def test_a_lost_context_is_no_refusal_and_the_first_error_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class DeviceError(RuntimeError):
        """An error of the device with its number, as torch has since 2.8; it cannot be made with one."""

        def __init__(self, message: str, code: int) -> None:
            super().__init__(message)
            self.error_code = code

    monkeypatch.setattr(torch, "AcceleratorError", DeviceError, raising=False)
    lost, invalid = DeviceError("CUDA error: an illegal memory access", 700), WaitError("waits\nfor the device")
    assert not is_refusal(lost)
    after = DeviceError("CUDA error: operation failed due to a previous error during capture", 901)
    after.__context__ = invalid
    assert is_refusal(after)
    assert reason_of(after) == "waits"


@pytest.mark.parametrize("name", ["more updates", "concat"])
def test_images_on_the_host_give_the_batches_of_images_on_the_device(make: Make, name: str) -> None:
    assert_same_state(trained(make(resident=False, **KINDS[name])), trained(make(**KINDS[name])))
    assert_same_state(trained(make(resident=False, recorder=record, **KINDS[name])), trained(make(**KINDS[name])))
    streamed, resident = make(resident=False, validation=0.4), make(validation=0.4)
    for one, other in zip(streamed.batches.probe(5), resident.batches.probe(5), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one[0], other[0])


OWN_D = """
import torch
from torch import nn
class D(nn.Module):
    def __init__(self, channels, image_size, waits):
        super().__init__()
        self.conv, self.norm = nn.utils.spectral_norm(nn.Conv2d(channels, 4, image_size)), nn.BatchNorm2d(4)
        self.last, self.waits = nn.Sequential(nn.Dropout(), nn.Linear(4, 1)), waits
    def forward(self, x):
        x = self.norm(self.conv(x)).flatten(1)
        return self.last(x * x.mean().item() if self.waits else x)
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Settings of a D of the user with spectral norm, batch norm and dropout."""

    def settings(*, waits: bool = False) -> dict[str, Any]:
        code = write({"nets.py": OWN_D.encode()}, tmp_path)
        networks = NetworkConfig(discriminator_network="nets:D", discriminator_options={"waits": waits})
        return {"networks": networks, "code": code, **MORE_UPDATES}

    return settings


ON_EITHER = pytest.mark.parametrize(
    ("device", "recorder"), [("cpu", record), pytest.param("cuda", record_cuda_graph, marks=pytest.mark.gpu)]
)


@ON_EITHER
def test_a_network_of_the_user_is_captured(
    make: Make, own: Callable[..., dict[str, Any]], device: str, recorder: Recorder
) -> None:
    """Its dropout draws from torch's default stream, from which others may draw in between."""
    captured, eager = make(device, recorder, **own()), make(device, **own())
    trained(captured)
    for _ in range(STEPS):
        trained(eager, 1)
        torch.rand(3, device=device)
    assert_same_state(captured, eager)
    assert captured.notices == []
    assert captured.captures


@ON_EITHER
def test_a_network_of_the_user_that_waits_stays_eager_with_a_reason(
    make: Make, own: Callable[..., dict[str, Any]], device: str, recorder: Recorder
) -> None:
    refused = trained(make(device, recorder, **own(waits=True)))
    assert_same_state(refused, trained(make(device, **own(waits=True))))
    (notice,) = refused.notices
    assert "CUDA graph" in notice


# On a GPU.


@pytest.fixture
def deterministic() -> None:
    determinism.set_up(torch.device("cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_a_cuda_graph_trains_as_eager_steps_do(make: Make, deterministic: None, changes: dict[str, Any]) -> None:
    counted = Counted(record_cuda_graph)
    captured, eager = trained(make("cuda", counted, **changes), 40), trained(make("cuda", **changes), 40)
    assert_same_state(captured, eager)
    assert np.array_equal(captured.read(), eager.read())
    assert counted.replays >= 40 - 3 * EAGER_STEPS
    assert captured.notices == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["plain", "growth", "noise that ends", "average", "concat", "wasserstein_gp"])
def test_on_a_gpu_a_run_continues_from_eager_to_captured_and_back(make: Make, deterministic: None, name: str) -> None:
    whole = trained(make("cuda", **KINDS[name]), 30)
    for first, second in ((record_cuda_graph, None), (None, record_cuda_graph), (record_cuda_graph,) * 2):
        half = trained(make("cuda", first, **KINDS[name]), 10)
        state = {name: tensor.clone() for name, tensor in half.state().items()}
        rest = make("cuda", second, **KINDS[name])
        rest.load_state(state, half.step, half.batches.position)
        assert_same_state(trained(rest, 20), whole)


@pytest.mark.gpu
def test_graphs_that_nobody_uses_do_not_disturb_a_capture(make: Make, deterministic: None) -> None:
    gc.disable()
    try:
        for _ in range(3):
            trained(make("cuda", record_cuda_graph), 5)  # is left to the collector, with its graph
        threshold = gc.get_threshold()
        gc.set_threshold(1)
        gc.enable()
        assert trained(make("cuda", record_cuda_graph), 5).notices == []
    finally:
        gc.set_threshold(*threshold)
        gc.enable()


@pytest.mark.gpu
def test_on_a_gpu_a_step_that_waits_for_the_device_stays_eager(make: Make, deterministic: None) -> None:
    refused = trained(waiting(make("cuda", record_cuda_graph, **MORE_UPDATES)), 30)
    assert_same_state(refused, trained(waiting(make("cuda", **MORE_UPDATES)), 30))
    (notice,) = refused.notices
    assert "CUDA graph" in notice
    captured = trained(make("cuda", record_cuda_graph), 30)  # the process can still capture
    assert captured.notices == []
    assert_same_state(captured, trained(make("cuda"), 30))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["plain", "more updates", "concat"])
def test_on_a_gpu_images_on_the_host_give_the_same_batches(make: Make, deterministic: None, name: str) -> None:
    streamed = trained(make("cuda", record_cuda_graph, resident=False, **KINDS[name]), 200)
    assert_same_state(streamed, trained(make("cuda", record_cuda_graph, **KINDS[name]), 200))


@pytest.mark.gpu
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("name", ["plain", "growth, noise, average and classes"])
def test_neither_a_step_nor_a_measurement_waits_for_the_gpu(
    make: Make, deterministic: None, name: str, resident: bool
) -> None:
    for recorder in (None, record_cuda_graph):
        trainer = trained(make("cuda", recorder, resident, validation=0.4, **KINDS[name]), 20)
        with no_waits():
            measured = trained(trainer, 20).measure()
            trainer.clear()
            trained(trainer, 5)
        assert measured.read().rows.shape == (40, 6)


@pytest.mark.gpu
def test_measurements_on_a_gpu_are_of_their_own_moment(make: Make, deterministic: None) -> None:
    trainer, other = make("cuda", record_cuda_graph, validation=0.4), make("cuda", validation=0.4)
    measured = trained(trainer, 10).measure()
    trainer.clear()
    trained(trainer, 50)
    expected = trained(other, 10).measure().read()
    found = measured.read()
    assert np.array_equal(found.rows, expected.rows)
    assert found.validation == expected.validation
    assert found.finite
    assert found.steps_per_s > 0


@pytest.mark.gpu
def test_float32_on_a_gpu_stays_beside_the_cpu(make: Make, deterministic: None) -> None:
    ours = trained(make("cuda", record_cuda_graph), 8).read()[:, :2]
    np.testing.assert_allclose(ours[:3], trained(make(), 8).read()[:3, :2], rtol=0.02)
