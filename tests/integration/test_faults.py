"""Faults of docs/reliability.md, once each, over a real lab. Twenty repetitions of all six: tests/faults.py."""

from __future__ import annotations

import pytest
from faults import Trial
from lab import Lab

pytestmark = pytest.mark.slow
QUICK = ("node", "store", "database")  # the others take minutes on a loaded machine


@pytest.fixture(scope="module")
def trial(lab: Lab) -> Trial:
    return Trial(lab, seed=1)


@pytest.mark.parametrize("fault", QUICK)
def test_a_fault_loses_and_doubles_nothing(trial: Trial, fault: str) -> None:
    (found,) = trial.repeat(fault, 1)
    assert (found.lost, found.doubled, found.weights) == (0, 0, 0)
    assert 0 <= found.twice <= 4 * 50
