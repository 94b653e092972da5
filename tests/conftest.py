"""Every test has its own home folder, and nothing is written outside tmp_path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from gansweep.records.layout import Home

settings.register_profile("gansweep", deadline=None, database=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("gansweep")


def pytest_itemcollected(item: pytest.Item) -> None:
    """With `-n 2 --dist loadgroup` one process has the slow tests, which wait for processes of their own most of the
    time and look at what the machine runs, so never two of them at once; the other one has the rest, file by file."""
    slow = item.get_closest_marker("slow") is not None
    item.add_marker(pytest.mark.xdist_group("slow" if slow else str(item.path)))


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GANSWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GANSWEEP_TRACKING_URI", raising=False)
    if "torch" in sys.modules:  # tests of the plan need none
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home folder that GANSWEEP_HOME names."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The repository's root."""
    return Path(__file__).parents[1]
