"""A real S3-compatible server: moto's, in a process of its own, that forgets everything when it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

BUCKET = "lab"


@dataclass
class ObjectStore:
    """environment: what clients need to reach it."""

    host: str
    port: int
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{self.host}:{self.port}",
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "no-secret-at-all",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """boto3's."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )


@contextmanager
def object_store(host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """With an empty bucket in it. Killed at the end."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    store = ObjectStore(host, port)
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", host, "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(server, host, port)
        store.client().create_bucket(Bucket=BUCKET)
        yield store
    finally:
        server.kill()
        server.wait()


def _wait(server: subprocess.Popen[bytes], host: str, port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError), socket.create_connection((host, port), 2):
            return
        assert server.poll() is None, "the object store did not start"
        assert time.monotonic() < deadline, "the object store did not answer"
        time.sleep(0.1)
