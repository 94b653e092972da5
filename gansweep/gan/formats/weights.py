"""Weights of a generator in a safetensors file: a checkpoint without D, optimizers and random streams."""

from __future__ import annotations

from pathlib import Path

from gansweep.errors import UserError
from gansweep.gan import checkpoint
from gansweep.gan.restore import Restored, generator_of


def write(found: Restored, path: Path) -> None:
    """Write the weights of a generator. Averages over time are written as its ordinary weights.

    Raises:
        UserError: The network is defined by the user's code, which the file cannot hold.
    """
    if found.code.digest:
        raise UserError(
            f"{path}: the file would lack the code of the generator; save a .pt2 or .onnx file, or a folder (a name"
            " without an ending)"
        )
    state = {f"generator.{name}": tensor for name, tensor in found.generator.state_dict().items()}
    checkpoint.save(path, state, found.meta)


def read(path: Path) -> Restored:
    """Return the generator in a checkpoint. Raises CheckpointError if it is damaged or contains no generator."""
    return generator_of(path)
