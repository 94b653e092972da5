"""Folding of pixels into channels: as one permutation, and plane by plane."""

from __future__ import annotations

import pytest
import torch

from gansweep.networks.folding import fold, unfold

SHAPES = [(2, 1, 4, 6), (1, 3, 6, 4)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_channel_holds_every_second_pixel_of_every_second_row(
    shape: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    images = torch.randn(shape).to(dtype)
    planes = [images[:, c, i::2, j::2] for c in range(shape[1]) for i in (0, 1) for j in (0, 1)]
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            folded = fold(images)
            assert torch.equal(folded, torch.stack(planes, 1))
            assert folded.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(unfold(folded), images)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_of_any_order_go_back_to_their_pixels(shape: tuple[int, int, int, int]) -> None:
    images = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fold, images)
    assert torch.autograd.gradgradcheck(fold, images)
    folded = fold(images).detach().requires_grad_()
    assert torch.autograd.gradcheck(unfold, folded)
    assert torch.autograd.gradgradcheck(unfold, folded)
