from __future__ import annotations

import pytest
from scenes import train, warm_home
from service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A finished sweep `small` of two learning rates and two seeds."""
    service = Service(tmp_path_factory.mktemp("api"), {})
    train(warm_home(service.home.path), service.write(steps=30, seeds=2, evaluations=6, maps=8))
    return service
