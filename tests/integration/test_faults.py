"""Each fault of docs/reliability.md once or twice, over a real lab; outages of the tracking server last 5 s here, not
60 s. Twenty repetitions: tests/faults.py."""

from __future__ import annotations

import pytest
from faults import FAULTS, Trial
from lab import Lab

pytestmark = pytest.mark.slow
AWAY_S = 5  # and its start


@pytest.fixture(scope="module")
def trial(lab: Lab) -> Trial:
    return Trial(lab, seed=1, away_s=AWAY_S)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_loses_and_doubles_nothing(trial: Trial, fault: str) -> None:
    (found,) = trial.repeat(fault, 1)
    assert (found.lost, found.doubled, found.weights) == (0, 0, 0)
    assert 0 <= found.twice <= 4 * 50
