"""The GPU of this process: measurements by NVML, and classification of CUDA errors.

Errors can be classified even if torch was never imported, or cannot be.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from gansweep.errors import UserError
from gansweep.health.metrics import GPU_MEMORY, GPU_UTILIZATION
from gansweep.records.devices import Device

if TYPE_CHECKING:
    import torch

# Messages of CUDA and its libraries outside PyTorch's allocator: while a context or a handle is created.
WORDS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
READ_EVERY_S = 1.0  # NVML's utilization is itself a mean over up to a second


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, means that GPU memory is exhausted. The CUDA context remains usable.

    If memory is exhausted while a CUDA graph is captured, the end of the capture raises another error on top.
    """
    return any(
        _is_of_torch(one, "OutOfMemoryError")
        or (isinstance(one, RuntimeError) and any(words in str(one) for words in WORDS))
        for one in chain(error)
    )


def is_context_lost(error: BaseException) -> bool:
    """Whether an error means that the CUDA context is lost, so that this process cannot continue to train."""
    return _is_of_torch(error, "AcceleratorError")


def synchronize() -> None:
    """Wait until the GPU has completed the work of this process, if any.

    Under NVIDIA's MPS, a process that ends while its kernels run may disturb other processes on the same GPU. If the
    CUDA context is lost, returns at once.
    """
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        with suppress(RuntimeError):
            torch.cuda.synchronize()


def release() -> None:
    """Release GPU memory that PyTorch's allocator caches but does not use, so that other processes can use it."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        gc.collect()  # 0.15 s, which trials on a CPU are spared
        torch.cuda.empty_cache()


def describe(device: torch.device) -> Device:
    """Return the facts to be recorded about the device that this process trains on."""
    import torch

    if device.type != "cuda":
        return Device(device.type, torch=str(torch.__version__))
    settings = {"convolutions": torch.backends.cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32}
    tf32 = tuple(name for name, allowed in settings.items() if allowed)
    return Device(device.type, torch.cuda.get_device_name(device), driver(), str(torch.__version__), tf32)


def uuid(device: torch.device) -> str:
    """Return the UUID by which NVML knows the GPU. It does not depend on CUDA_VISIBLE_DEVICES."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def check(device: torch.device, precision: str) -> None:
    """Check that trials can train on a GPU.

    Args:
        device: The GPU.
        precision: Precision of training, as in TrainingConfig.

    Raises:
        UserError: The installed torch has no code for the card, or the card lacks the precision.
    """
    import torch

    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    built = torch.cuda.get_arch_list()
    card, cpu = (
        f"{name} (compute capability {capability[0]}.{capability[1]})",
        "set resources.gpus: 0 to train on the CPU",
    )
    if not runs_on(built, capability):
        raise UserError(
            f"resources.gpus: {card} is not supported by torch {torch.__version__}, which is built for"
            f" {', '.join(built)}; install a torch that supports it, or {cpu}"
        )
    if precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"training.precision: bfloat16, which {card} lacks; set training.precision: float32, or {cpu}")


def runs_on(built: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether code for one of the architectures that torch is built for runs on a card; True if that is unknown.

    Args:
        built: Architectures, as returned by torch.cuda.get_arch_list().
        capability: Compute capability of the card.
    """
    known = [found for one in built if (found := re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", one))]
    return not known or any(
        _runs(kind, (int(major), int(minor)), suffix, capability)
        for kind, major, minor, suffix in (one.groups() for one in known)
    )


def _runs(kind: str, of: tuple[int, int], suffix: str, capability: tuple[int, int]) -> bool:
    """Whether code for an architecture runs on a card.

    Binary code (`sm_86`) runs on cards of the same major compute capability and the same or a higher minor one.
    Intermediate code (`compute_90`) runs on cards of the same or any higher capability. Code with a suffix (`sm_90a`)
    runs only on cards of exactly this capability.

    Args:
        kind: `sm` or `compute`.
        of: Compute capability in the name of the architecture.
        suffix: Letter at the end of the name; "" without one.
        capability: Compute capability of the card.
    """
    if suffix:
        return of == capability
    return of <= capability and (kind == "compute" or of[0] == capability[0])


class Readings:
    """Reader of the memory and utilization of this process's GPU, at most once every READ_EVERY_S."""

    def __init__(self) -> None:
        self._last = -READ_EVERY_S

    def __call__(self, device: torch.device) -> dict[str, float]:
        """Return GPU_MEMORY in bytes and, if NVML reports it, GPU_UTILIZATION in percent.

        The result is {} on a CPU, and if the last reading is too recent. GPU_MEMORY is the memory of this process. If
        NVML does not list the process (as in containers, which have their own process ids), it is the memory of
        PyTorch's allocator, which does not include the CUDA context.
        """
        now = time.monotonic()
        if device.type != "cuda" or now - self._last < READ_EVERY_S:
            return {}
        self._last = now
        import torch

        found = {GPU_MEMORY: float(torch.cuda.memory_reserved(device))}
        try:
            import pynvml

            handle = nvml_handle(uuid(device))
            found |= _own_memory(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
            found[GPU_UTILIZATION] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        except Exception:  # a driver may refuse any request (MIG, WSL, vGPU); a missing reading must not end a run
            return found
        return found


readings = Readings()


@cache
def nvml_handle(uuid: str) -> Any:
    """Return NVML's handle of a GPU. Raises the errors of pynvml."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByUUID(uuid)


def visible_handles() -> dict[str, Any]:
    """Return UUID → NVML's handle of the GPUs that this process may use. Raises the errors of pynvml."""
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    found = {str(pynvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return found
    entries = [*filter(None, chosen.split(","))]
    return {
        uuid: handle
        for number, (uuid, handle) in enumerate(found.items())
        if str(number) in entries or any(uuid.startswith(entry) for entry in entries)
    }


def visible() -> dict[str, str]:
    """Return UUID → name of the GPUs that this process may use, from NVML; {} if the driver does not report them."""
    with suppress(Exception):  # of pynvml, or of a driver that refuses a request
        import pynvml

        return {uuid: str(pynvml.nvmlDeviceGetName(handle)) for uuid, handle in visible_handles().items()}
    return {}


def admits_many() -> bool:
    """Whether all GPUs that this process may use admit several processes, as they do in the default compute mode.

    False if NVML does not report the modes.
    """
    with suppress(Exception):  # of pynvml, or of a driver that refuses a request
        import pynvml

        modes = map(pynvml.nvmlDeviceGetComputeMode, visible_handles().values())
        return all(mode == pynvml.NVML_COMPUTEMODE_DEFAULT for mode in modes)
    return False


def driver() -> str:
    """Return the version of the driver; "" if NVML does not report it."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:
        return ""


def _own_memory(processes: list[Any]) -> dict[str, float]:
    held = [p.usedGpuMemory for p in processes if p.pid == os.getpid() and p.usedGpuMemory]
    return {GPU_MEMORY: float(held[0])} if held else {}


def _is_of_torch(error: BaseException, name: str) -> bool:
    """Whether an error is an instance of torch's class `name`; False if torch is not loaded or has no such class."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, getattr(torch, name, ()))


def chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that led to it by `__cause__` and `__context__`, from the last to the first raised."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one not in found:
            found.append(one)
            left += [one.__context__, one.__cause__]
    return found
