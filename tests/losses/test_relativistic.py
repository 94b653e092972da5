from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gansweep.losses.relativistic import Relativistic

RNG = np.random.default_rng(0)


def test_it_equals_the_closed_form_of_pairs() -> None:
    real, fake = RNG.normal(size=8) * 9, RNG.normal(size=8) * 9
    of_d = Relativistic().discriminator(torch.tensor(real), torch.tensor(fake))
    of_g = Relativistic().generator(torch.tensor(fake), lambda: torch.tensor(real))
    assert of_d.item() == pytest.approx(np.logaddexp(0, fake - real).mean())  # −log σ(real − fake)
    assert of_g.item() == pytest.approx(np.logaddexp(0, real - fake).mean())
    assert of_d.item() != pytest.approx(np.logaddexp(0, fake - real[::-1]).mean())  # of pairs, not of all


def test_it_is_ln_2_if_d_cannot_tell_and_the_same_for_shifted_outputs() -> None:
    loss, outputs = Relativistic(), torch.tensor(RNG.normal(size=8))
    assert loss.discriminator(outputs, outputs).item() == pytest.approx(math.log(2))
    shifted = loss.discriminator(outputs + 5, outputs.flip(0) + 5)
    torch.testing.assert_close(shifted, loss.discriminator(outputs, outputs.flip(0)))
    assert loss.critic
