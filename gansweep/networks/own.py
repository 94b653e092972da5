"""Networks of users, named by import paths, behind the interface of architectures. Does not load torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gansweep.networks.architecture import Architecture, Design, NetworkConfig
from gansweep.usercode.code import Code
from gansweep.usercode.path import ImportPath, is_import_path

if TYPE_CHECKING:
    from gansweep.networks.own_module import OwnModule

LARGEST = 1024  # side of images, in pixels


@dataclass(frozen=True)
class Facts:
    """Properties of a user's network, found by running it. The attributes are those of `Design`."""

    parameters: int
    buffers: int
    multiply_adds: int
    has_batch_norm: bool


@dataclass(frozen=True)
class OwnDesign:
    """Design of a user's network.

    Attributes:
        key: Dotted key of the sweep file that names the network.
        path: Import path of the function or class that returns the network.
        code: The user's code that defines the network.
        options: Arguments from the sweep file.
        sizes: Further arguments, which are passed if the function names them: latent_dim (of G), feature_maps,
            image_size, channels, classes.
        facts: Properties found by running the network; None before, when reading them raises RuntimeError.
    """

    key: str
    path: ImportPath
    code: Code
    options: Mapping[str, Any]
    sizes: Mapping[str, int]
    facts: Facts | None = None

    @property
    def is_generator(self) -> bool:
        return "latent_dim" in self.sizes

    @property
    def classes(self) -> int:
        return self.sizes["classes"]

    @property
    def parameters(self) -> int:
        return self._known.parameters

    @property
    def buffers(self) -> int:
        return self._known.buffers

    @property
    def multiply_adds(self) -> int:
        return self._known.multiply_adds

    @property
    def has_batch_norm(self) -> bool:
        return self._known.has_batch_norm

    @property
    def _known(self) -> Facts:
        if self.facts is None:
            raise RuntimeError(f"{self.path} has not been run")
        return self.facts

    def build(self) -> OwnModule:
        """Return the network with new weights, drawn from torch's global random stream.

        Raises:
            UserError: The function fails, does not return a torch.nn.Module, or the module fails on a batch of inputs.
        """
        from gansweep.networks.own_module import built

        return built(self)


@dataclass(frozen=True)
class Own:
    """Architecture in which one network or both are the user's.

    Attributes:
        other: Architecture of the network that is not the user's; None if both are the user's.
        code: The user's code that defines the networks.
    """

    other: Architecture | None
    code: Code

    @property
    def image_sizes(self) -> Sequence[int]:
        return self.other.image_sizes if self.other else range(1, LARGEST + 1)

    def generator(
        self, latent_dim: int, feature_maps: int, image_size: int, channels: int, config: NetworkConfig
    ) -> Design:
        named = named_network(config, "generator")
        if named is None:
            assert self.other is not None
            return self.other.generator(latent_dim, feature_maps, image_size, channels, config)
        sizes = {"latent_dim": latent_dim, **_sizes(feature_maps, image_size, channels, config)}
        return OwnDesign(*named, self.code, config.generator_options, sizes)

    def discriminator(
        self, feature_maps: int, image_size: int, channels: int, config: NetworkConfig, *, grown: bool
    ) -> Design:
        named = named_network(config, "discriminator")
        if named is None:
            assert self.other is not None
            return self.other.discriminator(feature_maps, image_size, channels, config, grown=grown)
        sizes = _sizes(feature_maps, image_size, channels, config)
        return OwnDesign(*named, self.code, config.discriminator_options, sizes)


def named_network(config: NetworkConfig, network: str) -> tuple[str, ImportPath] | None:
    """Return the dotted key and the import path of a user's network; None if the network is not the user's.

    Args:
        config: Structure of both networks.
        network: `generator` or `discriminator`.
    """
    if path := getattr(config, f"{network}_network"):
        return f"model.{network}.network", ImportPath.parse(path)
    if is_import_path(config.architecture):
        return "model.architecture", ImportPath.parse(config.architecture).member(network)
    return None


def _sizes(feature_maps: int, image_size: int, channels: int, config: NetworkConfig) -> dict[str, int]:
    classes = len(config.classes)
    return {"feature_maps": feature_maps, "image_size": image_size, "channels": channels, "classes": classes}
