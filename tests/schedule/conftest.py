from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gansweep.plan.loader import load
from gansweep.records.layout import Home
from gansweep.schedule.prepare import Plan, make_plan

TINY = """name: s
dataset: {image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 4, batch_size: 16}
cadence: {metrics: 2, samples: 4, checkpoints: 4}
evaluation: {per_run: 0}
"""
PlanOf = Callable[..., Plan]


@pytest.fixture
def plan_of(tmp_path: Path, home: Home) -> PlanOf:
    """A plan of a tiny sweep; arguments as for --set."""

    def plan_of(*overrides: str) -> Plan:
        file = tmp_path / "s.yaml"
        file.write_text(TINY)
        return make_plan(load(file, overrides), home)

    return plan_of
