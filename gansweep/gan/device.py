"""The device that a process trains on."""

from __future__ import annotations

import torch

from gansweep.errors import UserError
from gansweep.gan import determinism, gpu


def set_up(gpus: float, precision: str) -> torch.device:
    """Set up this process for training, and return the device to train on. Call it before CUDA is used.

    Args:
        gpus: Share of a GPU, or number of whole GPUs; 0 for the CPU.
        precision: Precision of training, as in TrainingConfig.

    Raises:
        UserError: A GPU is requested, and torch finds none or does not support it, or the GPU lacks the precision.
    """
    if gpus and not torch.cuda.is_available():
        raise UserError(
            "resources.gpus: torch finds no GPU that it can use; install a torch that is built for this machine's"
            " CUDA driver, or set resources.gpus: 0 to train on the CPU"
        )
    device = torch.device("cuda" if gpus else "cpu")
    determinism.set_up(device)
    if gpus:
        gpu.check(device, precision)
    return device
