"""Files of weights: read without running code, and identified by their checksums."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from gansweep.errors import UserError

SHOWN = 2  # mismatches in a message


def checksum(path: Path, key: str) -> str:
    """Return the SHA-256 of a file.

    Args:
        path: The file.
        key: Dotted key of the sweep file, for messages.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{key}: {path}: cannot be read ({error.strerror}); give the path of a state dict") from None


def read(path: Path, key: str) -> dict[str, Tensor]:
    """Return the state dict in a .safetensors file or a file of torch.save. Code in the file is never run.

    Raises:
        UserError: The file cannot be read, is damaged, holds code, or holds something else.
    """
    try:
        found: Any = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except OSError as error:
        raise UserError(f"{key}: {path}: cannot be read ({error.strerror}); give the path of a state dict") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{key}: {path}: not a plain state dict: it is damaged, or holds objects whose loading could run code;"
            " save model.state_dict()"
        ) from None
    except Exception as error:  # the parts of a damaged file fail in their own ways
        what = str(error).partition("\n")[0]
        raise UserError(f"{key}: {path}: not a file of weights ({type(error).__name__}: {what:.120})") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{key}: {path}: holds no state dict; save model.state_dict()")
    return {str(name): value for name, value in found.items()}


def load_into(network: nn.Module, weights: Mapping[str, Tensor], path: Path, key: str, what: str) -> None:
    """Load a state dict into a network.

    Args:
        network: The network.
        weights: The state dict.
        path: File of the state dict, for messages.
        key: Dotted key of the sweep file, for messages.
        what: Name of the network, for messages.

    Raises:
        UserError: The state dict is that of another network. The message names the first differences.
    """
    expected = network.state_dict()
    # Files of torch before 0.4.1 lack the counters of batches.
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    wrong = [f"{name} is missing" for name in expected if name in needed and name not in weights]
    wrong += [
        f"{name} is {list(weights[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    wrong += [f"{name} is unknown" for name in weights if name not in expected]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(f"{key}: {path}: not the weights of {what}: {'; '.join(wrong[:SHOWN])}{more}")
    network.load_state_dict({**expected, **weights})
