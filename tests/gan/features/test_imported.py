"""Functions of users as embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gansweep.errors import UserError
from gansweep.features import embedding_kind, is_own
from gansweep.gan.features import imported
from gansweep.gan.features.base import Embedding, Stored
from gansweep.gan.features.recipe import Request, Source, recipe_of
from gansweep.usercode.code import Code, write

MakeRequest = Callable[..., Request]
Same = Callable[[Embedding, Embedding, torch.Tensor], bool]
NAME = "mine:embed"


@pytest.fixture
def code_of(tmp_path: Path) -> Callable[[str], Code]:
    """The body of `embed(images)` → a copy of a module that defines it."""

    def make(body: str) -> Code:
        text = f"import numpy as np\n\ncalls = []\n\ndef embed(images):\n    {body}\n"
        return write({"mine.py": text.encode()}, tmp_path)

    return make


def test_features_are_those_of_the_function(
    make_request: MakeRequest, same: Same, code_of: Callable[[str], Code]
) -> None:
    request = make_request(NAME, code=code_of("return images.mean((2, 3), dtype=np.float64)"))
    made = recipe_of(NAME).make(request)
    features, labels = made.embed(request.held_out)
    means = request.held_out.double().mean((2, 3)).numpy()
    # Three dimensions are only turned, so that distances stay.
    distances = torch.cdist(features.double(), features.double()).numpy()
    np.testing.assert_allclose(distances, np.linalg.norm(means[:, None] - means, axis=2), atol=1e-3)
    assert not labels.any()
    stored = made.stored()
    restored = recipe_of(NAME).restore(Stored(stored.tensors, json.loads(json.dumps(stored.facts))), request.source)
    assert same(made, restored, request.held_out)
    assert (made.description.name, made.description.dimensions) == (NAME, 3)
    assert made.description.checksum == request.source.code.digest


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("return images[:, 0, 0, 0]", r"returns uint8 of shape \(16,\) for 16 images, expected numbers of shape \(16"),
        ("return images.mean((2, 3))[:3]", r"returns float64 of shape \(3, 3\) for 16 images"),
        ("return [['a']] * len(images)", r"returns <U1 of shape \(16, 1\)"),
        ("return images.mean((2, 3)) * np.nan", "returns NaN or infinite features"),
        ("return images.mean((2, 3)) * 1e300", "returns NaN or infinite features"),
        ("return 1 / 0", "mine:embed: fails: mine.py:6: ZeroDivisionError"),
        ("images[0] = 0", "fails: mine.py:6: ValueError: assignment destination is read-only"),
        ("calls.append(0); return images.mean((2, 3)) + len(calls)", "returns other features when it is called again"),
    ],
)
def test_what_is_wrong_with_a_function_is_one_line(code_of: Callable[[str], Code], body: str, what: str) -> None:
    with pytest.raises(UserError, match=what) as error:
        imported.check(Source(NAME, code=code_of(body)), 3, 32)
    assert str(error.value).startswith("evaluation.features: mine:embed: ")
    assert "\n" not in str(error.value)


def test_other_code_is_not_taken_for_the_same(make_request: MakeRequest, code_of: Callable[[str], Code]) -> None:
    made = recipe_of(NAME).make(make_request(NAME, code=code_of("return images.mean((2, 3))")))
    with pytest.raises(UserError, match="the code is not that which"):
        recipe_of(NAME).restore(made.stored(), Source(NAME, code=code_of("return images.mean((2, 3)) * 2")))
    with pytest.raises(UserError, match=r"mine\.py defines no other; correct the name"):
        imported.check(Source("mine:other", code=code_of("return 0")), 3, 32)


def test_names_with_a_colon_are_import_paths_unless_they_are_registered() -> None:
    assert is_own("mypkg.features:embed")
    assert not is_own("torchvision:resnet50")
    assert not is_own("classifier")
    assert embedding_kind("mypkg.features:embed").recipe == "imported"
    with pytest.raises(ValueError, match="is not an import path"):
        embedding_kind("a b:c")
