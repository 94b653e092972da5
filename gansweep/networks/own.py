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
    """What running a network of the user has shown. The attributes are those of `Design`."""

    parameters: int
    buffers: int
    multiply_adds: int
    has_batch_norm: bool


@dataclass(frozen=True)
class OwnDesign:
    """A network of the user.

    Attributes:
        key: Dotted key of the sweep file that names it.
        path: Import path of the function or class that returns the network.
        code: The code that defines it.
        options: Arguments from the sweep file.
        sizes: Further arguments, which are passed if the function names them: latent_dim (of G), feature_maps,
            image_size, channels, classes.
        facts: What is known of it once it has run; None before.
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
            UserError: The function fails, or returns something else.
        """
        from gansweep.networks.own_module import built

        return built(self)


@dataclass(frozen=True)
class Own:
    """Architecture of which one network or both are the user's.

    Attributes:
        other: Architecture of the other network; None if both are the user's.
        code: The code that defines them.
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
    """Return dotted key and import path of the generator or discriminator; None if it is not the user's."""
    if path := getattr(config, f"{network}_network"):
        return f"model.{network}.network", ImportPath.parse(path)
    if is_import_path(config.architecture):
        return "model.architecture", ImportPath.parse(config.architecture).member(network)
    return None


def _sizes(feature_maps: int, image_size: int, channels: int, config: NetworkConfig) -> dict[str, int]:
    classes = len(config.classes)
    return {"feature_maps": feature_maps, "image_size": image_size, "channels": channels, "classes": classes}
