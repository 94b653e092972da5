"""`gansweep logs`: what a sweep said while it ran, here or elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from gansweep.cli import options
from gansweep.errors import UserError
from gansweep.records import lock

LOOK_S, LOOK_AFAR_S = 0.5, 3.0
BEGIN_S = 60.0  # a sweep that was just submitted takes so long to be heard of


@click.command()
@click.argument("sweep")
@click.option("--follow", is_flag=True, help="Go on with what is new until the sweep ends.")
@options.home_option
@options.server_option
def logs(sweep: str, follow: bool, home_path: Path, tracking_uri: str | None) -> None:
    """Print what SWEEP said while it ran: what began and ended, and what went wrong."""
    home = options.home_of(home_path)
    if tracking_uri is None:
        folder = options.find_sweep(home, sweep)
        _print(lambda: follow and lock.is_held(folder.lock), lambda: _content(folder.log), LOOK_S)
        return
    from gansweep.tracking.remote import RemoteSweep

    afar = RemoteSweep(home, tracking_uri, sweep)
    if follow:
        _wait_for_begin(afar.status, sweep)
    _print(lambda: follow and afar.is_running(), afar.log, LOOK_AFAR_S)


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _wait_for_begin(status: Callable[[], str], sweep: str) -> None:
    """Of a sweep that is unknown, or that was ended early: it may just have been submitted."""
    deadline, said = time.monotonic() + BEGIN_S, False
    while True:
        try:
            if status() != "SCHEDULED" or time.monotonic() > deadline:
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
        if not said:
            click.echo(f"waiting for {sweep} to begin", err=True)
            said = True
        time.sleep(LOOK_AFAR_S)


def _print(goes_on: Callable[[], bool], read: Callable[[], str], pause_s: float) -> None:
    """What is there, and what is new while it goes on; all of it again where another home began a new log."""
    printed = ""
    while True:
        running = goes_on()  # before it is read: what is said last is in it then
        text = read()
        click.echo(text.removeprefix(printed), nl=False)
        printed = text
        if not running:
            return
        time.sleep(pause_s)
