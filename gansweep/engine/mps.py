"""NVIDIA's MPS (Multi-Process Service), under which processes that share a GPU run simultaneously instead of in turns.

CUDA makes a process a client of MPS if a control daemon answers in the pipe folder, which is named by the environment
variable CUDA_MPS_PIPE_DIRECTORY. Trials inherit this variable. A run joins a daemon that is already running, or starts
its own. In both cases, engine/mps_watcher.py tests whether the daemon serves clients.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gansweep.engine.ending import sparing

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
DEFAULT_PIPES = "/tmp/nvidia-mps"
ANSWER_S = 5.0  # for the answer to a command
END_S = 20.0  # longer than the watcher needs to end the daemon


@dataclass(frozen=True)
class Sharing:
    """How trials share a GPU.

    Attributes:
        daemon: Description of the control daemon that serves trials; empty if trials on a GPU take turns.
        refused: Why no daemon serves trials; empty if one does, or if trials may not share a GPU.
    """

    daemon: str = ""
    refused: str = ""

    @property
    def active(self) -> bool:
        """Whether trials are clients of MPS."""
        return bool(self.daemon)


@contextmanager
def sharing(folder: Path, wanted: bool) -> Iterator[Callable[[], Sharing]]:
    """Let processes that are started in the block become clients of MPS.

    Args:
        folder: Folder for the files of this run; its path must be short, for sockets.
        wanted: Whether trials may share a GPU of this machine.

    Yields:
        A function that waits until it is known whether clients are served, and returns how trials share a GPU. Call it
        before a GPU is used.
    """
    named = os.environ.get(PIPES)
    there = Path(named or DEFAULT_PIPES).absolute()
    if not wanted:
        yield Sharing
    elif not shutil.which(CONTROL):
        yield lambda: Sharing(refused=f"{CONTROL} is not on the PATH")
    elif servers({**os.environ, PIPES: str(there)}) is not None:
        with _watched(folder, there) as settled:
            yield settled
    elif named:
        yield lambda: Sharing(refused=f"no control daemon answers in {PIPES}={named}")
    else:
        with _watched(folder) as settled:
            yield settled


def servers(environment: Mapping[str, str]) -> list[int] | None:
    """Return the process ids of the servers of the control daemon; None if no daemon answers.

    A daemon starts a server when a client connects.
    """
    try:
        answer = subprocess.run(
            [CONTROL], input="get_server_list\n", env=environment, capture_output=True, text=True, timeout=ANSWER_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.split()
    return None if answer.returncode or not all(map(str.isdigit, lines)) else [int(line) for line in lines]


@contextmanager
def _watched(folder: Path, joined: Path | None = None) -> Iterator[Callable[[], Sharing]]:
    """Set the environment variables of MPS clients, and start the watcher.

    Clients connect through the folder `mps` in the folder of this run, or a link of that name. If clients are not
    served, the watcher removes it, since Ray's processes have inherited the variables by then.

    Args:
        folder: Folder for the files of this run.
        joined: Pipe folder of the daemon to join; None starts a daemon.

    Yields:
        The same function as `sharing`.
    """
    pipes, logs = folder / "mps", folder / "mps-logs"
    try:
        logs.mkdir(mode=0o700)
        if joined:
            pipes.symlink_to(joined)
        else:
            pipes.mkdir(mode=0o700)
    except OSError as error:
        refused = f"{error.filename2 or error.filename}: {error.strerror}"
        yield lambda: Sharing(refused=refused)
        return
    with _environment({PIPES: str(pipes), LOGS: str(logs)}), _watcher(logs / "watcher", joined) as watcher:
        yield lambda: _settled(watcher, joined)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


@contextmanager
def _watcher(log: Path, joined: Path | None) -> Iterator[subprocess.Popen[str]]:
    """Run the watcher during the block.

    Only this process holds the other end of the watcher's standard input, so this input closes when the process ends.

    Args:
        log: File for the watcher's standard error.
        joined: Pipe folder of the daemon to join; None starts a daemon.
    """
    program = [sys.executable, "-P", "-W", "ignore", "-m", "gansweep.engine.mps_watcher", "join" if joined else "start"]
    with log.open("w") as errors:
        watcher = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
    with sparing(watcher.pid):
        try:
            yield watcher
        finally:
            for pipe in filter(None, (watcher.stdin, watcher.stdout)):
                pipe.close()
            with suppress(subprocess.TimeoutExpired):
                watcher.wait(END_S)


def _settled(watcher: subprocess.Popen[str], joined: Path | None) -> Sharing:
    line = watcher.stdout.readline() if watcher.stdout else ""
    if refused := line.strip() or (not line and "its watcher has ended"):
        return Sharing(refused=refused)
    return Sharing(daemon=f"the one in {joined}" if joined else "the run's own")
