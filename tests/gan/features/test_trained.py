"""Embeddings that are trained on the set: the larger classifier, and the one for sets without labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from gansweep.gan.data import FEATURES
from gansweep.gan.features import classifier, convnet, self_supervised
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError
from gansweep.gan.features.recipe import Request, recipe_of

MakeRequest = Callable[..., Request]
Same = Callable[[Embedding, Embedding, torch.Tensor], bool]


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are trained for a moment."""
    monkeypatch.setattr(classifier, "STEPS", 30)
    monkeypatch.setattr(classifier, "IMAGES_A_STEP", 10**9)
    monkeypatch.setattr(classifier, "BATCH", 32)
    monkeypatch.setattr(convnet, "WARM_UP", 5)
    monkeypatch.setattr(self_supervised, "STEPS", 4)
    monkeypatch.setattr(self_supervised, "BATCH", 16)


def made_of(request: Request) -> Embedding:
    return recipe_of(request.source.name).make(request)


@pytest.mark.parametrize("name", ["classifier", "self_supervised"])
@pytest.mark.parametrize(("channels", "side"), [(3, 16), (1, 48)])
def test_the_same_set_gives_the_same_bits_and_restores_them(
    make_request: MakeRequest, same: Same, name: str, channels: int, side: int
) -> None:
    """Whatever the number of threads and the state of torch's random stream."""
    request = make_request(name, channels=channels, side=side, images=400)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = made_of(request)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    torch.set_num_threads(2)
    other = made_of(request)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    stored = one.stored()
    restored = recipe_of(name).restore(Stored(stored.tensors, json.loads(json.dumps(stored.facts))), request.source)
    for again in (other, restored):
        assert same(one, again, request.held_out[:20])
        assert not again.training
        assert not any(p.requires_grad for p in again.parameters())
    features, _ = one.embed(request.held_out[:20])
    assert features.shape == (20, FEATURES)
    assert one.description.resolution == {16: 32, 48: 64}[side]
    assert one.description.device == "cpu"
    assert not same(one, made_of(replace(request, seed=1)), request.held_out[:20])


def test_the_classifier_learns_labels_and_says_how_well(make_request: MakeRequest) -> None:
    request = make_request("classifier", images=400)
    made = made_of(request)
    _, found = made.embed(request.held_out)
    assert made.description.accuracy == float((found == request.held_out_labels).double().mean())
    assert made.description.accuracy > 0.9
    assert made.description.notices == ()


def test_a_poor_classifier_is_reported(make_request: MakeRequest) -> None:
    """A third of the labels are drawn anew."""
    request = make_request("classifier", images=400)
    rng = torch.Generator().manual_seed(0)
    wrong = torch.rand(200, generator=rng) < 0.33
    labels = torch.where(wrong, torch.randint(3, (200,), generator=rng), request.held_out_labels)
    made = made_of(replace(request, held_out_labels=labels))
    (notice,) = made.description.notices
    assert f"names {made.description.accuracy:.1%} of unseen real images correctly; below 90%" in notice


@pytest.mark.parametrize("classes", [3, 10])
def test_labels_that_cannot_be_learned_are_said(make_request: MakeRequest, classes: int) -> None:
    request = make_request("classifier", images=400, classes=classes)
    rng = torch.Generator().manual_seed(0)
    labels, held_out_labels = torch.randint(classes, (2, 200), generator=rng)
    request = replace(request, labels=labels, held_out_labels=held_out_labels)
    with pytest.raises(
        UnsuitableError, match=r"cannot be learned: \d+\.\d% of 200 unseen images .*, \d+\.\d% by chance"
    ):
        made_of(request)


def test_a_classifier_that_always_names_the_most_frequent_class_has_learned_nothing(make_request: MakeRequest) -> None:
    request = make_request("classifier", images=400)
    rare = torch.arange(200) % 20 == 0
    request = replace(request, labels=rare.long(), held_out_labels=rare.long())
    with pytest.raises(UnsuitableError, match="cannot be learned: 9"):
        made_of(request)


def test_sets_that_are_too_small_are_said(make_request: MakeRequest) -> None:
    with pytest.raises(UnsuitableError, match="199 images are too few to train on, it takes 200"):
        made_of(make_request("self_supervised", images=398))
    with pytest.raises(UnsuitableError, match="32 images are too few"):
        made_of(make_request("classifier", images=64))
    with pytest.raises(UnsuitableError, match="one class"):
        made_of(make_request("classifier", classes=1))


def test_the_pretext_task_learns_to_recognise_images(make_request: MakeRequest) -> None:
    """Two crops of an image become more alike than those of two images, by the loss of a loop over pairs."""
    outputs = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for i in range(8):
        likeness = [
            F.cosine_similarity(outputs[i], outputs[j], dim=0) / self_supervised.TEMPERATURE for j in range(8) if j != i
        ]
        partner = F.cosine_similarity(outputs[i], outputs[(i + 4) % 8], dim=0) / self_supervised.TEMPERATURE
        total += float(torch.logsumexp(torch.stack(likeness), 0) - partner)
    assert float(self_supervised.contrast(outputs)) == pytest.approx(total / 8, rel=1e-5)


def test_crops_are_parts_of_the_image() -> None:
    """A crop of full size without turning is the image; any other lies within it."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 16, 16, generator=rng)
    torch.testing.assert_close(convnet.crops(images, 1.0, 0.0, rng), images)
    ramp = torch.linspace(-1, 1, 16).expand(6, 1, 16, 16)
    cropped = convnet.crops(ramp, 0.5, 0.0, rng)
    widths = cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]
    assert (widths >= 0.49).all()
    assert (widths < 2).all()
    assert widths.std() > 0.01


def test_moves_are_of_whole_pixels_and_repeat_the_border() -> None:
    images = torch.rand(50, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    found = convnet.shifted(images, 0.25, torch.Generator().manual_seed(0))
    seen = set()
    for image, moved in zip(images, found, strict=True):
        padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
        at = [(y, x) for y in range(5) for x in range(5) if torch.equal(padded[:, y : y + 8, x : x + 8], moved)]
        assert len(at) == 1
        seen.update(at)
    assert len(seen) > 15


def test_mirrors_half_of_the_images() -> None:
    images = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = convnet.mirrored(images, torch.Generator().manual_seed(0))
    same = (found == images).flatten(1).all(1)
    assert 70 < int(same.sum()) < 130
    assert torch.equal(found[~same], images.flip(3)[~same])
