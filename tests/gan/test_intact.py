from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scenes
import torch

from gansweep.gan import intact
from gansweep.gan.batches import generator
from gansweep.gan.data import ImageSet, Pixels
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.features.recipe import Request, Source
from gansweep.gan.reference import Reference, halves, reference_of
from gansweep.gan.spoiled import DRAWN, SPOILS
from gansweep.health import metrics as m


@pytest.fixture
def make_request(make_pixels: Callable[..., Pixels]) -> Callable[..., Request]:
    """(images=200, side=16, classes=2, channels=1) → a request for noise."""

    def make(images: int = 200, side: int = 16, classes: int = 2, channels: int = 1) -> Request:
        pixels, labels = torch.from_numpy(make_pixels(images, side, channels)), torch.arange(images) % classes
        names = tuple(map(str, range(classes)))
        return Request(Source("classifier"), pixels, labels, names, pixels[:50], labels[:50])

    return make


def test_weights_follow_images_and_seed_on_any_number_of_threads(
    make_request: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intact, "STEPS", 3)
    asked = make_request()
    found = []
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        torch.set_num_threads(threads)
        torch.rand(threads)  # the global stream does not matter, and is left alone
        before = torch.get_rng_state()
        network = intact.trained(replace(asked, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        assert network is not None
        found.append(network(asked.pixels))
    torch.set_num_threads(1)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert ((found[0] >= 0) & (found[0] <= 1)).all()


@pytest.mark.parametrize(
    "change",
    [{"classes": 1}, {"images": 199}, {"side": 64}, {"channels": 3}],
    ids=["without labels", "few images", "large images", "colour"],
)
def test_what_it_cannot_serve(make_request: Callable[..., Request], change: dict[str, int]) -> None:
    assert intact.trained(make_request(**change)) is None


def test_a_restored_network_gives_the_same_bits(
    make_request: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intact, "STEPS", 3)
    asked = make_request()
    network = intact.trained(asked)
    assert network is not None
    again = intact.restored(network.state_dict(), network.facts())
    assert torch.equal(again(asked.pixels), network(asked.pixels))
    assert again.of_real == network.of_real == pytest.approx(float(network(asked.held_out[:10]).mean()))


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return scenes.digits(16)


@pytest.fixture(scope="module")
def reference(digits: ImageSet) -> Reference:
    return reference_of(digits)[0]


def test_real_digits_are_intact_and_spoiled_ones_and_noise_are_not(digits: ImageSet, reference: Reference) -> None:
    network = reference.intact
    assert network is not None
    unseen = torch.from_numpy(digits.load()[halves(digits.images)[1][: 200 * DRAWN]])
    assert network.of_real > 0.85
    assert network(unseen).mean() > 0.85
    scaled = network.scaled(unseen).reshape(DRAWN, 200, 1, 16, 16)
    for spoil in SPOILS:
        images = spoil(scaled, generator(0, "spoiled")).add(1).mul(127.5).round().to(torch.uint8)
        assert network(images).mean() < 0.45, spoil.__name__
    noise = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), np.uint8)
    assert network(torch.from_numpy(noise)).mean() < 0.1


def test_it_is_recorded_relative_to_real_images(digits: ImageSet, reference: Reference) -> None:
    """Also in images that are far from the data in the features: faint digits can be read."""
    evaluator = Evaluator(reference, 256, 0)
    real = digits.load()[halves(digits.images)[1][300:556]]
    assert evaluator.quality(real)[m.INTACT] == pytest.approx(1, abs=0.05)
    faint = (real * 0.8).astype(np.uint8)
    assert evaluator.quality(faint)[m.INTACT] > 0.8
    upside = np.concatenate([real[:128, :, 8:], real[128:, :, :8]], axis=2)
    assert evaluator.quality(upside.repeat(2, axis=0))[m.INTACT] < 0.5
    unknown = replace(reference, intact=None, file=None)
    assert m.INTACT not in Evaluator(unknown, 256, 0).quality(real)
