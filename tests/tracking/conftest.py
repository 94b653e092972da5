from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench import Bench, empty_home
from tracking_server import tracking_server

from gansweep.records.layout import Home


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One store for all tests here: making one takes seconds. Each test has a sweep of its own in it."""
    return empty_home(tmp_path_factory.mktemp("tracking") / "home")


@pytest.fixture
def bench(shared_home: Home, request: pytest.FixtureRequest) -> Bench:
    return Bench(shared_home, request.node.name.replace("[", "-").strip("]")[:60])


@pytest.fixture(scope="session")
def server(shared_home: Home) -> Iterator[str]:
    """URI of a tracking server of that store. Its two processes may meet in the same write."""
    with tracking_server(shared_home, workers=2, prompt=True) as uri:
        yield uri
