"""Restoring a generator from a checkpoint file, without a trial's folder, optimizer or images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint
from gansweep.networks.architecture import Design, NetworkConfig
from gansweep.networks.module import GanModule
from gansweep.networks.own import OwnDesign, named_network
from gansweep.networks.registry import ARCHITECTURES, generator_design
from gansweep.plain import from_plain, to_plain
from gansweep.records.layout import SweepFolder
from gansweep.usercode.code import Code

if TYPE_CHECKING:
    from gansweep.config import TrainingConfig


@dataclass(frozen=True)
class Restored:
    """A generator restored on the CPU from a checkpoint.

    It has the average of G's weights over time if the checkpoint contains it, else G's weights.

    Attributes:
        generator: The network.
        step: Number of trained steps.
        settings: Settings of its training, a TrainingConfig as plain data. Old checkpoints have only the sizes.
        code: The user's code that defines the network; empty for networks of gansweep, and for programs.
    """

    generator: GanModule
    step: int
    settings: Mapping[str, Any]
    code: Code = field(default_factory=Code)

    @property
    def latent_dim(self) -> int:
        """Length of z."""
        return int(self.settings["latent_dim"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of a conditional generator; else empty."""
        return tuple(self.settings.get("networks", {}).get("classes", ()))

    @property
    def meta(self) -> dict[str, Any]:
        """Metadata of the generator for a file that stores it: the number of trained steps and the settings."""
        return {"step": self.step, "settings": self.settings}


def description(config: TrainingConfig) -> dict[str, Any]:
    """Return the part of a checkpoint's metadata that describes its networks."""
    return {"settings": to_plain(config.at("").starting_from(""))}


def generator_of(path: Path) -> Restored:
    """Return the generator in a checkpoint file. Uses no random stream.

    Raises:
        CheckpointError: The file is damaged or contains no generator, or its settings do not describe a network that
            fits the weights and that this version can build.
    """
    tensors, meta = checkpoint.load(path)
    averaged = any(name.startswith("average.") for name in tensors)
    prefix = "average." if averaged else "generator."
    state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    if "step" not in meta or not state:
        raise CheckpointError(f"{path}: contains no generator; name a checkpoint of a trial")
    try:
        settings = meta.get("settings", {})  # the oldest checkpoints have none
        networks = from_plain(NetworkConfig, settings.get("networks", {}))
        if not named_network(networks, "generator") and networks.architecture not in ARCHITECTURES:
            raise CheckpointError(
                f"{path}: its generator is of the architecture {networks.architecture!r}, unknown to this version"
            )
        if "settings" not in meta:
            settings = _settings_of(state)
        code = Code(settings.get("code", {}).get("digest", "")).at(_copies(path))
        network = _built(generator_design(**_sizes(settings), config=networks, code=code), state)
        return Restored(network, int(meta["step"]), settings, code)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError):
        raise CheckpointError(f"{path}: its settings do not describe the generator of its weights") from None


def _copies(path: Path) -> Path:
    """Return the folder with the copies of user code for a checkpoint.

    The folder with the checkpoint (if it was saved elsewhere), the single run and the sweep are searched in this order.
    If none of them has such a folder, the path of the sweep's is returned.
    """
    above = path.absolute().parents
    folders = [SweepFolder(above[min(levels, len(above) - 1)]).code for levels in (0, 1, 3)]
    return next((folder for folder in folders if folder.exists()), folders[-1])


def _sizes(settings: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes of a generator from its settings."""
    return {
        "latent_dim": settings["latent_dim"],
        "feature_maps": settings["generator_maps"],
        "image_size": settings["image_size"],
        "channels": settings["channels"],
    }


def _settings_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the sizes of a DCGAN, deduced from the shapes of its weights: the settings of checkpoints without any."""
    layers = sum(name.startswith("weights.") for name in state)
    first, last = state["weights.0"], state[f"weights.{layers - 1}"]
    return {
        "latent_dim": first.shape[0],
        "generator_maps": last.shape[0],
        "image_size": first.shape[2] * 2 ** (layers - 1),
        "channels": last.shape[1],
    }


def _built(design: Design, state: Mapping[str, Tensor]) -> GanModule:
    """Return a new network of a design, with the given state.

    Raises:
        Exception: The state does not fit the network.
    """
    with torch.random.fork_rng(devices=[]):
        if isinstance(design, OwnDesign):
            own = design.build()  # the user's function decides what it allocates
            own.load_state_dict(state)
            return own
        with torch.device("meta"):  # no memory is allocated before the check: sizes may be forged
            expected = {name: tensor.shape for name, tensor in design.build().state_dict().items()}
        if expected != {name: tensor.shape for name, tensor in state.items()}:
            raise ValueError("the state has other names or shapes")
        network = design.build()
    network.load_state_dict(state)
    return network
