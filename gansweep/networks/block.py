"""Blocks of networks as plain data. Plans count parameters, network.py builds networks. Does not load torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gansweep.networks.architecture import Norm

if TYPE_CHECKING:
    from gansweep.networks.network import Network

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Block:
    """A (transposed) convolution with normalisation and activation.

    A feature map of 1×1 is a vector. A transposed convolution of a vector, or a convolution to a vector, is a linear
    layer.

    Attributes:
        inputs: Channels of the input.
        outputs: Channels of the output.
        side: Side of the input in pixels.
        slope: Slope of leaky_relu for negative inputs.
        separable: Whether the convolution is split into a 1×1 convolution over channels and a depthwise one. The
            depthwise one comes last in a transposed convolution, else first.
        flat: Whether every position of the output has its own bias and norm, as in a linear layer.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    side: int
    transposed: bool = False
    bias: bool = False
    norm: Norm = "none"
    activation: Literal["relu", "leaky_relu", "tanh", "none"] = "none"
    slope: float = 0.2
    separable: bool = False
    flat: bool = False

    @property
    def output_side(self) -> int:
        if self.transposed:
            return (self.side - 1) * self.stride - 2 * self.padding + self.kernel
        return (self.side + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def features(self) -> int:
        """Number of values in the bias, and in each of the norm's parameters."""
        return self.outputs * self.output_side**2 if self.flat else self.outputs

    @property
    def weights(self) -> tuple[Shape, ...]:
        """Shapes of the weights, as in nn.ConvTranspose2d and nn.Conv2d, in the order of their application."""
        k = self.kernel
        if self.separable:
            pointwise = (self.outputs, self.inputs, 1, 1)
            return (pointwise, (self.outputs, 1, k, k)) if self.transposed else ((self.inputs, 1, k, k), pointwise)
        ends = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        return ((*ends, k, k),)

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        extra = self.features * (self.bias + 2 * (self.norm != "none"))
        return sum(math.prod(shape) for shape in self.weights) + extra

    @property
    def buffers(self) -> int:
        """Number of values in the running mean and variance of batch norm; 0 for other norms."""
        return 2 * self.features if self.norm == "batch" else 0

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass of one image: one per weight and position of the smaller feature map."""
        return sum(math.prod(shape) for shape in self.weights) * min(self.side, self.output_side) ** 2


@dataclass(frozen=True)
class Layout:
    """A network of blocks, as plain data.

    The first blocks are applied to the inputs, one to each. Their outputs are concatenated and passed through the rest.

    Attributes:
        streams: First blocks: one, or two if the class has a block of its own.
        rest: All other blocks, from input to output.
        classes: Number of classes of a conditional network; 0 for an unconditional one.
        spectral_norm: Whether every weight is divided by its largest singular value (Miyato et al. 2018).
    """

    streams: tuple[Block, ...]
    rest: tuple[Block, ...]
    classes: int = 0
    spectral_norm: bool = False

    def build(self) -> Network:
        """Return the network with new weights, drawn from torch's global random stream."""
        from gansweep.networks.network import Network

        return Network(self)

    @property
    def has_batch_norm(self) -> bool:
        """Whether the output for an image depends on the other images of the batch."""
        return any(block.norm == "batch" for block in self.blocks)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return (*self.streams, *self.rest)

    @cached_property
    def parameters(self) -> int:
        return sum(block.parameters for block in self.blocks)

    @cached_property
    def buffers(self) -> int:
        return sum(block.buffers for block in self.blocks)

    @cached_property
    def multiply_adds(self) -> int:
        return sum(block.multiply_adds for block in self.blocks)
