"""The embedding of each trial: what `auto` chooses, what it keeps, and what it adds to a trial's id."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gansweep.config import FeaturesConfig
from gansweep.errors import UserError
from gansweep.gan.data import REFERENCE_VERSION, ImageSet
from gansweep.planning.features import choose, identity
from gansweep.sweepfile.schema import Evaluation
from gansweep.usercode.code import Code

GREY = ImageSet("0.npy", "0", 1_000, 1, 32, ("0", "1"))
COLOUR = replace(GREY, channels=3)
UNLABELLED = replace(COLOUR, classes=("all",))
LARGE = replace(GREY, image_size=64)


def never(_: FeaturesConfig) -> bool:
    return False


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, "classifier"),
        (COLOUR, "self_supervised"),
        (LARGE, "self_supervised"),
        (UNLABELLED, "self_supervised"),
        (replace(GREY, classes=("all",)), "self_supervised"),
    ],
)
def test_auto_takes_the_best(images: ImageSet, expected: str) -> None:
    assert choose(Evaluation(), images, never).name == expected


def test_auto_keeps_what_a_trial_of_version_0_1_0_has_begun_with() -> None:
    for name, images in {"small_classifier": COLOUR, "principal_components": UNLABELLED}.items():
        assert choose(Evaluation(), images, lambda one, name=name: one.name == name).name == name  # type: ignore[misc]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"^evaluation.features: imagenet needs a package; run pip install"):
        choose(Evaluation(features="imagenet"), UNLABELLED, never)


def test_trials_of_version_0_1_0_have_no_embedding_in_their_id() -> None:
    of_first_version = {"classifier": GREY, "small_classifier": COLOUR, "principal_components": UNLABELLED}
    for name, images in of_first_version.items():
        assert identity(FeaturesConfig(name), images) == ""
    assert identity(FeaturesConfig("classifier"), COLOUR) == "classifier/1"
    assert identity(FeaturesConfig("torchvision:resnet18", "a.pth", "ab12"), GREY) == "torchvision:resnet18/1/ab12"


def test_stating_what_auto_chooses_is_no_other_choice() -> None:
    assert choose(Evaluation(features="classifier"), GREY, never) == choose(Evaluation(), GREY, never)


def test_without_evaluations_there_is_nothing_to_choose() -> None:
    assert choose(Evaluation(per_run=0), COLOUR, never).name == "small_classifier"


def test_an_embedding_that_needs_labels_is_refused_without_them() -> None:
    with pytest.raises(UserError, match=r"^evaluation.features: classifier is trained on labels, and the images have"):
        choose(Evaluation(features="classifier"), UNLABELLED, never)


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"weights")
    (tmp_path / "b.pth").write_bytes(b"weights")
    asked = [Evaluation(features="torchvision:resnet18", weights=str(tmp_path / name)) for name in ("a.pth", "b.pth")]
    first, second = (choose(one, COLOUR, never) for one in asked)
    assert identity(first, COLOUR) == identity(second, COLOUR)
    missing = Evaluation(features="torchvision:resnet18", weights=str(tmp_path / "c.pth"))
    with pytest.raises(UserError, match=r"^evaluation.weights: .*c.pth: cannot be read .No such file"):
        choose(missing, COLOUR, never)


@pytest.mark.parametrize("name", ["imagenet", "self_supervised"])
def test_files_of_embeddings_lie_side_by_side(name: str) -> None:
    paths = {COLOUR.reference(FeaturesConfig(one).key(Code())) for one in (name, "classifier")}
    assert len(paths) == 2
    assert json.dumps(sorted(path.name for path in paths)).count(f"reference-{REFERENCE_VERSION}") == 2


def test_linear_discriminants_name_classes() -> None:
    import torch

    from gansweep.gan.features.labelled import discriminants

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    spread = rng.normal(size=(5, 5))
    means = 6 * rng.normal(size=(4, 5))
    x = torch.from_numpy(means[labels] + rng.normal(size=(600, 5)) @ spread).float()
    weight, bias = discriminants(x, torch.from_numpy(labels), 4)
    found = (x.double() @ weight.T + bias).argmax(1).numpy()
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(x.numpy(), labels).predict(x.numpy())
    assert (found == expected).mean() > 0.99
    assert 3 not in found, "a class without images is never named"
