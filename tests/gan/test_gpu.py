"""What NVML says of a trial's GPU, told by a false one, and what memory running out looks like."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from gansweep.config import RunConfig
from gansweep.errors import UserError
from gansweep.gan.gpu import (
    READ_EVERY_S,
    Readings,
    check,
    is_context_lost,
    is_out_of_memory,
    nvml_handle,
    release,
    runs_on,
    visible,
)
from gansweep.gan.run import Run
from gansweep.gan.training import Trainer
from gansweep.health.metrics import GPU_MEMORY, GPU_UTILIZATION
from gansweep.records import lock
from gansweep.records.layout import TrialFolder

CUDA = torch.device("cuda")
GIB = 2**30


def refuse(*_: object) -> None:
    raise RuntimeError("Not Supported")


def led_to(first: Exception, message: str) -> Exception:
    """An error that was raised while another one was handled."""
    try:
        try:
            raise first
        finally:
            raise RuntimeError(message)
    except RuntimeError as error:
        return error


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A false GPU, on which others and this process hold memory; keywords change functions of pynvml."""
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
    nvml_handle.cache_clear()

    def install(processes: dict[int, int | None], **functions: Callable[..., Any]) -> None:
        module: Any = ModuleType("pynvml")
        module.nvmlInit = lambda: None
        module.nvmlDeviceGetHandleByUUID = lambda uuid: {"GPU-12-34": "handle"}[uuid]
        module.nvmlDeviceGetComputeRunningProcesses = lambda handle: [
            SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in processes.items()
        ]
        module.nvmlDeviceGetUtilizationRates = lambda handle: SimpleNamespace(gpu=87, memory=12)
        for name, function in functions.items():
            setattr(module, name, function)
        monkeypatch.setitem(sys.modules, "pynvml", module)

    return install


def test_the_memory_is_that_of_this_process_and_the_utilisation_that_of_the_gpu(nvml: Callable[..., None]) -> None:
    nvml({1: 70 * GIB, os.getpid(): 3 * GIB})
    assert Readings()(CUDA) == {GPU_MEMORY: 3.0 * GIB, GPU_UTILIZATION: 87.0}


@pytest.mark.parametrize("processes", [{}, {1: 3 * GIB}, {os.getpid(): None}])
def test_where_nvml_does_not_tell_the_allocator_is_asked(
    nvml: Callable[..., None], processes: dict[int, int | None]
) -> None:
    nvml(processes)
    assert Readings()(CUDA) == {GPU_MEMORY: 2.0 * GIB, GPU_UTILIZATION: 87.0}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvmlInit", {GPU_MEMORY: 2.0 * GIB}),
        ("nvmlDeviceGetHandleByUUID", {GPU_MEMORY: 2.0 * GIB}),
        ("nvmlDeviceGetComputeRunningProcesses", {GPU_MEMORY: 2.0 * GIB}),
        ("nvmlDeviceGetUtilizationRates", {GPU_MEMORY: 3.0 * GIB}),
    ],
)
def test_a_driver_that_refuses_fails_nothing(nvml: Callable[..., None], name: str, expected: dict[str, float]) -> None:
    nvml({os.getpid(): 3 * GIB}, **{name: refuse})
    assert Readings()(CUDA) == expected


def test_without_pynvml_there_is_the_allocator(nvml: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    nvml({})
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Readings()(CUDA) == {GPU_MEMORY: 2.0 * GIB}


def test_nvml_is_read_at_most_once_a_second_and_asked_once_for_its_handle(
    nvml: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, begun = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    nvml({os.getpid(): 3 * GIB}, nvmlInit=lambda: begun.append(now[0]))
    readings = Readings()
    found = []
    for _ in range(9):
        found.append(readings(CUDA))
        now[0] += READ_EVERY_S / 4
    whole = {GPU_MEMORY: 3.0 * GIB, GPU_UTILIZATION: 87.0}
    assert found == [whole if i % 4 == 0 else {} for i in range(9)]
    assert begun == [100.0]


def test_on_the_cpu_nothing_is_read(nvml: Callable[..., None]) -> None:
    nvml({os.getpid(): 3 * GIB})
    assert Readings()(torch.device("cpu")) == {}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), False),
        (MemoryError(), False),
        (ValueError("CUDA error: out of memory"), False),
        (led_to(torch.OutOfMemoryError("CUDA out of memory"), "operation failed in a previous capture"), True),
        (led_to(led_to(RuntimeError("CUDA error: out of memory"), "a"), "b"), True),
        (led_to(KeyError("noise"), "operation not permitted when stream is capturing"), False),
    ],
)
def test_what_is_out_of_memory(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_release_touches_no_gpu_that_was_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    monkeypatch.setattr(gc, "collect", refuse)  # it takes longer than a small trial
    release()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError):
        release()


@pytest.mark.gpu
def test_a_real_gpu_is_read_and_emptied() -> None:
    release()
    before = torch.cuda.memory_reserved(CUDA) if torch.cuda.is_initialized() else 0
    held = torch.zeros(2**28, device=CUDA)
    found = Readings()(CUDA)
    assert found[GPU_MEMORY] >= held.numel() * 4
    assert 0 <= found[GPU_UTILIZATION] <= 100
    del held
    release()
    assert torch.cuda.memory_reserved(CUDA) - before < 2**28


BUILT = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_100", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((6, 1), False),
        ((7, 0), False),
        ((7, 5), True),
        ((8, 0), True),
        ((8, 9), True),  # code for 8.6
        ((9, 0), True),
        ((9, 1), False),  # the code for 9.0a runs on no other card
        ((10, 3), True),
        ((11, 0), False),
        ((12, 0), True),
        ((13, 0), True),  # compiled from the intermediate code
    ],
)
def test_cards_that_torch_has_code_for(capability: tuple[int, int], expected: bool) -> None:
    assert runs_on(BUILT, capability) is expected
    assert runs_on([], capability), "torch does not tell"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """(capability, bfloat16) → a card that torch reports."""

    def install(capability: tuple[int, int], bfloat16: bool) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA T4")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)

    return install


def test_a_card_too_old_for_torch_is_one_line(card: Callable[..., None]) -> None:
    card((6, 1), False)
    with pytest.raises(UserError) as refused:
        check(CUDA, "float32")
    assert str(refused.value) == (
        f"resources.gpus: NVIDIA T4 (compute capability 6.1) is not supported by torch {torch.__version__}, which is"
        " built for sm_75, sm_80; install a torch that supports it, or set resources.gpus: 0 to train on the CPU"
    )


def test_bfloat16_on_a_card_that_lacks_it_is_one_line(card: Callable[..., None]) -> None:
    card((7, 5), False)
    check(CUDA, "float32")
    with pytest.raises(UserError) as refused:
        check(CUDA, "bfloat16")
    assert str(refused.value) == (
        "training.precision: bfloat16, which NVIDIA T4 (compute capability 7.5) lacks; set training.precision: float32,"
        " or set resources.gpus: 0 to train on the CPU"
    )
    card((8, 0), True)
    check(CUDA, "bfloat16")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, {"GPU-aa": "A", "GPU-bb": "B"}),
        ("1", {"GPU-bb": "B"}),
        ("GPU-a", {"GPU-aa": "A"}),
        ("0,1,7", {"GPU-aa": "A", "GPU-bb": "B"}),
        ("", {}),
        ("MIG-x", {}),
    ],
)
def test_cards_that_this_process_may_use(
    nvml: Callable[..., None], monkeypatch: pytest.MonkeyPatch, chosen: str | None, expected: dict[str, str]
) -> None:
    functions: dict[str, Callable[..., Any]] = {
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetUUID": lambda number: ("GPU-aa", "GPU-bb")[number],
        "nvmlDeviceGetName": lambda number: "AB"[number],
    }
    nvml({}, **functions)
    if chosen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible() == expected
    nvml({}, **{**functions, "nvmlDeviceGetName": refuse})
    assert visible() == {}


@pytest.mark.gpu
def test_a_real_card_passes() -> None:
    check(CUDA, "float32")


def test_a_run_waits_for_its_gpu_before_its_folder_is_released(
    tmp_path: Path, make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(TrialFolder(tmp_path), RunConfig(5, metrics=5, samples=5, checkpoints=5, keep=2), make_trainer)
    held = []

    def wait() -> None:
        held.append(lock.is_held(run.folder.lock))
        raise RuntimeError("CUDA error: unspecified launch failure")  # AcceleratorError is one

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    run.close()
    assert held == [True]
    assert not lock.is_held(run.folder.lock)


def test_no_error_is_a_lost_context_for_a_torch_that_has_no_name_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch 2.6."""
    monkeypatch.delattr(torch, "AcceleratorError", raising=False)
    assert not is_context_lost(RuntimeError("CUDA error: an illegal memory access"))
