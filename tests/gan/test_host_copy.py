"""Copies on the host keep the values of their moment."""

import pytest
import torch

from gansweep.gan.host_copy import HostCopy


def test_a_copy_keeps_the_values_of_its_moment():
    weights = torch.ones(3)
    copy = HostCopy({"weights": weights})
    weights.zero_()
    assert copy.read()["weights"].tolist() == [1, 1, 1]


@pytest.mark.gpu
def test_a_copy_from_a_gpu_keeps_the_values_of_its_moment():
    weights = torch.ones(1 << 20, device="cuda")
    copy = HostCopy({"weights": weights, "steps": torch.tensor(7)})
    weights.zero_()
    values = copy.read()
    assert values["weights"].is_pinned()
    assert bool((values["weights"] == 1).all())
    assert int(values["steps"]) == 7
