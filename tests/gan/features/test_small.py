"""The small embeddings behind the interface: nothing about their numbers changes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from gansweep.gan import embedding
from gansweep.gan.data import FEATURES
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError
from gansweep.gan.features.recipe import Request, recipe_of

MakeRequest = Callable[..., Request]
Same = Callable[[Embedding, Embedding, torch.Tensor], bool]


@pytest.mark.usefixtures("quick")
def test_the_classifier_of_small_grey_images_is_the_one_of_earlier_versions(make_request: MakeRequest) -> None:
    request = make_request("classifier", channels=1)
    made = recipe_of("classifier").make(request)
    before = embedding.train_classifier(request.pixels, request.labels, embedding.Shape(1, 3))
    features, labels = before.embed(request.held_out)
    assert torch.equal(made.embed(request.held_out)[0], features)
    assert made.description.accuracy == pytest.approx(float((labels == request.held_out_labels).double().mean()))
    assert made.stored().tensors.keys() == before.state_dict().keys()
    assert (made.classes, made.description.resolution) == (3, 16)


def test_principal_components_are_those_of_earlier_versions(make_request: MakeRequest) -> None:
    request = make_request("principal_components")
    made = recipe_of("principal_components").make(request)
    before = embedding.principal_components(request.pixels, 3)
    features, labels = made.embed(request.held_out)
    assert torch.equal(features, before.embed(request.held_out)[0])
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
