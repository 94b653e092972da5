"""Principal components of features, costs, and names of embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from gansweep.features import EMBEDDINGS, embedding_kind, forms
from gansweep.gan.data import FEATURES
from gansweep.gan.features.cost import multiply_adds_of, parameters_of
from gansweep.gan.features.projected import Projection
from gansweep.gan.features.recipe import recipe_of


@pytest.mark.parametrize("dimensions", [1, 20, 50])
def test_the_components_are_the_first_of_another_implementation(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, dimensions)) @ np.diag(0.9 ** np.arange(dimensions)) + 5
    projection = Projection(dimensions).fit(torch.from_numpy(x).float())
    found = projection(torch.from_numpy(x).float()).numpy()
    expected = PCA(min(FEATURES, dimensions), svd_solver="full").fit_transform(x)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)
    assert (projection.axes.gather(1, projection.axes.abs().argmax(1, keepdim=True)) > 0).all()


def test_standardised_components_have_unit_variance_whatever_the_scale_of_features() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(500, 40)) @ rng.normal(size=(40, 40)) + 3).float()
    scaled = x * torch.logspace(-2, 3, 40)
    one, other = (Projection(40).fit(features, standardised=True)(features) for features in (x, scaled))
    torch.testing.assert_close(torch.cov(one.double().T), torch.eye(FEATURES).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-3)
    constant = torch.cat([x[:, :20], torch.ones(500, 20)], 1)
    assert Projection(40).fit(constant, standardised=True)(constant).isfinite().all()


def test_costs_are_counted_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(32, 5))
    assert parameters_of(network) == (3 * 8 * 9 + 8) + (8 * 9 + 8) + (32 * 5 + 5)
    assert multiply_adds_of(network, torch.zeros(1, 3, 4, 4)) == 16 * 8 * 27 + 4 * 8 * 9 + 32 * 5


@pytest.mark.parametrize("name", ["nothing", "classifier:x", "", "a b:c"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of auto, classifier, |is not an import path"):
        embedding_kind(name)


def test_every_name_has_a_recipe() -> None:
    for name, kind in EMBEDDINGS.items():
        recipe = recipe_of(f"{name}:x" if kind.argument else name)
        assert callable(recipe.make), name
        assert callable(recipe.restore), name
    assert [*forms()][-1] == "MODULE:NAME"
