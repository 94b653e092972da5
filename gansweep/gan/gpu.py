"""The GPU that this process trains on: what NVML says of it, and what its memory running out looks like.

Errors can be classified where torch was never imported, or could not be.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from gansweep.health.metrics import GPU_MEMORY, GPU_UTILIZATION

if TYPE_CHECKING:
    import torch

# How CUDA and its libraries say it where PyTorch's allocator was not asked: while a context or a handle is made.
WORDS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's memory was used up. The CUDA context survives that."""
    return _is_of_torch(error, "OutOfMemoryError") or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)
    )


def is_context_lost(error: BaseException) -> bool:
    """Whether CUDA failed in a way after which this process can train nothing more."""
    return _is_of_torch(error, "AcceleratorError")


def release() -> None:
    """Give back what nothing refers to any more: neighbours on the GPU cannot use what this process merely keeps."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        gc.collect()  # 0.15 s, which trials on a CPU need not pay
        torch.cuda.empty_cache()


def uuid(device: torch.device) -> str:
    """As NVML knows the device, whatever CUDA_VISIBLE_DEVICES leaves of the others."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def readings(device: torch.device) -> dict[str, float]:
    """GPU_MEMORY in bytes and GPU_UTILIZATION in percent; {} on a CPU, and without what NVML does not tell.

    Memory is that of this process. Where NVML does not list it (in containers, whose process ids are their own), what
    PyTorch's allocator holds stands for it, which lacks the CUDA context.
    """
    if device.type != "cuda":
        return {}
    import torch

    found = {GPU_MEMORY: float(torch.cuda.memory_reserved(device))}
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid(device))
        found |= _own_memory(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
        found[GPU_UTILIZATION] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except Exception:  # a driver may refuse any of it (MIG, WSL, vGPU), and no run fails over a reading
        return found
    return found


def _own_memory(processes: list[Any]) -> dict[str, float]:
    held = [p.usedGpuMemory for p in processes if p.pid == os.getpid() and p.usedGpuMemory]
    return {GPU_MEMORY: float(held[0])} if held else {}


def _is_of_torch(error: BaseException, name: str) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, getattr(torch, name))
