from __future__ import annotations

import os
from pathlib import Path

import pytest
from service import Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path, {})


@pytest.fixture
def chaotic(tmp_path: Path) -> Service:
    """A service whose processes load chaos.py."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").symlink_to(Path(__file__).parents[1] / "support" / "chaos.py")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    names = {"CHAOS_STEPS": "steps", "CHAOS_ORDER": "order", "CHAOS_LOG": "deaths"}
    return Service(tmp_path, {"PYTHONPATH": path, **{k: str(tmp_path / v) for k, v in names.items()}})
