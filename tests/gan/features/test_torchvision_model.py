"""Models of torchvision with files of weights: the right ones, other models', damaged ones, and pickles with code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision import models

from gansweep.errors import UserError
from gansweep.gan.features.base import Embedding, Stored
from gansweep.gan.features.projected import Projected
from gansweep.gan.features.recipe import Request, Source, recipe_of
from gansweep.gan.features.torchvision_model import Model

MakeRequest = Callable[..., Request]
Same = Callable[[Embedding, Embedding, torch.Tensor], bool]
NAME = "torchvision:shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def small() -> models.ShuffleNetV2:
    torch.manual_seed(0)
    return models.shufflenet_v2_x0_5(weights=None).eval()


@pytest.fixture
def weights(small: models.ShuffleNetV2, tmp_path: Path) -> Path:
    torch.save(small.state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


def refused(make_request: MakeRequest, weights: Path | None, name: str = NAME) -> str:
    with pytest.raises(UserError) as error:
        recipe_of(NAME).make(make_request(name, weights=weights))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_features_are_the_input_of_the_last_layer(
    make_request: MakeRequest, same: Same, small: models.ShuffleNetV2, weights: Path
) -> None:
    request = make_request(NAME, images=80, weights=weights)
    made = recipe_of(NAME).make(request)
    presets = models.ShuffleNet_V2_X0_5_Weights.DEFAULT.transforms()
    seen: list[torch.Tensor] = []
    hook = small.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = (request.held_out[:4].float() / 255 - torch.tensor(presets.mean).reshape(1, 3, 1, 1)) / torch.tensor(
        presets.std
    ).reshape(1, 3, 1, 1)
    with torch.no_grad():
        small(torch.nn.functional.interpolate(images, size=(224, 224), mode="bilinear"))
    hook.remove()
    assert isinstance(made, Projected)
    torch.testing.assert_close(made.network(request.held_out[:4]).features, seen[0], atol=1e-4, rtol=1e-4)
    stored = made.stored()
    assert stored.tensors.keys() == {"projection.mean", "projection.axes"}
    restored = recipe_of(NAME).restore(Stored(stored.tensors, json.loads(json.dumps(stored.facts))), request.source)
    assert same(made, restored, request.held_out[:8])
    assert (made.description.resolution, made.description.dimensions) == (224, 1_024)


@pytest.mark.parametrize("name", ["vgg11", "vit_b_32", "convnext_tiny", "inception_v3", "mobilenet_v3_small"])
def test_the_last_layer_of_other_architectures_is_found(name: str) -> None:
    model = Model(name).eval()
    with torch.no_grad():
        features = model(torch.zeros(1, 1, 32, 32, dtype=torch.uint8)).features
    assert features.shape == (1, {"vgg11": 4096, "inception_v3": 2048, "mobilenet_v3_small": 1024}.get(name, 768))


def test_a_head_for_other_classes_is_not_looked_at(make_request: MakeRequest, tmp_path: Path) -> None:
    torch.manual_seed(0)
    safetensors.torch.save_file(models.shufflenet_v2_x0_5(num_classes=7).state_dict(), tmp_path / "w.safetensors")
    request = make_request(NAME, images=80, weights=tmp_path / "w.safetensors")
    assert recipe_of(NAME).make(request).classes == 0


def test_weights_of_another_model_are_refused(make_request: MakeRequest, tmp_path: Path) -> None:
    torch.save(models.shufflenet_v2_x1_0(weights=None).state_dict(), tmp_path / "w.pth")
    message = refused(make_request, tmp_path / "w.pth")
    assert message.startswith(f"evaluation.features: {tmp_path}/w.pth: not the weights of {NAME}: stage2.0.branch1")
    assert "is [24, 1, 3, 3], expected" not in message
    assert "more" in message
    torch.save(models.squeezenet1_0(weights=None).state_dict(), tmp_path / "w.pth")
    assert "conv1.0.weight is missing; conv1.1.weight is missing and " in refused(make_request, tmp_path / "w.pth")


def test_a_pickle_with_code_is_refused_and_not_run(make_request: MakeRequest, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "run",)

    torch.save({"conv1.0.weight": Code()}, tmp_path / "w.pth")
    assert "not a plain state dict" in refused(make_request, tmp_path / "w.pth")
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_weights_are_refused(make_request: MakeRequest, weights: Path, tmp_path: Path) -> None:
    assert "needs the model's weights; give weights: PATH" in refused(make_request, None)
    assert "cannot be read (No such file or directory)" in refused(make_request, tmp_path / "none.pth")
    content = weights.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"text"):
        weights.write_bytes(damaged)
        assert "w.pth: not a" in refused(make_request, weights)
    torch.save({"epoch": 3}, weights)
    assert "holds no state dict" in refused(make_request, weights)
    (tmp_path / "w.safetensors").write_bytes(b"text")
    assert "w.safetensors: not a file of weights" in refused(make_request, tmp_path / "w.safetensors")


def test_other_names_are_refused(make_request: MakeRequest, weights: Path) -> None:
    assert "torchvision has no such" in refused(make_request, weights, "torchvision:resnet5")
    assert "torchvision has no such" in refused(make_request, weights, "torchvision:fcn_resnet50")
    assert "has no linear layer" in refused(make_request, weights, "torchvision:squeezenet1_0")


def test_a_file_that_was_changed_afterwards_is_refused(make_request: MakeRequest, weights: Path) -> None:
    request = make_request(NAME, images=80, weights=weights)
    stored = recipe_of(NAME).make(request).stored()
    torch.save(models.shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    with pytest.raises(UserError, match=r"w\.pth: is not the file that the features were computed with \(SHA-256"):
        recipe_of(NAME).restore(stored, Source(NAME, weights))
