"""Asynchronous copies of tensors to the host, for which training does not wait."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class HostCopy:
    """Copy on the host of the present values of tensors, to be read later, after training has changed the tensors.

    On CUDA the values are copied to pinned memory on the current stream, and `read` waits only until this copy is
    complete. On the CPU the values are copied at once.

    Args:
        tensors: Tensors by name, on any device.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._values = {name: _start_copy(tensor.detach()) for name, tensor in tensors.items()}
        self._copied: torch.cuda.Event | None = None
        if any(tensor.is_cuda for tensor in tensors.values()):
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    @property
    def size(self) -> int:
        """Size of the values in bytes."""
        return sum(value.nbytes for value in self._values.values())

    def read(self) -> dict[str, Tensor]:
        """Return the values, on the CPU. Waits until they have been copied."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._values


def _start_copy(tensor: Tensor) -> Tensor:
    if not tensor.is_cuda:
        return tensor.clone()
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
