"""Evaluations on a device: torch on the CPU where there is no GPU, and a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from waiting import no_waits

from gansweep.config import LossConfig, NetworkConfig, TrainingConfig
from gansweep.gan import evaluator as module
from gansweep.gan.comparison import OnCpu, OnDevice, comparison, full_precision
from gansweep.gan.data import ImageSet, Pixels
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.reference import Reference, reference_of
from gansweep.gan.sampling import sample_on_device
from gansweep.gan.training import Trainer
from gansweep.health import metrics as m
from gansweep.health.evidence import Samples
from gansweep.health.measure import Metric

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CLASSES = ("a", "b", "c")
LABELS = np.arange(500) % 3
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "conditional": {"networks": NetworkConfig(conditioning="concat", classes=CLASSES), "validation": 0.1},
    "average of a critic": {
        "loss": LossConfig("wasserstein_gp"),
        "networks": NetworkConfig(norm="layer", spectral_norm=True),
        "ema": 0.9,
    },
}
CONTINUOUS = {m.FD_RATIO, m.SPREAD_ACROSS, m.SPREAD_WITHIN, m.D_STD, m.D_FRESH}


@pytest.fixture
def images(quick: None, make_set: Callable[..., ImageSet], make_pixels: Callable[..., Pixels]) -> ImageSet:
    """Noise of three levels of contrast, one for each class."""
    pixels = make_pixels(500) // (1 + LABELS[:, None, None, None]).astype(np.uint8)
    return make_set(pixels, LABELS.tolist(), CLASSES)


@pytest.fixture
def reference(images: ImageSet) -> Reference:
    return reference_of(images)[0]


@pytest.fixture
def trainer_on(images: ImageSet, make_settings: Callable[..., TrainingConfig]) -> Callable[..., Trainer]:
    """(device, **changes) → tiny networks, always with the same weights."""

    def make(device: torch.device, **changes: Any) -> Trainer:
        settings = make_settings(**changes)
        trainer = Trainer.on(images, settings, CPU)
        for _ in range(3):
            trainer.train_step()
        if device.type == "cpu":
            return trainer
        moved = Trainer.on(images, settings, device)
        moved.step = trainer.step
        for name in ("generator", "discriminator", "average"):
            if getattr(moved, name) is not None:
                getattr(moved, name).load_state_dict(getattr(trainer, name).state_dict())
        return moved

    return make


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples on the CPU are compared as those on a GPU are."""
    monkeypatch.setattr(module, "comparison", OnDevice)


def test_the_device_of_the_samples_decides(reference: Reference) -> None:
    assert isinstance(comparison(reference.embedding, reference.at(60), CPU), OnCpu)
    assert isinstance(comparison(reference.embedding, reference.at(60), torch.device("meta")), OnDevice)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_torch_and_numpy_evaluate_alike(
    trainer_on: Callable[..., Trainer],
    reference: Reference,
    request: pytest.FixtureRequest,
    changes: dict[str, Any],
) -> None:
    trainer = trainer_on(CPU, **changes)
    expected = Evaluator(reference, 60, 0)(trainer)
    request.getfixturevalue("by_torch")
    found = Evaluator(reference, 60, 0)(trainer)
    assert [*found] == [*expected]
    assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_images_of_one_class_are_evaluated_without_labels(
    make_set: Callable[..., ImageSet], make_pixels: Callable[..., Pixels], device: str
) -> None:
    reference, _ = reference_of(make_set(make_pixels(500), [0] * 500, ("all",)))
    pixels = torch.from_numpy(make_pixels(60) // 2)
    judge = OnDevice(reference.embedding, reference.at(60), torch.device(device))
    found, expected = (
        {one.name: one.record(samples) for one in m.SAMPLE_METRICS if one.needs <= {*samples.given}}
        for samples in (
            judge(pixels.to(device), None),
            OnCpu(reference.embedding, reference.at(60))(pixels, None),
        )
    )
    assert [*found] == [*expected]
    assert found[m.MS_SSIM] == pytest.approx(expected[m.MS_SSIM], rel=1e-6)
    assert found[m.FD_RATIO] == pytest.approx(expected[m.FD_RATIO], rel=1e-4)


@pytest.mark.usefixtures("by_torch")
def test_metrics_of_users_are_given_arrays(trainer_on: Callable[..., Trainer], reference: Reference) -> None:
    given: list[Samples] = []

    def brightness(samples: Samples) -> float:
        given.append(samples)
        return float(samples.pixels.mean())

    trainer = trainer_on(CPU)
    found = Evaluator(reference, 60, 0, [Metric("brightness", "brightness", "mean grey level", brightness)])(trainer)
    (samples,) = given
    pixels = np.asarray(samples.pixels)
    features, labels = reference.embedding.embed(torch.from_numpy(pixels))
    assert found["brightness"] == pixels.mean()
    assert all(type(part) is np.ndarray for part in (samples.pixels, samples.features, samples.labels))
    np.testing.assert_array_equal(samples.features, features.numpy())
    np.testing.assert_array_equal(samples.labels, labels.numpy())


@pytest.fixture
def matmul_tf32() -> Iterator[None]:
    """Restore the setting afterwards; monkeypatch cannot."""
    before = torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.usefixtures("matmul_tf32")
@pytest.mark.parametrize("cudnn", [False, True])
@pytest.mark.parametrize("matmul", [False, True])
def test_tf32_is_off_during_an_evaluation_only(
    trainer_on: Callable[..., Trainer],
    reference: Reference,
    monkeypatch: pytest.MonkeyPatch,
    matmul: bool,
    cudnn: bool,
) -> None:
    def settings() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    seen: list[tuple[bool, bool]] = []
    trainer, evaluator = trainer_on(CPU), Evaluator(reference, 60, 0)
    watch = [network.register_forward_pre_hook(lambda *_: seen.append(settings())) for network in
             (trainer.generator, trainer.discriminator, reference.embedding)]  # fmt: skip
    torch.backends.cuda.matmul.allow_tf32 = matmul
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", cudnn)
    evaluator(trainer)
    assert settings() == (matmul, cudnn)
    with pytest.raises(ZeroDivisionError), full_precision():
        _ = 1 / 0
    assert settings() == (matmul, cudnn)
    assert len(seen) >= 3
    assert {*seen} == {(False, False)}
    for hook in watch:
        hook.remove()


# On a GPU.


def snapshot(trainer: Trainer) -> dict[str, Any]:
    """Everything that the next step depends on."""
    return {
        "state": {name: tensor.cpu().numpy().tobytes() for name, tensor in trainer.state().items()},
        "modes": (trainer.generator.training, trainer.discriminator.training),
        "at": (trainer.step, trainer.batches.position),
        "global": (torch.get_rng_state().numpy().tobytes(), torch.cuda.get_rng_state().numpy().tobytes()),
    }


@pytest.mark.gpu
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_gpu_evaluates_like_the_cpu(
    trainer_on: Callable[..., Trainer], reference: Reference, changes: dict[str, Any]
) -> None:
    """Up to rounding in the networks, which may move a sample over a border, into another class or another pair."""
    evaluator = Evaluator(reference, 120, 0)
    expected, found = evaluator(trainer_on(CPU, **changes)), evaluator(trainer_on(CUDA, **changes))
    assert [*found] == [*expected]
    for name, value in expected.items():
        near = {"rel": 2e-3} if name in CONTINUOUS else {"rel": 0.05, "abs": 0.05}
        assert found[name] == pytest.approx(value, **near, nan_ok=True), name


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in processes that train."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.mark.gpu
@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_gpu_evaluates_without_a_trace_and_always_alike(
    trainer_on: Callable[..., Trainer], reference: Reference, changes: dict[str, Any]
) -> None:
    evaluator, trainer = Evaluator(reference, 120, 0), trainer_on(CUDA, **changes)
    before = snapshot(trainer)
    found = evaluator(trainer)
    assert snapshot(trainer) == before
    assert evaluator(trainer) == pytest.approx(found, rel=0, abs=0, nan_ok=True)


@pytest.mark.gpu
def test_while_a_gpu_works_the_host_waits_once(
    trainer_on: Callable[..., Trainer], reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, judge = trainer_on(CUDA), comparison(reference.embedding, reference.at(120), CUDA)
    z = torch.randn(120, trainer.config.latent_dim).cuda()
    judge(sample_on_device(trainer.generator, z), None)  # what is copied once per process is waited for
    waits = []
    event = torch.cuda.Event.synchronize
    monkeypatch.setattr(torch.cuda.Event, "synchronize", lambda self: waits.append(self) or event(self))
    with no_waits():
        judge(sample_on_device(trainer.generator, z), None)
    assert len(waits) == 1


@pytest.mark.gpu
@pytest.mark.usefixtures("deterministic")
def test_a_captured_graph_and_evaluations_leave_each_other_alone(
    trainer_on: Callable[..., Trainer], reference: Reference
) -> None:
    evaluator, trainer = Evaluator(reference, 120, 0), trainer_on(CUDA)
    expected, z = evaluator(trainer), torch.randn(8, trainer.config.latent_dim).cuda()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            plain = sample_on_device(trainer.generator, z)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        captured = sample_on_device(trainer.generator, z)
    for _ in range(3):
        assert evaluator(trainer) == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
        captured.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(captured, plain)
