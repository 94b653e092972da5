"""Deterministic kernels on a GPU, so that a trial has the same numbers on the same card with the same versions.

Nothing is set for the CPU, whose kernels are deterministic.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.utils.deterministic

WORKSPACE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # 8 buffers of 4,096 KiB; read when cuBLAS starts
WARNING = r"(?P<operator>\S+) does not have a deterministic implementation"


def set_up(device: torch.device) -> None:
    """Select deterministic kernels in this process if the device is a GPU. Call it before CUDA is used.

    Operators without a deterministic kernel run anyway; `notices` names them.
    """
    if device.type != "cuda":
        return
    os.environ.update(WORKSPACE)
    torch.backends.cudnn.benchmark = False  # it may choose other kernels in each process
    torch.backends.cudnn.deterministic = True
    # Filling would take a kernel for every allocation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set dynamically
    # The same as use_deterministic_algorithms(True, warn_only=True), which also loads torch._inductor: 2 s.
    torch.set_deterministic_debug_mode("warn")
    warnings.filterwarnings("always", WARNING)
    if not isinstance(warnings.showwarning, _Collector):
        warnings.showwarning = _Collector(warnings.showwarning)


def notices() -> list[str]:
    """Return a notice that names the operators newly found to have no deterministic kernel; [] if there are none."""
    collector = warnings.showwarning
    operators = collector.new() if isinstance(collector, _Collector) else []
    if not operators:
        return []
    return [f"numbers may differ from run to run: no deterministic kernel on the GPU for {', '.join(operators)}"]


class _Collector:
    """Replacement of warnings.showwarning that collects the operators named in torch's warnings, each once.

    Args:
        others: The previous warnings.showwarning, called with all other warnings.
    """

    def __init__(self, others: Callable[..., None]) -> None:
        self._others = others
        self._operators: dict[str, bool] = {}  # name → whether `new` has returned it

    def __call__(self, message: Warning | str, *place: Any, **named: Any) -> None:
        found = re.match(WARNING, str(message))
        if found:
            self._operators.setdefault(found["operator"], False)
        else:
            self._others(message, *place, **named)

    def new(self) -> list[str]:
        found = [name for name, returned in self._operators.items() if not returned]
        self._operators |= dict.fromkeys(found, True)
        return found
