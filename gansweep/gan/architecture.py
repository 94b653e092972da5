"""The layers of the DCGAN (Radford, Metz & Chintala 2016) as plain data: built by networks.py, counted by plans.

Both networks mirror each other. Image sides and their maps, for `feature_maps` = f:

    16: 4 → 8 → 16             2f, f, image
    28: 7 → 14 → 28            2f, f, image
    32: 4 → 8 → 16 → 32        4f, 2f, f, image
    64: 4 → 8 → 16 → 32 → 64   8f, 4f, 2f, f, image
"""

from __future__ import annotations

from dataclasses import dataclass

BASE_AND_DOUBLINGS = {16: (4, 2), 28: (7, 2), 32: (4, 3), 64: (4, 4)}
KERNEL = 4


@dataclass(frozen=True)
class Layer:
    """One (transposed) convolution without bias, batch-normalised or not.

    inputs, outputs: channels. kernel: side. side: pixels of the output (generator) or input (discriminator).
    """

    inputs: int
    outputs: int
    kernel: int
    side: int
    batch_norm: bool

    @property
    def parameters(self) -> int:
        """Trainable numbers: weights, and scale and shift of the batch norm."""
        return self.inputs * self.outputs * self.kernel**2 + (2 * self.outputs if self.batch_norm else 0)

    @property
    def multiply_adds(self) -> int:
        """Of one pass of one image: every weight once for each position of the smaller map."""
        positions = 1 if self.kernel == self.side else (self.side // 2) ** 2
        return self.inputs * self.outputs * self.kernel**2 * positions

    @property
    def buffers(self) -> int:
        """Running mean and variance."""
        return 2 * self.outputs if self.batch_norm else 0


def generator_layers(latent_dim: int, feature_maps: int, image_size: int, channels: int) -> tuple[Layer, ...]:
    """First to last: z (1×1) to the base map, then one doubling a layer. Raises KeyError for other sizes."""
    base, doublings = BASE_AND_DOUBLINGS[image_size]
    widths = [feature_maps * 2 ** (doublings - 1 - i) for i in range(doublings)]
    layers = [Layer(latent_dim, widths[0], base, base, True)]
    for i, (inputs, outputs) in enumerate(zip(widths, [*widths[1:], channels], strict=True)):
        layers.append(Layer(inputs, outputs, KERNEL, base * 2 ** (i + 1), i < doublings - 1))
    return tuple(layers)


def discriminator_layers(feature_maps: int, image_size: int, channels: int) -> tuple[Layer, ...]:
    """First to last: one halving a layer, then the base map to a logit. Raises KeyError for other sizes."""
    base, doublings = BASE_AND_DOUBLINGS[image_size]
    widths = [feature_maps * 2**i for i in range(doublings)]
    layers = []
    for i, (inputs, outputs) in enumerate(zip([channels, *widths[:-1]], widths, strict=True)):
        layers.append(Layer(inputs, outputs, KERNEL, image_size // 2**i, i > 0))
    return (*layers, Layer(widths[-1], 1, base, base, False))
