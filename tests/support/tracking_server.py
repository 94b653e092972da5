"""A real `mlflow server` on a home's store, which hands out artifacts itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gansweep.records.layout import Home
from gansweep.tracking import store

START_S = 120
USERS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{database}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@contextmanager
def tracking_server(home: Home, workers: int = 1, password: str = "") -> Iterator[str]:
    """Its URI, once it answers. Killed at the end, with all its processes. password: of the user `admin`, whom alone it
    serves then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.local_uri(home)]
    command += ["--artifacts-destination", home.artifacts.as_uri(), "--workers", str(workers)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    if password:
        command += ["--app-name", "basic-auth"]
        users = home.path.parent / "users.ini"
        users.write_text(USERS.format(database=home.path.parent / "users.db"))
        quiet |= {"MLFLOW_AUTH_CONFIG_PATH": str(users), "MLFLOW_FLASK_SERVER_SECRET_KEY": password}
        quiet |= {"MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": password}
    server = subprocess.Popen(
        command,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait(server, f"{uri}/health")
        yield uri
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        assert server.poll() is None, "the server did not start"
        assert time.monotonic() < deadline, "the server did not answer"
        time.sleep(0.2)
