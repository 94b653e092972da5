"""Parameters and multiply-adds of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def parameters_of(network: nn.Module) -> int:
    """Return the number of weights and biases."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def multiply_adds_of(network: nn.Module, image: Tensor) -> int:
    """Return the multiply-adds of the convolutions and linear layers for one image.

    Args:
        network: The network, in eval mode.
        image: An input of the network for a single image, (1, …).
    """
    counts: list[int] = []

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # Each output value takes one multiply-add per weight of its output channel.
        counts.append(output.numel() * weight[0].numel())

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)
