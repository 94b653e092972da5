"""A sweep on a Ray cluster that somebody else began, and ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from service import Service, histories

from gansweep.schedule.environment import WORKERS

pytestmark = pytest.mark.slow


@pytest.fixture
def address(tmp_path: Path, service: Service) -> Iterator[str]:
    """A real head node of one core, protected by a token that the service knows."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    service.environment.update(token)
    # Ray leaves the path of the interpreter that begins it unquoted: here it holds no space.
    (tmp_path / "environment").symlink_to(sys.prefix)
    python = tmp_path / "environment" / "bin" / Path(sys.executable).name
    command = [str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false", "--disable-usage-stats"]
    command += [f"--temp-dir=/tmp/ray-head-{port}", "--object-store-memory=80000000"]
    with (tmp_path / "ray.log").open("w") as log:
        head = subprocess.Popen(command, env={**os.environ, **token}, stdout=log, stderr=log, start_new_session=True)
        try:
            service.wait_for(lambda: "Ray runtime started" in (tmp_path / "ray.log").read_text(), 60)
            yield f"127.0.0.1:{port}"
        finally:
            for process in [*psutil.Process(head.pid).children(recursive=True), head]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            head.wait()


def test_a_sweep_joins_a_cluster_and_leaves_it_running(service: Service, address: str) -> None:
    service.call("run", service.write(), "--address", address)
    assert [t["outcome"] for t in service.status()] == ["completed", "completed"]
    service.call("run", service.write("alone"))
    assert histories(service.folder()) == histories(service.folder("alone"))
    service.call("run", service.write(rates="[1e-4, 1e-3, 1e-2]"), "--address", address)  # it is still there
    process = service.start("run", service.write(steps=100_000), "--address", address)
    service.wait_for(lambda: any(t["outcome"] == "running" and t["step"] > 40 for t in service.status()))
    assert WORKERS.items() <= environment_of("GanTrial").items(), "the node's own has none of it"
    began = time.monotonic()
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143, err
    assert time.monotonic() - began < 10
    assert "running" not in {t["outcome"] for t in service.status()}


def environment_of(name: str) -> dict[str, str]:
    """Of the process that goes by that name."""
    (process,) = (p for p in psutil.process_iter(["cmdline"]) if f"ray::{name}" in " ".join(p.info["cmdline"] or ()))
    return process.environ()


def test_a_cluster_that_does_not_answer(service: Service) -> None:
    _, err = service.call("run", service.write(), "--address", "127.0.0.1:1", code=1)
    assert err.splitlines()[-1].startswith("--address 127.0.0.1:1: no Ray cluster answers (")
