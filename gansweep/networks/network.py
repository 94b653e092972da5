"""Networks of blocks as torch modules, with layers computed in their fastest equivalent form.

Weights have the shapes of nn.ConvTranspose2d (inputs, outputs, k, k) and nn.Conv2d (outputs, inputs, k, k), so a state
dict loads into a straightforward DCGAN. Some layers are computed in another form that is faster on a CPU
(tests/benchmarks/bare_loop.py) and equal up to rounding:

- layers from z and to the logit, as one matrix product;
- layers next to the image, as a convolution with 2×2 kernels on images whose 2×2 blocks of pixels are folded into
  channels. On the few channels of an image, a 4×4 kernel of stride 2 reaches only a tenth of the peak performance.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.networks.block import Block, Layout
from gansweep.networks.folding import fold, unfold
from gansweep.networks.module import GanModule

FEW_CHANNELS = 4  # maximum channels of an image


class Network(GanModule):
    """A network that is built from a layout of blocks, with new weights from torch's global random stream."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        blocks = layout.blocks
        self.weights = nn.ParameterList([_weight(shape) for block in blocks for shape in block.weights])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(b.features)) for b in blocks if b.bias])
        self.norms = nn.ModuleList([_norm(block) for block in blocks if block.norm != "none"])
        _initialise(self)
        if layout.spectral_norm:
            for i, weight in enumerate(self.weights):
                self.register_buffer(f"u{i}", F.normalize(torch.randn(len(weight)), dim=0))

    def forward(self, x: Tensor, labels: Tensor | None = None, groups: int = 1) -> Tensor:
        x = x[:, :, None, None] if x.dim() == 2 else x
        if labels is not None and not self.layout.classes:
            raise ValueError("an unconditional network takes no labels")
        apply = _Application(self, groups)
        inputs = [x] if labels is None else [x, _planes(labels, self.layout.classes, x)]
        if len(self.layout.streams) < len(inputs):
            inputs = [torch.cat(inputs, 1)]
        parts = [apply(block, part) for block, part in zip(self.layout.streams, inputs, strict=True)]
        x = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        for block in self.layout.rest:
            x = apply(block, x)
        return x.flatten() if x.shape[1:] == (1, 1, 1) else x

    def body(self) -> dict[str, Tensor]:
        """Return the state of all blocks except the head, which is the last block."""
        head = {f"weights.{len(self.weights) - 1}", f"u{len(self.weights) - 1}"}
        if self.layout.rest[-1].bias:
            head.add(f"biases.{len(self.biases) - 1}")
        return {name: tensor for name, tensor in self.state_dict().items() if name not in head}

    def effective_weights(self) -> Iterator[Tensor]:
        """Yield the weights in the order of the layout, normalised if the layout has spectral norm."""
        for i, weight in enumerate(self.weights):
            yield self._normed(i, weight) if self.layout.spectral_norm else weight

    def _normed(self, i: int, weight: Tensor) -> Tensor:
        """Return a weight divided by its largest singular value.

        In training mode, each call makes one step of the power method (Miyato et al. 2018, algorithm 1).
        """
        matrix, u = weight.flatten(1), self.get_buffer(f"u{i}")
        with torch.autocast(weight.device.type, enabled=False):  # in bfloat16 the singular value would be off by 0.4 %
            with torch.no_grad():
                v = F.normalize(matrix.t() @ u, dim=0)
                if self.training:
                    u.copy_(F.normalize(matrix @ v, dim=0))
                u = u.clone()  # the graph keeps u, and the next pass changes the buffer
            normed: Tensor = weight / (u @ matrix @ v)
        return normed


class _Application:
    """State of one forward pass: applies blocks to their inputs, each with its weights, bias and norm.

    Blocks must be given in the order of the layout.
    """

    def __init__(self, network: Network, groups: int) -> None:
        self._weights, self._biases = network.effective_weights(), iter(network.biases)
        self._norms, self._groups = iter(network.norms), groups

    def __call__(self, block: Block, x: Tensor) -> Tensor:
        x = _convolved(block, x, [next(self._weights) for _ in block.weights])
        if block.bias:
            bias: Tensor = next(self._biases)
            x = x + (bias.view(1, *x.shape[1:]) if block.flat else bias.view(-1, 1, 1))
        if block.norm != "none":
            x = self._normed(block, x, next(self._norms))
        match block.activation:
            case "relu":
                return F.relu(x, inplace=True)
            case "leaky_relu":
                return F.leaky_relu(x, block.slope, inplace=True)
            case "tanh":
                return torch.tanh(x)
            case _:
                return x

    def _normed(self, block: Block, x: Tensor, norm: nn.Module) -> Tensor:
        shape = x.shape
        x = x.flatten(1) if block.flat else x
        if block.norm == "batch" and self._groups > 1:
            x = torch.cat([norm(part) for part in x.chunk(self._groups)])
        else:
            x = norm(x)
        return x.view(shape) if block.flat else x


def _weight(shape: tuple[int, int, int, int]) -> nn.Parameter:
    # channels_last: convolutions on channels_last activations take such weights without copying them.
    return nn.Parameter(torch.empty(shape).to(memory_format=torch.channels_last))


def _norm(block: Block) -> nn.Module:
    if block.norm == "layer":
        return nn.GroupNorm(1, block.features)  # over channels and positions of one image
    return nn.BatchNorm1d(block.features) if block.flat else nn.BatchNorm2d(block.features)


def _initialise(network: nn.Module) -> None:
    """Set weights to N(0, .02), scales of norms to N(1, .02) (Radford et al. 2016), and biases to 0.

    On the meta device, which has shapes only, nothing is drawn: torch would import its compiler (2 s) for that.
    """
    for name, parameter in network.named_parameters():
        if parameter.is_meta:
            continue
        if name.startswith("weights"):
            nn.init.normal_(parameter, 0.0, 0.02)
        elif name.endswith("weight"):
            nn.init.normal_(parameter, 1.0, 0.02)
        else:
            nn.init.zeros_(parameter)


def _planes(labels: Tensor, classes: int, like: Tensor) -> Tensor:
    """Return one constant plane per class, (N, classes, H, W): 1 for the class of the image, else 0."""
    one_hot = (labels[:, None] == torch.arange(classes, device=labels.device)).to(like.dtype)  # F.one_hot may wait
    return one_hot[:, :, None, None].expand(-1, -1, *like.shape[2:])


def _convolved(block: Block, x: Tensor, weights: list[Tensor]) -> Tensor:
    stride, padding = block.stride, block.padding
    if block.separable and block.transposed:
        pointwise, depthwise = weights
        x = F.conv2d(x, pointwise)
        return F.conv_transpose2d(x, depthwise, stride=stride, padding=padding, groups=block.outputs)
    if block.separable:
        depthwise, pointwise = weights
        return F.conv2d(F.conv2d(x, depthwise, stride=stride, padding=padding, groups=block.inputs), pointwise)
    (weight,) = weights
    folds = (block.kernel, stride, padding) == (4, 2, 1)
    if block.transposed:
        if block.side == 1:
            return _from_vector(x, weight, padding, block.output_side)
        if folds and block.outputs <= FEW_CHANNELS:
            return _transposed_to_image(x, weight)
        return F.conv_transpose2d(x, weight, stride=stride, padding=padding)
    if block.output_side == 1:
        return _to_vector(x, weight, padding)
    if folds and block.inputs <= FEW_CHANNELS:
        return _image_convolution(x, weight)
    return F.conv2d(x, weight, stride=stride, padding=padding)


def _from_vector(x: Tensor, weight: Tensor, padding: int, side: int) -> Tensor:
    """Return a transposed convolution of 1×1 maps as a matrix product: each output pixel has one tap of the kernel."""
    taps = weight[:, :, padding : padding + side, padding : padding + side]
    matrix = taps.permute(0, 2, 3, 1).reshape(len(weight), -1)
    return (x.flatten(1) @ matrix).view(-1, side, side, weight.shape[1]).permute(0, 3, 1, 2)


def _to_vector(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Return a convolution to 1×1 maps, as a matrix product."""
    side = x.shape[2]
    taps = weight[:, :, padding : padding + side, padding : padding + side]
    outputs = x.permute(0, 2, 3, 1).flatten(1) @ taps.permute(0, 2, 3, 1).flatten(1).t()
    return outputs[:, :, None, None]


def _image_convolution(images: Tensor, weight: Tensor) -> Tensor:
    """Return conv2d(images, weight, stride=2, padding=1) for 4×4 kernels, by folding 2×2 blocks into channels."""
    outputs, c = weight.shape[:2]
    folded = weight.view(outputs, c, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(outputs, 4 * c, 2, 2)
    return F.conv2d(fold(F.pad(images, (1, 1, 1, 1))), folded.contiguous(memory_format=torch.channels_last))


def _transposed_to_image(x: Tensor, weight: Tensor) -> Tensor:
    """Return conv_transpose2d(x, weight, stride=2, padding=1) for 4×4 kernels, by one 2×2 convolution for all phases.

    Output pixel (2a − 1 + p, 2b − 1 + q), p, q ∈ {0, 1}, is a sum of x over the 2×2 window that ends at (a, b). A
    convolution with padding 1 returns all four phases as channels of a (h + 1)×(w + 1) map. This map is unfolded into a
    (2h + 2)×(2w + 2) image, whose outermost pixels are dropped.
    """
    inputs, c = weight.shape[:2]
    # weight[..., 2·t + p, 2·u + q]: tap t of phase p; the window runs backwards, hence the flip.
    taps = weight.view(inputs, c, 2, 2, 2, 2).flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(4 * c, inputs, 2, 2)
    phases = F.conv2d(x, taps.contiguous(memory_format=torch.channels_last), padding=1)
    return unfold(phases)[:, :, 1:-1, 1:-1]
