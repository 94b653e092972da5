"""Submission of a sweep to a Ray cluster as a job: its driver runs on the head node, independent of this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from gansweep.errors import UserError
from gansweep.tracking.proxies import through_proxy

CONNECT_S = 5.0
SWEEP, HOME = "gansweep.sweep", "gansweep.home"  # keys of a job's metadata
OVER = ("SUCCEEDED", "FAILED", "STOPPED")


def submit(address: str, sweep: str, home: str, files: Mapping[str, bytes], entrypoint: str) -> str:
    """Submit a sweep and return the id of its job.

    The token is read from RAY_AUTH_MODE and RAY_AUTH_TOKEN.

    Args:
        address: Address of the head's dashboard.
        sweep: Name of the sweep.
        home: Home folder on the head; empty for its default. Sweeps of the same name in different homes are different.
        files: Relative name → content of every file to upload.
        entrypoint: Shell command that is called in a folder with these files.

    Raises:
        UserError: No cluster accepts the job, or a job of this sweep is still running.
    """
    _check_listening(address)
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray prefers an address in the environment over the argument
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for module in ("dashboard.modules.job.sdk", "dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
        logging.getLogger(f"ray.{module}").setLevel(logging.ERROR)
    try:
        client = JobSubmissionClient(address)
        metadata = {SWEEP: sweep, HOME: home}
        running = [job for job in client.list_jobs() if {HOME: "", **(job.metadata or {})} == metadata]
        for job in running:
            if job.status not in OVER:
                raise UserError(f"{sweep} is already running as job {job.submission_id}; wait for it, or stop it first")
        with TemporaryDirectory(prefix="gansweep-") as folder:
            for name, content in files.items():
                Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, name).write_bytes(content)
            environment = {"working_dir": folder}
            return str(client.submit_job(entrypoint=entrypoint, runtime_env=environment, metadata=metadata))
    except AuthenticationError:
        raise UserError(
            f"--address {address}: refuses the token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the cluster"
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"--address {address}: the cluster rejects the job ({what}{through_proxy(address)})") from None


def port_of(url: str) -> int:
    """Return the port of an HTTP or HTTPS URL; if the URL names none, the default port of its scheme.

    Raises:
        ValueError: The port is not a valid number.
    """
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _check_listening(address: str) -> None:
    """Check that a process listens at an address. Without this check, Ray would retry for minutes.

    Raises:
        UserError: The address is malformed, or the connection fails.
    """
    parts = urlsplit(address)
    try:
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError
        port = port_of(address)
    except ValueError:
        raise UserError(f"--address {address}: give the head's dashboard, as http://HEAD:8265") from None
    try:
        socket.create_connection((parts.hostname, port), CONNECT_S).close()
    except OSError as error:
        raise UserError(
            f"--address {address}: no Ray dashboard answers ({error}); a head has one if ray[default] is installed"
        ) from None
