"""`python -m MODULE …` in processes that are forked from one that has imported MLflow and what Ray depends on.

`gansweep run` takes half of its time for them. Everything else is as in a new process: its id, environment, folder,
streams, signals and session are its own, and it imports sitecustomize, gansweep and Ray itself.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import site
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

# None of gansweep, which chaos.py changes as it is imported, or of Ray, which reads its environment then.
PACKAGES = (
    "aiohttp.web",
    "grpc",
    "mlflow.store.tracking.sqlalchemy_store",
    "opentelemetry.exporter.prometheus",
    "pandas",
    "psutil",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "rich.layout",
    "rich.live",
    "yaml",
)
MOST_BYTES = 2**17  # of a call with its environment
ADOPTION = 36  # PR_SET_CHILD_SUBREAPER of Linux


class Prepared(subprocess.Popen[str]):
    """A process that was forked from the prepared one, as a child of this process.

    Args: the words after `python -m`; `env`, `cwd`, `stdout` and `stderr` as of subprocess.Popen.
    """

    def _execute_child(self, *given: Any) -> None:  # type: ignore[override]
        words, folder, environment = given[0], given[5], given[6]
        *_, out, _, err = given[10:16]
        call = {"words": words, "folder": str(folder or Path.cwd()), "environment": environment}
        self.pid = _fork(json.dumps(call).encode(), (0, out, err))
        self._child_created = True
        self._close_pipe_fds(*given[10:16])  # type: ignore[attr-defined]


def _fork(call: bytes, streams: tuple[int, ...]) -> int:
    """Have the prepared process fork a new child of this process, and return its process id."""
    server = _server()
    _adopt(True)
    try:
        socket.send_fds(server, [call], streams)
        answer = server.recv(64)
    finally:
        _adopt(False)
    assert answer, "the process that is forked has ended"
    return int(answer)


def _adopt(on: bool) -> None:
    """Set whether descendants of this process become its children when their parents end."""
    ctypes.CDLL(None).prctl(ADOPTION, int(on), 0, 0, 0)


@cache
def _server() -> socket.socket:
    """Start the prepared process, which ends with this one, and return the connection to it."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        command = [sys.executable, __file__, str(there.fileno())]
        subprocess.Popen(command, pass_fds=[there.fileno()], start_new_session=True)
    return here


def _serve(connection: socket.socket) -> None:
    """Fork a process for each call that arrives. Its parent ends at once, so that it becomes a child of the caller.

    Returns only at the end of a forked process.
    """
    while True:
        call, streams, _, _ = socket.recv_fds(connection, MOST_BYTES, 3)
        if not call:
            os._exit(0)
        if (between := os.fork()) == 0:
            between = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == between:
                time.sleep(0.001)
            os.setsid()  # before the caller knows the process, and may send signals to its group
            connection.send(str(os.getpid()).encode())
            connection.close()
            given = json.loads(call)
            _become(streams, **given)
            runpy.run_module(given["words"][0], run_name="__main__", alter_sys=True)
            return
        os.waitpid(between, 0)
        for stream in streams:
            os.close(stream)


def _become(streams: list[int], words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Set streams, folder, environment, paths, arguments and signals of this process as those of a new one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for standard, stream in enumerate(streams):
        os.dup2(stream, standard)
        os.close(stream)
    os.chdir(folder)
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(environment)
    given = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [folder, *given, *(entry for entry in sys.path[1:] if entry not in before)]
    sys.argv[1:] = words[1:]
    importlib.invalidate_caches()
    sys.modules.pop("sitecustomize", None)
    site.execsitecustomize()


if __name__ == "__main__":
    gc.set_threshold(50_000, 20, 20)
    for package in PACKAGES:
        importlib.import_module(package)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
