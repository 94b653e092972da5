"""Load of this machine's GPUs, measured by NVML. This module does not import torch."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gansweep.gan.gpu import READ_EVERY_S, visible_handles


@dataclass(frozen=True)
class Load:
    """Combined load of several GPUs.

    Attributes:
        gpus: Number of GPUs.
        utilization: Percentage of the last moment (up to a second) in which a GPU was busy, averaged over the GPUs.
        used_bytes: Memory in use on all GPUs.
        total_bytes: Memory of all GPUs.
    """

    gpus: int
    utilization: float
    used_bytes: int
    total_bytes: int


class LoadReader:
    """Reader of the load of the GPUs that this process may use."""

    def __init__(self) -> None:
        self._last = -READ_EVERY_S
        self._load: Load | None = None

    def __call__(self) -> Load | None:
        """Return the load, read at most once every READ_EVERY_S; None if NVML does not report it."""
        now = time.monotonic()
        if now - self._last >= READ_EVERY_S:
            self._last, self._load = now, _read()
        return self._load


def _read() -> Load | None:
    try:
        import pynvml

        handles = visible_handles().values()
        memory = [pynvml.nvmlDeviceGetMemoryInfo(handle) for handle in handles]
        busy = [pynvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles]
        return Load(len(busy), sum(busy) / len(busy), sum(m.used for m in memory), sum(m.total for m in memory))
    except Exception:  # a driver may refuse any request (MIG, WSL, vGPU), and a display must not end a sweep
        return None
