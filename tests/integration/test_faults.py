"""Faults of docs/reliability.md, all over one sweep in a real lab. Twenty repetitions of each: tests/faults.py."""

from __future__ import annotations

import pytest
from faults import Trial
from lab import Lab

pytestmark = pytest.mark.slow
WAVES = (("store", "database"), ("node",))  # the others take minutes on a loaded machine


def test_faults_lose_and_double_nothing(lab: Lab) -> None:
    found, hits = Trial(lab, seed=11).endure(WAVES, step_s=1.0)
    assert hits == dict.fromkeys(hits, True)
    assert (found.lost, found.doubled, found.weights) == (0, 0, 0)
    assert 0 <= found.twice <= 4 * 50
