"""A real `mlflow server`, which hands out artifacts itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from prepared import Prepared

from gansweep.records.layout import Home
from gansweep.tracking import store

START_S = 120
USERS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{database}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


class TrackingServer:
    """Over a store and a place for artifacts, once it is begun. environment: more for its process."""

    def __init__(
        self,
        backend: str,
        artifacts: str,
        host: str,
        port: int,
        environment: Mapping[str, str],
        workers: int = 1,
        options: Sequence[str] = (),
    ) -> None:
        self.uri = f"http://{host}:{port}"
        self._command = ["mlflow", "server", "--backend-store-uri", backend]
        self._command += ["--artifacts-destination", artifacts, "--workers", str(workers)]
        self._command += ["--host", host, "--port", str(port), "--allowed-hosts", f"{host}:{port}", *options]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._environment = {**os.environ, **quiet, **environment}

    def start(self) -> None:
        """Returns at once."""
        self._process = Prepared(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + START_S
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return
            assert self._process.poll() is None, "the server did not start"
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.2)

    def kill(self) -> None:
        """With all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def tracking_server(home: Home, workers: int = 1, password: str = "", prompt: bool = False) -> Iterator[str]:
    """A server of a home's store: yields its URI once it answers, and kills it at the end.

    `password`: of the user `admin`, the only one that the server then accepts. `prompt`: whether several workers are to
    answer as soon as one does; see prompt.py.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment, options = {}, list[str]()
    if password:
        options = ["--app-name", "basic-auth"]
        users = home.path.parent / "users.ini"
        users.write_text(USERS.format(database=home.path.parent / "users.db"))
        environment = {"MLFLOW_AUTH_CONFIG_PATH": str(users), "MLFLOW_FLASK_SERVER_SECRET_KEY": password}
        environment |= {"MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": password}
    if prompt:
        site = home.path.parent / "site"
        site.mkdir()
        (site / "sitecustomize.py").symlink_to(Path(__file__).with_name("prompt.py"))
        environment["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    server = TrackingServer(
        store.local_uri(home), home.artifacts.as_uri(), "127.0.0.1", port, environment, workers, options
    )
    server.start()
    try:
        server.wait()
        yield server.uri
    finally:
        server.kill()
