"""A real Ray head on this machine, as a cluster's owner begins it: with a token, on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
# Of processes whose token is wrong: Ray asks 20 times, once a second.
IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "2"}
START_S = 120


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def programs(folder: Path) -> Path:
    """This environment's, through a link in that folder: Ray leaves the path of the interpreter that begins it
    unquoted, and a clone may lie in a folder with a space in its name."""
    link = folder / "environment"
    if not link.exists():
        link.symlink_to(sys.prefix)
    return link / "bin"


def ray(folder: Path) -> list[str]:
    """Its command line, by such a link (the script `ray` names the interpreter with its whole path)."""
    return [str(programs(folder) / Path(sys.executable).name), "-m", "ray.scripts.scripts"]


@contextmanager
def ray_files() -> Iterator[Path]:
    """A folder for Ray's own files: its sockets allow 107 characters, and tmp_path takes most of them."""
    with TemporaryDirectory(prefix="ray-head-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def ray_head(folder: Path, environment: Mapping[str, str], *options: str, files: Path | None = None) -> Iterator[str]:
    """Its address. folder: for its log. environment: more than this process's own. options: of `ray start`. files: for
    Ray's own, a folder of its own where there is none."""
    (port,), log = free_ports(1), folder / "ray.log"
    command = [*ray(folder), "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
    command += ["--disable-usage-stats", "--object-store-memory=80000000", *options]
    with ExitStack() as stack:
        command.append(f"--temp-dir={files or stack.enter_context(ray_files())}")
        out = stack.enter_context(log.open("w"))
        head = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=out, stderr=out, start_new_session=True
        )
        stack.callback(end_family, head)
        deadline = time.monotonic() + START_S
        while "Ray runtime started" not in log.read_text():
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"


def end_family(leader: subprocess.Popen[Any]) -> None:
    """Kill a process, its group, of which it is the leader, and its children; it may have ended before them."""
    children = psutil.Process(leader.pid).children(recursive=True) if leader.poll() is None else []
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    leader.wait()
