"""`gansweep logs`: print the log of a local or remote sweep."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from gansweep.cli import options
from gansweep.errors import UserError
from gansweep.records import lock

LOOK_S, LOOK_REMOTE_S = 0.5, 3.0
BEGIN_S = 60.0  # maximum time until a submitted sweep appears in the store


@click.command()
@click.argument("sweep")
@click.option("--follow", is_flag=True, help="Print new lines until the sweep ends.")
@options.home_option
@options.server_option
def logs(sweep: str, follow: bool, home_path: Path, tracking_uri: str | None) -> None:
    """Print the log of SWEEP: when trials started and ended, and errors."""
    home = options.home_of(home_path)
    if tracking_uri is None:
        folder = options.find_sweep(home, sweep)
        _print(lambda: follow and lock.is_held(folder.lock), lambda: _content(folder.log), LOOK_S)
        return
    from gansweep.tracking.remote import RemoteSweep

    remote = RemoteSweep(home, tracking_uri, sweep)
    if follow:
        _wait_for_begin(remote.status, sweep)
    _print(lambda: follow and remote.is_running(), remote.log, LOOK_REMOTE_S)


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _wait_for_begin(status: Callable[[], str], sweep: str) -> None:
    """Wait until a sweep is running or has ended, since it may just have been submitted.

    Waits at most BEGIN_S seconds while `status` raises UserError (the sweep is unknown) or returns SCHEDULED (it ended
    early and has not been resumed). Raises UserError if the sweep is still unknown then.
    """
    deadline, announced = time.monotonic() + BEGIN_S, False
    while True:
        try:
            if status() != "SCHEDULED" or time.monotonic() > deadline:
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
        if not announced:
            click.echo(f"waiting for {sweep} to start", err=True)
            announced = True
        time.sleep(LOOK_REMOTE_S)


def _print(is_followed: Callable[[], bool], read: Callable[[], str], pause_s: float) -> None:
    """Print a log, and then new lines while the log is followed.

    If the log no longer begins with what was printed, because another home has started a new one, all of it is printed.

    Args:
        is_followed: Returns whether to wait for new lines.
        read: Returns the content of the log.
        pause_s: Seconds between reads.
    """
    printed = ""
    while True:
        running = is_followed()  # before reading, so that the last lines are printed
        text = read()
        click.echo(text.removeprefix(printed), nl=False)
        printed = text
        if not running:
            return
        time.sleep(pause_s)
