"""The GPU of this process: measurements by NVML, and classification of CUDA errors.

Errors can be classified even if torch was never imported, or cannot be.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from gansweep.health.metrics import GPU_MEMORY, GPU_UTILIZATION

if TYPE_CHECKING:
    import torch

# Messages of CUDA and its libraries outside PyTorch's allocator: while a context or a handle is created.
WORDS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that GPU memory is exhausted. The CUDA context survives this."""
    return _is_of_torch(error, "OutOfMemoryError") or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)
    )


def is_context_lost(error: BaseException) -> bool:
    """Whether the CUDA context is lost, so that this process cannot continue to train."""
    return _is_of_torch(error, "AcceleratorError")


def release() -> None:
    """Release unused GPU memory: other processes on the GPU cannot use memory that this one only caches."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        gc.collect()  # 0.15 s, which trials on a CPU are spared
        torch.cuda.empty_cache()


def uuid(device: torch.device) -> str:
    """Return NVML's id of the device, which does not depend on CUDA_VISIBLE_DEVICES."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def readings(device: torch.device) -> dict[str, float]:
    """Return GPU_MEMORY in bytes and GPU_UTILIZATION in percent; {} on a CPU, and without values that NVML does not
    report.

    Memory is that of this process. If NVML does not list it (in containers, which have their own process ids), the
    memory of PyTorch's allocator is returned, which lacks the CUDA context.
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
    except Exception:  # a driver may refuse any request (MIG, WSL, vGPU); a missing reading must not end a run
        return found
    return found


def _own_memory(processes: list[Any]) -> dict[str, float]:
    held = [p.usedGpuMemory for p in processes if p.pid == os.getpid() and p.usedGpuMemory]
    return {GPU_MEMORY: float(held[0])} if held else {}


def _is_of_torch(error: BaseException, name: str) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, getattr(torch, name))
