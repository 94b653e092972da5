"""A generator from a checkpoint alone: no trial's folder, no optimizer, no images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint
from gansweep.gan.architecture import generator_layers
from gansweep.gan.networks import Generator
from gansweep.gan.training import Settings

ARCHITECTURE = "dcgan"


@dataclass(frozen=True)
class Restored:
    """A generator with the weights of a checkpoint, on the CPU. step: how long it was trained."""

    generator: Generator
    latent_dim: int
    step: int


def description(settings: Settings) -> dict[str, Any]:
    """What a checkpoint's meta says of its networks, so that they can be built from it."""
    return {"architecture": ARCHITECTURE, "settings": asdict(settings)}


def generator_of(path: Path) -> Restored:
    """The generator in a checkpoint file. Raises CheckpointError where there is none that can be trusted.

    Touches no random stream.
    """
    tensors, meta = checkpoint.load(path)
    prefix = "generator."
    state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    if "step" not in meta or "weights.0" not in state:
        raise CheckpointError(f"{path}: holds no generator; name a checkpoint of a trial")
    if (architecture := meta.get("architecture", ARCHITECTURE)) != ARCHITECTURE:
        raise CheckpointError(f"{path}: its generator is of the architecture {architecture!r}, unknown to this version")
    try:
        sizes = _sizes(meta["settings"]) if "settings" in meta else _sizes_of(state)
        with torch.random.fork_rng(devices=[]):
            return Restored(_built(sizes, state), sizes["latent_dim"], int(meta["step"]))
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError):
        raise CheckpointError(f"{path}: its settings do not describe the generator whose weights it holds") from None


def _sizes(settings: Mapping[str, Any]) -> dict[str, int]:
    """The arguments of a Generator."""
    return {
        "latent_dim": settings["latent_dim"],
        "feature_maps": settings["generator_maps"],
        "image_size": settings["image_size"],
        "channels": settings["channels"],
    }


def _sizes_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The same, read off the weights, for older checkpoints: they name no settings."""
    layers = sum(name.startswith("weights.") for name in state)
    first, last = state["weights.0"], state[f"weights.{layers - 1}"]
    return {
        "latent_dim": first.shape[0],
        "feature_maps": last.shape[0],
        "image_size": first.shape[2] * 2 ** (layers - 1),
        "channels": last.shape[1],
    }


def _built(sizes: Mapping[str, int], state: Mapping[str, Tensor]) -> Generator:
    """Raises one of many errors where sizes and state do not belong together."""
    for i, layer in enumerate(generator_layers(**sizes)):  # before sizes that a forger chose take memory
        if state[f"weights.{i}"].shape != (layer.inputs, layer.outputs, layer.kernel, layer.kernel):
            raise ValueError(f"weights.{i} has another shape")
    generator = Generator(**sizes)
    generator.load_state_dict(state)
    return generator
