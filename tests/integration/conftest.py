from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import chaos
import lab as laboratory
import pytest
from machines import NoMachinesError
from postgres import PostgresMissingError
from scenes import warm_home
from service import Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service whose home has been used before: its store has its tables, and digits are ready."""
    warm_home(tmp_path / "home")
    return Service(tmp_path, {})


@pytest.fixture
def chaotic(tmp_path: Path) -> Service:
    """A service with such a home, whose processes load chaos.py."""
    warm_home(tmp_path / "home")
    return Service(tmp_path, chaos.environment(tmp_path))


@pytest.fixture(scope="session")
def lab() -> Iterator[laboratory.Lab]:
    """One for all tests, since it takes half a minute to begin. Each machine trains one trial at a time."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(laboratory.lab(cores=1))
        except (NoMachinesError, PostgresMissingError) as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
        yield found
