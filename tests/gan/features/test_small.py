"""The small embeddings behind the interface: nothing about their numbers changes."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from gansweep.gan.data import FEATURES, Pixels
from gansweep.gan.features.base import CHUNK, Embedding, Stored, UnsuitableError
from gansweep.gan.features.principal_components import fit
from gansweep.gan.features.recipe import Request, recipe_of
from gansweep.gan.features.small import SIDE, Small
from gansweep.gan.features.small_classifier import train

MakeRequest = Callable[..., Request]
Same = Callable[[Embedding, Embedding, torch.Tensor], bool]
MakePixels = Callable[..., Pixels]


def small_of(channels: int, classes: int) -> Small:
    """One with weights drawn at random."""
    return Small(channels, classes, "small_classifier" if classes else "principal_components")


def scaled(pixels: Pixels) -> torch.Tensor:
    """As the networks see images."""
    return torch.from_numpy(pixels).float().div(127.5).sub(1)


@pytest.fixture
def structured() -> Pixels:
    """300 images of 16 px whose principal components have well separated variances."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(SIDE**2, 60)))[0]
    weights = rng.normal(size=(300, 60)) * 300 * 0.9 ** np.arange(60)
    return (128 + weights @ directions.T).clip(0, 255).astype(np.uint8).reshape(300, 1, SIDE, SIDE)


@pytest.mark.usefixtures("quick")
def test_the_same_images_and_seed_give_the_same_classifier(make_pixels: MakePixels) -> None:
    pixels, labels = torch.from_numpy(make_pixels(50)), torch.arange(50) % 3
    made = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        before = torch.get_rng_state()
        made.append(train(pixels, labels, 3, seed))
        assert torch.equal(torch.get_rng_state(), before)
    first, second, other = made
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(first.state_dict()["body.0.weight"], other.state_dict()["body.0.weight"])
    assert not any(p.requires_grad for p in first.parameters())


def test_a_classifier_learns_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.gan.features.small_classifier.STEPS", 60)
    pixels = np.random.default_rng(0).integers(0, 60, (200, 1, 16, 16), np.uint8)
    labels = np.arange(200) % 3
    for label, where in enumerate((slice(0, 5), slice(5, 11), slice(11, 16))):
        pixels[labels == label, :, where] += 150
    embedding = train(torch.from_numpy(pixels[:100]), torch.from_numpy(labels[:100]), 3)
    _, found = embedding.embed(torch.from_numpy(pixels[100:]))
    assert (found.numpy() == labels[100:]).mean() > 0.95


@pytest.mark.parametrize("side", [16, 28, 32, 64])
@pytest.mark.parametrize(("channels", "classes"), [(1, 4), (3, 4), (1, 0), (3, 0)])
def test_embeds_images_of_any_size(make_pixels: MakePixels, side: int, channels: int, classes: int) -> None:
    embedding = small_of(channels, classes)
    features, labels = embedding.embed(torch.from_numpy(make_pixels(3, side, channels)))
    assert (features.shape, features.dtype, features.requires_grad) == ((3, FEATURES), torch.float32, False)
    assert (labels.shape, labels.dtype) == ((3,), torch.int64)
    assert classes or labels.tolist() == [0, 0, 0]


def test_many_images_are_embedded_as_each_of_them(make_pixels: MakePixels) -> None:
    pixels = make_pixels(CHUNK + 5)
    embedding = small_of(1, 4).frozen()
    features, labels = embedding.embed(torch.from_numpy(pixels))
    expected, logits = embedding(scaled(pixels))
    torch.testing.assert_close(features, expected)
    assert labels.tolist() == logits.argmax(1).tolist()


def test_larger_images_are_shrunk_by_their_mean(make_pixels: MakePixels) -> None:
    pixels = make_pixels(40, SIDE)
    large = pixels.repeat(2, axis=2).repeat(2, axis=3)
    embedding = fit(torch.from_numpy(pixels))
    small, shrunk = (embedding.embed(torch.from_numpy(images))[0] for images in (pixels, large))
    torch.testing.assert_close(shrunk, small)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_labels_features_are_the_principal_components(structured: Pixels, channels: int) -> None:
    pixels = structured.reshape(300 // channels, channels, SIDE, SIDE)
    embedding = fit(torch.from_numpy(pixels))
    features = embedding.embed(torch.from_numpy(pixels))[0].double().numpy()
    flat = scaled(pixels).flatten(1).double().numpy()
    expected = PCA(FEATURES, svd_solver="full").fit_transform(flat)[:, ::-1]  # ours ascend
    signs = np.sign((features * expected).sum(axis=0))
    np.testing.assert_allclose(features, expected * signs, atol=1e-4)


def test_principal_components_have_signs_of_their_own(structured: Pixels) -> None:
    one, other = (fit(torch.from_numpy(structured)) for _ in range(2))
    weight = one.state_dict()["body.1.weight"]
    assert torch.equal(weight, other.state_dict()["body.1.weight"])
    largest = weight.gather(1, weight.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_principal_components_of_larger_images_are_those_of_the_shrunk_ones() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (CHUNK + 40, 1, 32, 32), np.uint8)
    embedding = fit(torch.from_numpy(pixels))
    features = embedding.embed(torch.from_numpy(pixels))[0].double()
    x = F.adaptive_avg_pool2d(scaled(pixels), SIDE).flatten(1).double()
    _, values, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    assert features.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(features.norm(dim=0), values[:FEATURES].flip(0), rtol=1e-4, atol=0)


@pytest.mark.usefixtures("quick")
def test_the_classifier_of_small_grey_images_is_the_small_one(make_request: MakeRequest) -> None:
    request = make_request("classifier", channels=1)
    made = recipe_of("classifier").make(request)
    expected = train(request.pixels, request.labels, 3)
    features, labels = expected.embed(request.held_out)
    assert torch.equal(made.embed(request.held_out)[0], features)
    assert made.description.accuracy == pytest.approx(float((labels == request.held_out_labels).double().mean()))
    assert made.stored().tensors.keys() == expected.state_dict().keys()
    assert (made.classes, made.description.resolution) == (3, 16)


def test_principal_components_are_those_of_the_pixels(make_request: MakeRequest) -> None:
    request = make_request("principal_components")
    made = recipe_of("principal_components").make(request)
    expected = fit(request.pixels)
    features, labels = made.embed(request.held_out)
    assert torch.equal(features, expected.embed(request.held_out)[0])
    assert not labels.any()
    assert (made.classes, made.description.accuracy, made.description.dimensions) == (0, None, FEATURES)
    assert made.description.multiply_adds == made.description.parameters - FEATURES == FEATURES * 3 * 16 * 16


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["classifier", "principal_components"])
def test_restored_from_plain_data_they_are_the_same(make_request: MakeRequest, same: Same, name: str) -> None:
    request = make_request(name, channels=1)
    recipe = recipe_of(name)
    made = recipe.make(request)
    facts = json.loads(json.dumps(made.stored().facts))
    restored = recipe.restore(Stored(made.stored().tensors, facts), request.source)
    assert same(made, restored, request.held_out)
    assert not any(p.requires_grad for p in restored.parameters())
    assert not restored.training


def test_what_they_cannot_serve(make_request: MakeRequest) -> None:
    with pytest.raises(UnsuitableError, match="one class"):
        recipe_of("classifier").make(make_request("classifier", classes=1))
    with pytest.raises(UnsuitableError, match="32 images are too few"):
        recipe_of("principal_components").make(make_request("principal_components", images=64))
