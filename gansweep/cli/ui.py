"""`gansweep ui`: serve the MLflow UI."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import click

from gansweep.cli import options
from gansweep.cli.settle import correct_paths
from gansweep.cli.text import say
from gansweep.engine.loopback import check_loopback
from gansweep.errors import UserError
from gansweep.records.layout import Home
from gansweep.records.writable import check_writable
from gansweep.tracking import places, snapshot
from gansweep.tracking.store import local_uri

START_S = 90.0
# With any port, such as that of `ssh -L`. MLflow's own list includes `10.*`, which matches 10.evil.example.
HOSTS = "127.0.0.1,127.0.0.1:*,localhost,localhost:*"


@click.command()
@options.home_option
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port on 127.0.0.1.")
@click.option(
    "--open/--no-open",
    "browse",
    default=sys.stdout.isatty(),
    help="Open a browser.  [default: on a terminal]",
)
def ui(home_path: Path, port: int, browse: bool) -> None:
    """Serve the MLflow UI for the local tracking store, on this machine only, until Ctrl-C."""
    home = options.home_of(home_path)
    if not home.database.exists():
        raise UserError(f"{home.path}: nothing is recorded yet; `gansweep run FILE` comes first")
    check_loopback()
    _check_port(port)
    store_uri = _served(home)
    url = f"http://127.0.0.1:{port}"
    click.echo("starting the MLflow UI", err=True)
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--backend-store-uri", store_uri]
    command += ["--default-artifact-root", home.artifacts.as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--allowed-hosts", HOSTS]
    # Without job execution MLflow starts two processes instead of ten, in half the time.
    quiet = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    server = subprocess.Popen(
        command,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _wait_until_up(server, url)
        links = _links(home, url) or {"MLflow": url}
        for name, link in links.items():
            click.echo(f"{name}  {link}")
        click.echo("Ctrl-C ends it", err=True)
        if browse:
            import webbrowser

            webbrowser.open(next(iter(links.values())) if len(links) == 1 else url)
        assert server.stderr is not None
        for _ in server.stderr:  # drain, so that it never blocks
            pass
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _end(server)


def _served(home: Home) -> str:
    """Return the URI of the database to serve: the home's own store, or a temporary copy if it is read-only.

    Raises UserError if the database cannot be read.
    """
    if snapshot.is_writable(home.database):
        check_writable(home)
        correct_paths(home, say)
        return local_uri(home)
    try:
        copy = snapshot.readable(home.database)
        places.correct_database(copy, home)
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{home.database}: the tracking store cannot be read ({error})") from None
    note = "is read-only; changes made in the UI go to a temporary copy and are lost"
    say(f"{home.path}: {note}")
    return f"{places.SQLITE}{copy}"


def _links(home: Home, url: str) -> dict[str, str]:
    """Return sweep → link to its page in MLflow's model-training view (the default view is for language models).

    Only sweeps that were last sent to the home's own store have a link. If the file in a sweep's folder that names its
    store is damaged, the file is reported and the sweep has no link.
    """
    experiments = {}
    for folder in home.sweeps():
        try:
            if places.recorded(home, folder) == local_uri(home):
                experiments[folder.name] = places.note(folder)["experiment_id"]
        except UserError as error:
            say(str(error))
    return {
        name: f"{url}/#/experiments/{experiment}/runs?workflowType=machine_learning"
        for name, experiment in experiments.items()
    }


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(f"--port: {port} is taken on this machine; name another, as in --port {port + 1}") from None


def _wait_until_up(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
            return
        time.sleep(0.2)
    _end(server)
    assert server.stderr is not None
    lines = server.stderr.read().decode(errors="replace").strip().splitlines()
    raise UserError(f"the MLflow server did not start: {lines[-1] if lines else 'no output'}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server's process group, which includes its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(3)
            break
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
