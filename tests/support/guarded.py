"""A sweep that trains until it is stopped, sent to a tracking server that asks for a password."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import chaos
import psutil
from bench import empty_home
from service import Service
from tracking_server import tracking_server

PASSWORD = "tracking/p@ss word"
SECRETS = {"MLFLOW_TRACKING_TOKEN": "tracking-token-0451", "AWS_SECRET_ACCESS_KEY": "storage-secret-0451"}


@dataclass
class Guarded:
    """The sweep `small` and its server.

    Attributes:
        server: Home folder whose store the server has.
        uri: URI of the server, without the password.
        run: Process of `gansweep run`.
        token: Ray's token of that run.
        printed: All that commands printed.
    """

    service: Service
    server: Path
    uri: str
    run: subprocess.Popen[str]
    token: str
    printed: list[str] = field(default_factory=list)

    @property
    def with_password(self) -> str:
        return with_password(self.uri)

    def ask(self, *arguments: object, code: int = 0) -> str:
        """Call a command that trains nothing; keep and return what it prints."""
        text = "".join(self.service.ask(*arguments, code=code))
        self.printed.append(text)
        return text

    def secrets(self) -> list[bytes]:
        words = [PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), self.token, *SECRETS.values()]
        return [word.encode() for word in words]


def with_password(uri: str) -> str:
    return uri.replace("://", f"://admin:{quote(PASSWORD, safe='')}@")


def token_of(run: subprocess.Popen[str]) -> str | None:
    """Ray's token in the environment of a run's processes; None before Ray has begun."""
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            if token := process.environ().get("RAY_AUTH_TOKEN"):
                return token
        except psutil.Error:  # the process has ended
            continue
    return None


@contextmanager
def guarded_sweep(root: Path) -> Iterator[Guarded]:
    """Start the server and the sweep below `root`, and end both afterwards."""
    server = empty_home(root / "server")
    service = Service(root, {**SECRETS, **chaos.environment(root, step_s=0.1)}, fresh=True)
    file = service.write(steps=1_000_000, rates="[1e-4]")
    seldom = ("--set", "cadence={metrics: 10, samples: 100, checkpoints: 5000}")  # few records to send and read
    with tracking_server(server, password=PASSWORD) as uri:
        run = service.start("run", file, *seldom, "--tracking-uri", with_password(uri))
        try:
            service.wait_for(lambda: service.training_began() or run.poll() is not None, 240)
            token = token_of(run)
            assert token, run.communicate()
            yield Guarded(service, server.path, uri, run, token)
        finally:
            if run.poll() is None:
                run.send_signal(signal.SIGINT)
                run.communicate(timeout=60)
