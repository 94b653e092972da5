"""A generator from a checkpoint alone: no trial's folder, no optimizer, no images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gansweep.config import NetworkConfig, TrainingConfig, from_plain, to_plain
from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint
from gansweep.gan.networks.block import Layout
from gansweep.gan.networks.network import Network
from gansweep.gan.networks.registry import ARCHITECTURES, generator_layout


@dataclass(frozen=True)
class Restored:
    """A generator with the weights of a checkpoint (their average over time, where it has one), on the CPU.

    step: how long it was trained. classes: names of what it can be asked for; none unless it is conditional.
    """

    generator: Network
    latent_dim: int
    step: int
    classes: tuple[str, ...] = ()


def description(config: TrainingConfig) -> dict[str, Any]:
    """Return the part of a checkpoint's metadata that its networks can be built from."""
    return {"settings": to_plain(config)}


def generator_of(path: Path) -> Restored:
    """The generator in a checkpoint file. Raises CheckpointError where there is none that can be trusted.

    Touches no random stream.
    """
    tensors, meta = checkpoint.load(path)
    averaged = any(name.startswith("average.") for name in tensors)
    prefix = "average." if averaged else "generator."
    state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    if "step" not in meta or "weights.0" not in state:
        raise CheckpointError(f"{path}: holds no generator; name a checkpoint of a trial")
    try:
        settings = meta.get("settings", {})  # the oldest checkpoints have none
        networks = from_plain(NetworkConfig, settings.get("networks", {}))
        if (architecture := networks.architecture) not in ARCHITECTURES:
            raise CheckpointError(
                f"{path}: its generator is of the architecture {architecture!r}, unknown to this version"
            )
        sizes = _sizes(settings) if "settings" in meta else _sizes_of(state)
        network = _built(generator_layout(**sizes, config=networks), state)
        return Restored(network, sizes["latent_dim"], int(meta["step"]), networks.classes)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError):
        raise CheckpointError(f"{path}: its settings do not describe the generator whose weights it holds") from None


def _sizes(settings: Mapping[str, Any]) -> dict[str, int]:
    """Sizes in pixels, channels and numbers of a generator."""
    return {
        "latent_dim": settings["latent_dim"],
        "feature_maps": settings["generator_maps"],
        "image_size": settings["image_size"],
        "channels": settings["channels"],
    }


def _sizes_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The same, read off the weights of a DCGAN, for older checkpoints: they name no settings."""
    layers = sum(name.startswith("weights.") for name in state)
    first, last = state["weights.0"], state[f"weights.{layers - 1}"]
    return {
        "latent_dim": first.shape[0],
        "feature_maps": last.shape[0],
        "image_size": first.shape[2] * 2 ** (layers - 1),
        "channels": last.shape[1],
    }


def _built(layout: Layout, state: Mapping[str, Tensor]) -> Network:
    """Raises one of many errors where layout and state do not belong together."""
    shapes = [shape for block in layout.blocks for shape in block.weights]
    for i, shape in enumerate(shapes):  # before sizes that a forger chose take memory
        if state[f"weights.{i}"].shape != shape:
            raise ValueError(f"weights.{i} has another shape")
    with torch.random.fork_rng(devices=[]):
        network = Network(layout)
    network.load_state_dict(state)
    return network
