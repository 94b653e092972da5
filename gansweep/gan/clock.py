"""Measurement of the speed of training steps that does not make each step wait for the device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


class HostClock:
    """Time of the steps since its creation, by the host's clock. Use it as a context manager around each step."""

    def __init__(self) -> None:
        self._steps, self._seconds, self._began = 0, 0.0, 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._steps += 1
        self._seconds += time.perf_counter() - self._began

    def rate(self) -> Callable[[], float]:
        """Return a function that returns the steps per second up to this call of `rate`; NaN if no step was timed."""
        rate = self._steps / self._seconds if self._seconds else float("nan")
        return lambda: rate


class DeviceClock:
    """Time of the steps since its creation on a GPU, by CUDA events before and after each step. Used like HostClock."""

    def __init__(self) -> None:
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __enter__(self) -> None:
        self._events.append((_event(), _event()))
        self._events[-1][0].record()

    def __exit__(self, *_: object) -> None:
        self._events[-1][1].record()

    def rate(self) -> Callable[[], float]:
        """Return a function that returns the steps per second up to this call of `rate`; NaN if no step was timed.

        The function waits until the last of these steps has ended on the GPU.
        """
        events = tuple(self._events)

        def rate() -> float:
            if not events:
                return float("nan")
            events[-1][1].synchronize()
            milliseconds: float = sum(began.elapsed_time(ended) for began, ended in events)
            return 1000 * len(events) / milliseconds

        return rate


Clock = HostClock | DeviceClock


def clock_of(device: torch.device) -> Clock:
    """Return a new clock for steps on a device."""
    return DeviceClock() if device.type == "cuda" else HostClock()


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
