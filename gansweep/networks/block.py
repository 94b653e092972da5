"""The parts that networks are made of, as plain data: built by network.py, counted by plans. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gansweep.networks.architecture import Norm

if TYPE_CHECKING:
    from gansweep.networks.network import Network

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Block:
    """A (transposed) convolution, its normalisation and its activation.

    inputs, outputs: channels. side: pixels of its input. slope: of leaky_relu. A map of 1×1 is a vector: from one, a
    transposed convolution is a linear layer, and a convolution to one as well.
    separable: 1×1 over channels and a kernel on each channel by itself (depthwise last where transposed, else first).
    flat: bias and norm for each position of the output by itself, as a linear layer has them.
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
        """How many numbers bias and norm have."""
        return self.outputs * self.output_side**2 if self.flat else self.outputs

    @property
    def weights(self) -> tuple[Shape, ...]:
        """Shapes, in the order in which they are applied: those of nn.ConvTranspose2d and nn.Conv2d."""
        k = self.kernel
        if self.separable:
            pointwise = (self.outputs, self.inputs, 1, 1)
            return (pointwise, (self.outputs, 1, k, k)) if self.transposed else ((self.inputs, 1, k, k), pointwise)
        ends = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        return ((*ends, k, k),)

    @property
    def parameters(self) -> int:
        """Trainable numbers."""
        extra = self.features * (self.bias + 2 * (self.norm != "none"))
        return sum(math.prod(shape) for shape in self.weights) + extra

    @property
    def buffers(self) -> int:
        """Running mean and variance."""
        return 2 * self.features if self.norm == "batch" else 0

    @property
    def multiply_adds(self) -> int:
        """Of one pass of one image: every weight once for each position of the smaller map."""
        return sum(math.prod(shape) for shape in self.weights) * min(self.side, self.output_side) ** 2


@dataclass(frozen=True)
class Layout:
    """A network of blocks: its streams are applied to an input each and their outputs joined, all other blocks follow.

    Attributes:
        streams: One, or two where the class has a stream of its own.
        rest: All other blocks, from input to output.
        classes: Number of classes that a conditional network knows; 0 for any other.
        spectral_norm: Whether every weight is divided by its largest singular value (Miyato et al. 2018).
    """

    streams: tuple[Block, ...]
    rest: tuple[Block, ...]
    classes: int = 0
    spectral_norm: bool = False

    def build(self) -> Network:
        """Return the network with new weights."""
        from gansweep.networks.network import Network

        return Network(self)

    @property
    def has_batch_norm(self) -> bool:
        """Whether the output for an image depends on the others of the batch."""
        return any(block.norm == "batch" for block in self.blocks)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return (*self.streams, *self.rest)

    @property
    def parameters(self) -> int:
        return sum(block.parameters for block in self.blocks)

    @property
    def buffers(self) -> int:
        return sum(block.buffers for block in self.blocks)

    @property
    def multiply_adds(self) -> int:
        return sum(block.multiply_adds for block in self.blocks)
