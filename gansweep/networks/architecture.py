"""Interface of architectures. Plans use it to describe networks without loading torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from gansweep.networks.module import GanModule

Norm = Literal["batch", "layer", "none"]


@dataclass(frozen=True)
class NetworkConfig:
    """Structure of both networks, except their sizes.

    Attributes that are not listed are those of the sweep file's section `model`.

    Attributes:
        classes: Names of the classes of a conditional model; empty for an unconditional one.
        norm: Normalisation of D's inner blocks; None for the architecture's default.
        growth_at: Step after which D grows; None for never.
        generator_network: Import path of a user's G; None for that of the architecture.
        generator_options: Arguments of a user's G.
        discriminator_network: Import path of a user's D; None for that of the architecture.
        discriminator_options: Arguments of a user's D.
    """

    architecture: str = "dcgan"
    conditioning: str = "none"
    classes: tuple[str, ...] = ()
    generator_depth: int = 1
    discriminator_depth: int = 1
    generator_separable: bool = False
    discriminator_separable: bool = False
    norm: Norm | None = None
    spectral_norm: bool = False
    growth_at: int | None = None
    growth_adds: str = "block"
    generator_network: str | None = None
    generator_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    discriminator_network: str | None = None
    discriminator_options: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Design(Protocol):
    """Description of a network, from which it is built.

    Attributes:
        parameters: Number of trainable values.
        buffers: Number of other values in a checkpoint, such as running statistics.
        multiply_adds: Multiply-adds of a forward pass of one image.
        classes: Number of classes of a conditional network; 0 for an unconditional one.
        has_batch_norm: Whether the output for an image depends on the other images of the batch.
    """

    @property
    def parameters(self) -> int: ...

    @property
    def buffers(self) -> int: ...

    @property
    def multiply_adds(self) -> int: ...

    @property
    def classes(self) -> int: ...

    @property
    def has_batch_norm(self) -> bool: ...

    def build(self) -> GanModule:
        """Return the network with new weights, drawn from torch's global random stream."""
        ...


class Architecture(Protocol):
    """A family of networks: G and D of different sizes.

    Methods raise UserError if the architecture does not support a setting in `config`.

    Attributes:
        image_sizes: Supported sides of the images, in pixels.
    """

    @property
    def image_sizes(self) -> Sequence[int]: ...

    def generator(
        self, latent_dim: int, feature_maps: int, image_size: int, channels: int, config: NetworkConfig
    ) -> Design:
        """Return the design of a G.

        It maps z, (N, latent_dim), to images in [-1, 1], (N, channels, image_size, image_size).
        """
        ...

    def discriminator(
        self, feature_maps: int, image_size: int, channels: int, config: NetworkConfig, *, grown: bool
    ) -> Design:
        """Return the design of a D, which maps images, (N, channels, image_size, image_size), to outputs, (N,).

        Args:
            grown: Whether D has grown; False before step `config.growth_at`.
        """
        ...
