"""Metrics of an interval of training steps, on their way from the device to the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gansweep.gan.host_copy import HostCopy


def is_delayed(device: torch.device) -> bool:
    """Whether the metrics of an interval are read one interval later, because reading at once would idle the device."""
    return device.type != "cpu"


@dataclass(frozen=True)
class Metrics:
    """Metrics of an interval of training steps.

    Attributes:
        rows: (steps of the interval, number of metrics) float32, in the order of `Trainer.metrics`.
        validation: Losses on held-out images, by name; empty if no images are held out.
        finite: Whether all weights were finite after the last step of the interval.
        steps_per_s: Speed over the steps of the interval that this process trained; NaN if it trained none.
    """

    rows: NDArray[np.float32]
    validation: dict[str, float]
    finite: bool
    steps_per_s: float


class Measurement:
    """Metrics that are being copied to the host while training continues.

    Args:
        values: Copy of the tensors `rows` and `finite` (see `Metrics`) and of the validation losses, by name.
        rate: Returns the steps per second.
    """

    def __init__(self, values: HostCopy, rate: Callable[[], float]) -> None:
        self._values, self._rate = values, rate

    def read(self) -> Metrics:
        """Return the metrics. Waits until they have been copied."""
        values = dict(self._values.read())
        rows, finite = values.pop("rows"), values.pop("finite")
        validation = {name: float(value) for name, value in values.items()}
        return Metrics(rows.numpy(), validation, bool(finite), self._rate())
