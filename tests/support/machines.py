"""Machines on one machine: network namespaces on a bridge, each with a host name and folders of its own."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

TRIES = 50
# In a mount namespace and a UTS namespace of its own, which `ip netns exec` and `unshare` have made.
NAMED = 'hostname "$1" && shift && exec "$@"'
APART = 'mount -t tmpfs tmpfs "$1" && mkdir -m 1777 "$1/tmp" && shift && ' + NAMED


class NoMachinesError(Exception):
    """Namespaces cannot be made here; the message says why."""


class Machine:
    """address: in the lab's network. private: a folder that is hidden from it, so that it has an empty one there."""

    def __init__(self, name: str, address: str, private: Path | None = None) -> None:
        self.name, self.address, self._private = name, address, private

    def start(self, command: Sequence[object], environment: Mapping[str, str], **how: Any) -> subprocess.Popen[str]:
        """A process there, in a group of its own. how: further arguments of Popen."""
        before = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c"]
        before += [APART, "sh", str(self._private)] if self._private else [NAMED, "sh"]
        whole = [*before, self.name, *map(str, command)]
        return subprocess.Popen(whole, env={**os.environ, **environment}, text=True, start_new_session=True, **how)

    def processes(self) -> list[psutil.Process]:
        """All that run there."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [psutil.Process(int(pid)) for pid in found.stdout.split() if psutil.pid_exists(int(pid))]

    def kill(self) -> None:
        """SIGKILL to all that run there, until nothing does."""
        deadline = time.monotonic() + 20
        while alive := [p for p in self.processes() if _is_alive(p)]:
            assert time.monotonic() < deadline, f"{self.name}: {alive}"
            for process in alive:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.05)


@contextmanager
def network() -> Iterator[Network]:
    """All of it is gone at the end, with every process on its machines."""
    with ExitStack() as stack:
        yield Network(stack)


class Network:
    """A bridge that has the first address of a subnet of its own; servers listen there."""

    def __init__(self, stack: ExitStack) -> None:
        if os.getuid() != 0:
            raise NoMachinesError("network namespaces need root")
        self._stack = stack
        for number in random.sample(range(1, 255), TRIES):
            self._bridge = f"gsl{number}"
            if _try_ip("link", "add", self._bridge, "type", "bridge") is None:
                break
        else:
            why = _try_ip("link", "add", "gsl0", "type", "bridge")
            raise NoMachinesError(f"no network bridge can be made here: {why}")
        stack.callback(_ip, "link", "del", self._bridge)
        self._subnet, self._machines = f"10.77.{number}", 0
        self.address = f"{self._subnet}.1"
        _ip("address", "add", f"{self.address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def machine(self, name: str, private: Path | None = None) -> Machine:
        self._machines += 1
        made = Machine(f"{self._bridge}-{name}", f"{self._subnet}.{1 + self._machines}", private)
        here, there = f"{self._bridge}v{self._machines}", "eth0"
        if why := _try_ip("netns", "add", made.name):
            raise NoMachinesError(f"no network namespace can be made here: {why}")
        self._stack.callback(_ip, "netns", "del", made.name)
        self._stack.callback(made.kill)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", made.name)
        _ip("link", "set", here, "master", self._bridge, "up")
        _ip("-n", made.name, "address", "add", f"{made.address}/24", "dev", there)
        for device in ("lo", there):
            _ip("-n", made.name, "link", "set", device, "up")
        return made


def _ip(*arguments: str) -> None:
    problem = _try_ip(*arguments)
    assert problem is None, f"ip {' '.join(arguments)}: {problem}"


def _try_ip(*arguments: str) -> str | None:
    """What it complained of."""
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "iproute2 is missing"
    return done.stderr.strip() or "failed" if done.returncode else None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
