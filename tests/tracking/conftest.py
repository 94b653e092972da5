from __future__ import annotations

import pytest
from bench import Bench

from gansweep.records.layout import Home
from gansweep.tracking import store


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One store for all tests here: making one takes seconds. Each test has a sweep of its own in it."""
    home = Home(tmp_path_factory.mktemp("tracking") / "home")
    home.path.mkdir()
    store.client(home, store.local_uri(home)).search_experiments()
    return home


@pytest.fixture
def bench(shared_home: Home, request: pytest.FixtureRequest) -> Bench:
    return Bench(shared_home, request.node.name.replace("[", "-").strip("]")[:60])
