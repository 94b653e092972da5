"""A sweep on a Ray cluster that somebody else began, and ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
import pytest
from ray_head import TOKEN, ray_head
from scenes import train
from service import Service, histories

from gansweep.engine.environment import WORKERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a head with one core and a token."""
    with ray_head(tmp_path_factory.mktemp("head"), TOKEN, "--num-cpus=1", "--include-dashboard=false") as address:
        yield address


def test_a_sweep_joins_a_cluster_and_leaves_it_running(service: Service, address: str) -> None:
    service.environment.update(TOKEN)
    service.call("run", service.write(), "--address", address)
    assert [t["outcome"] for t in service.status()] == ["completed", "completed"]
    assert histories(service.folder()) == histories(train(service.home, service.write("alone")))
    process = service.start("run", service.write(steps=100_000), "--address", address)  # it is still there
    service.wait_for(lambda: any(steps[-1][0] > 40 for steps in histories(service.folder()).values()), 120)
    assert "running" in {t["outcome"] for t in service.status()}
    assert WORKERS.items() <= environment_of("GanTrial").items(), "the node's own has none of it"
    began = time.monotonic()
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143, err
    assert time.monotonic() - began < 10
    assert "running" not in {t["outcome"] for t in service.status()}


def environment_of(name: str) -> dict[str, str]:
    """Environment of the process of that name in the cluster with that token."""
    named = [p for p in psutil.process_iter(["cmdline"]) if f"ray::{name}" in " ".join(p.info["cmdline"] or ())]
    (found,) = (its for its in (process.environ() for process in named) if TOKEN.items() <= its.items())
    return found


def test_a_cluster_whose_token_is_not_known(service: Service, address: str) -> None:
    file = service.write()
    for known in ({"RAY_AUTH_MODE": "token"}, {**TOKEN, "RAY_AUTH_TOKEN": "f" * 64}):
        _, err = Service(service.root, known).call("run", file, "--address", address, code=1)
        assert err.splitlines()[-1].endswith("; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the cluster")


def test_a_cluster_that_does_not_answer(service: Service) -> None:
    _, err = service.call("run", service.write(), "--address", "127.0.0.1:1", code=1)
    assert err.splitlines()[-1].startswith("--address 127.0.0.1:1: no Ray cluster answers (")
