from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gansweep.gan.batches import generator
from gansweep.gan.spoiled import (
    DRAWN,
    SPOILS,
    Spoil,
    erased,
    halves,
    overlaid,
    quarters,
    scrambled,
    shuffled,
    warped,
    worn,
)


@pytest.fixture
def drawn() -> Tensor:
    """Draws of three images in colour, with values of their own."""
    return torch.rand((DRAWN, 3, 3, 32, 32), generator=generator(0, "drawn")) * 2 - 1


def rng(seed: int = 0) -> torch.Generator:
    return generator(seed, "spoiled")


def moved_by(images: Tensor) -> Tensor:
    """Return how many rows a horizontal edge in the middle has been moved, at each column."""
    return (images > 0).float().sum(2) - 16


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("side", [16, 32])
def test_spoiled_images_follow_the_seed_and_stay_in_range(spoil: Spoil, drawn: Tensor, side: int) -> None:
    drawn = drawn[..., :side, :side].clone()
    kept = drawn.clone()
    found, again, other = (spoil(drawn, rng(seed)) for seed in (0, 0, 1))
    assert found.shape == (3, 3, side, side)
    assert torch.equal(found, again)
    assert not torch.equal(found, other) or spoil is overlaid
    assert torch.equal(drawn, kept)
    assert found.abs().max() <= 1
    assert all((found - one).abs().mean() > 0.1 for one in drawn)


def test_quarters_are_those_of_four_images(drawn: Tensor) -> None:
    found = quarters(drawn, rng())
    assert [torch.equal(found[:, :, y, x], one[:, :, y, x]) for one, y, x in zip(
        drawn, (0, 31, 0, 31), (0, 0, 31, 31), strict=True
    )] == [True] * 4  # fmt: skip


def test_halves_are_those_of_two_images(drawn: Tensor) -> None:
    found = halves(drawn, rng())
    first = torch.isclose(found, drawn[0], atol=1e-2).float().mean((1, 2, 3))
    second = torch.isclose(found, drawn[1], atol=1e-2).float().mean((1, 2, 3))
    assert all(0.2 < share < 0.6 for share in (*first.tolist(), *second.tolist()))


def test_overlaid_images_show_two(drawn: Tensor) -> None:
    found = {name for seed in range(9) for name, expected in {
        "larger": torch.maximum(drawn[0], drawn[1]), "mean": (drawn[0] + drawn[1]) / 2
    }.items() if torch.equal(overlaid(drawn, rng(seed)), expected)}  # fmt: skip
    assert found == {"larger", "mean"}


@pytest.mark.parametrize("spoil", [shuffled, scrambled])
def test_values_are_kept_and_their_places_are_not(spoil: Spoil, drawn: Tensor) -> None:
    found = spoil(drawn, rng())
    assert torch.equal(found.flatten(2).sort(2).values, drawn[0].flatten(2).sort(2).values)
    assert (found == drawn[0]).float().mean() < 0.5


def test_erased_parts_are_about_half(drawn: Tensor) -> None:
    found = erased(drawn, rng())
    kept = found == drawn[0]
    assert 0.2 < kept.float().mean() < 0.8
    darkest = drawn[0].amin((2, 3), keepdim=True).expand_as(found)
    assert torch.equal(found[~kept], darkest[~kept])


def test_warped_images_are_bent_and_worn_ones_hardly() -> None:
    edge = torch.ones((8, 1, 32, 32))
    edge[:, :, 16:] = -1
    bent = moved_by(warped(edge.expand(DRAWN, *edge.shape), rng()))
    assert bent.std() > 2
    assert moved_by(worn(edge, rng())).abs().median() <= 2.5


def test_worn_images_follow_the_seed_and_show_what_they_showed(drawn: Tensor) -> None:
    coarse = torch.nn.functional.interpolate(drawn[0][..., ::8, ::8], scale_factor=8)
    found = worn(coarse, rng())
    assert torch.equal(found, worn(coarse, rng()))
    assert found.shape == coarse.shape
    assert found.abs().max() <= 1
    flat, before = (one.flatten(1) - one.flatten(1).mean(1, keepdim=True) for one in (found, coarse))
    likeness = torch.nn.functional.cosine_similarity(flat, before, dim=1)
    assert likeness.min() > 0.5
