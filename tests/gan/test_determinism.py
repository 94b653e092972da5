"""Deterministic kernels: what a process that trains on a GPU sets, and what it reports."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch

from gansweep.gan import determinism
from gansweep.gan.data import Pixels
from gansweep.gan.features.small_classifier import train
from gansweep.gan.training import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LACKING = "{} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True, …"


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restores the settings of the process afterwards; pytest restores those of warnings."""
    for name in ("deterministic", "benchmark"):
        monkeypatch.setattr(torch.backends.cudnn, name, name == "benchmark")  # the opposite of what is set up
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    yield
    torch.set_deterministic_debug_mode(0)


def state() -> tuple[object, ...]:
    return (
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        os.environ["CUBLAS_WORKSPACE_CONFIG"],
    )


@pytest.mark.usefixtures("restored")
def test_a_process_that_trains_on_a_gpu_uses_deterministic_kernels() -> None:
    determinism.set_up(CUDA)
    assert state() == (True, False, True, True, False, ":4096:8")


@pytest.mark.usefixtures("restored")
def test_for_the_cpu_nothing_is_set() -> None:
    before, show = state(), warnings.showwarning
    determinism.set_up(CPU)
    assert state() == before
    assert warnings.showwarning is show
    assert determinism.notices() == []


def test_setting_up_loads_no_compiler() -> None:
    """torch.use_deterministic_algorithms loads torch._inductor, and that torch._dynamo: two seconds a process."""
    code = (
        "import sys, torch; from gansweep.gan import determinism; determinism.set_up(torch.device('cuda'));"
        " print([name for name in ('torch._inductor', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("restored")
def test_operators_without_a_deterministic_kernel_are_one_notice() -> None:
    determinism.set_up(CUDA)
    determinism.set_up(CUDA)  # for the next trial of the process
    for operator in ("cumsum_cuda_kernel", "adaptive_max_pool2d_backward_cuda", "cumsum_cuda_kernel"):
        warnings.warn(LACKING.format(operator), stacklevel=1)
    assert determinism.notices() == [
        "numbers may differ from run to run: no deterministic kernel on the GPU for cumsum_cuda_kernel,"
        " adaptive_max_pool2d_backward_cuda"
    ]
    warnings.warn(LACKING.format("cumsum_cuda_kernel"), stacklevel=1)
    assert determinism.notices() == []


@pytest.mark.usefixtures("restored")
def test_other_warnings_are_shown_as_before() -> None:
    shown: list[str] = []
    warnings.showwarning = lambda message, *_, **__: shown.append(str(message))
    determinism.set_up(CUDA)
    warnings.simplefilter("always")
    warnings.warn("something else", stacklevel=1)
    assert shown == ["something else"]


@pytest.mark.usefixtures("restored")
def test_numbers_of_the_cpu_do_not_change_in_a_process_of_a_gpu(
    make_trainer: Callable[..., Trainer], make_pixels: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluator's classifier is trained on the CPU by the first trial, and shared by all."""
    monkeypatch.setattr("gansweep.gan.features.small_classifier.STEPS", 3)
    pixels, labels = torch.from_numpy(make_pixels(40, 32)), torch.arange(40) % 2

    def numbers() -> list[torch.Tensor]:
        trainer = make_trainer()
        for _ in range(3):
            trainer.train_step()
        return [*trainer.state().values(), *train(pixels, labels, 2).state_dict().values()]

    plain = numbers()
    determinism.set_up(CUDA)
    assert all(map(torch.equal, numbers(), plain))


@pytest.mark.gpu
@pytest.mark.usefixtures("restored")
def test_on_a_gpu_equal_trainers_have_equal_numbers(
    make_settings: Callable[..., object], make_pixels: Callable[..., Pixels]
) -> None:
    determinism.set_up(CUDA)

    def numbers() -> dict[str, torch.Tensor]:
        trainer = Trainer(make_settings(batch_size=64, generator_maps=16), make_pixels(256), CUDA)  # type: ignore[arg-type]
        for _ in range(50):
            trainer.train_step()
        return trainer.state()

    first, second = numbers(), numbers()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert determinism.notices() == []


@pytest.mark.gpu
@pytest.mark.usefixtures("restored")
def test_on_a_gpu_torchs_warning_becomes_a_notice() -> None:
    determinism.set_up(CUDA)
    images = torch.randn(1, 1, 8, 8, device=CUDA, requires_grad=True)
    torch.nn.functional.adaptive_avg_pool2d(images, 4).sum().backward()
    assert "adaptive_avg_pool2d_backward_cuda" in determinism.notices()[0]
