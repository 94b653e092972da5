"""Throughput of several trainers on one GPU.

Captured steps on several CUDA streams of one process run concurrently, like those of several processes under NVIDIA's
MPS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from gansweep.gan.training import Trainer

TIMED_S = 0.3
LEAST_ROUNDS = 3  # steps of each trainer


class SideBySide:
    """Trainers that share a device, each on its own CUDA stream.

    Args:
        make: Function that returns a new trainer. On a GPU, the trainer has captured its step already.
        device: Device of the trainers.
    """

    def __init__(self, make: Callable[[], Trainer], device: torch.device) -> None:
        self._make, self._device = make, device
        self._trainers: list[tuple[Trainer, AbstractContextManager[object]]] = []

    def rate(self, number: int) -> float:
        """Return the steps per second of `number` concurrent trainers, summed over the trainers.

        Raises:
            Exception: A trainer cannot be made, for example because GPU memory is exhausted.
        """
        while len(self._trainers) < number:
            self._trainers.append((self._make(), _stream(self._device)))
        trainers = self._trainers[:number]
        self._time(trainers, 1)  # the first launch of a graph takes longer
        rate = self._time(trainers, LEAST_ROUNDS)
        return self._time(trainers, max(LEAST_ROUNDS, round(TIMED_S * rate / number)))

    def _time(self, trainers: Sequence[tuple[Trainer, AbstractContextManager[object]]], rounds: int) -> float:
        """Return the steps per second, summed over the trainers, while each computes `rounds` steps."""
        self._wait()
        began = time.perf_counter()
        for _ in range(rounds):
            for trainer, stream in trainers:
                with stream:
                    trainer.repeat_step()
        self._wait()
        return rounds * len(trainers) / (time.perf_counter() - began)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _stream(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which work is launched on a new CUDA stream. On the CPU, the context does nothing."""
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
