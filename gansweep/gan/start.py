"""Weights that a run starts from, in place of new ones."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from torch import nn

from gansweep.config import StartConfig
from gansweep.errors import UserError


def load(start: StartConfig, generator: nn.Module, discriminator: nn.Module) -> None:
    """Load weights into both networks. Does nothing if `start` names no weights.

    A network for which the file has no weights, usually D, keeps its own.

    Raises:
        UserError: The file is missing or damaged, or its weights do not fit the networks.
    """
    if not start.digest:
        return
    try:
        tensors = safetensors.torch.load(Path(start.path).read_bytes())
        for prefix, network in (("generator.", generator), ("discriminator.", discriminator)):
            state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            if state:
                network.load_state_dict(state)
    except Exception as error:  # of the file system, of safetensors, or of load_state_dict
        what = " ".join(str(error).split())[:200]
        raise UserError(f"training.from: {start.path}: cannot be loaded ({what})") from None
