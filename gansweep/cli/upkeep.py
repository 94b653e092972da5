"""`gansweep stop`, `sync` and `clean`: stop sweeps, and repair or remove their records."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.cli.settle import answers, settle
from gansweep.cli.text import say, size
from gansweep.errors import UserError
from gansweep.records import identity, lock
from gansweep.records.layout import Home, SweepFolder, TrialFolder
from gansweep.records.writable import check_writable
from gansweep.words import counted

if TYPE_CHECKING:
    from gansweep.sweeps.provenance import Provenance

STOP_S = 30.0
STOP_REMOTE_S = (
    180.0  # its driver checks every few seconds (30 after a failure of the server) and sends the last records
)
LOOK_REMOTE_S = 1.0


@click.command()
@click.argument("sweep", required=False)
@click.argument("trial", required=False)
@click.option("--all", "every", is_flag=True, help="Stop all running sweeps of the home folder.")
@options.home_option
@options.server_option
def stop(sweep: str | None, trial: str | None, every: bool, home_path: Path, tracking_uri: str | None) -> None:
    """Stop SWEEP, or one of its trials (TRIAL), gracefully.

    Running trials write a checkpoint, from which the next `run` resumes.
    """
    home = options.home_of(home_path)
    if every:
        if sweep or tracking_uri:
            raise click.UsageError("--all: ends all sweeps of the home folder; omit SWEEP and --tracking-uri")
        _end(home, {folder.name: folder for folder in home.sweeps() if lock.is_held(folder.lock)})
        return
    if sweep is None:
        raise click.UsageError("name the SWEEP to end, or give --all")
    if tracking_uri:
        if trial:
            raise click.UsageError("--tracking-uri: only whole sweeps can be stopped remotely; omit TRIAL")
        _stop_remote(home, tracking_uri, sweep)
        return
    folder: SweepFolder | TrialFolder = options.find_sweep(home, sweep)
    name = sweep
    if not lock.is_held(folder.lock):
        raise UserError(f"{name} is not running")
    if trial is not None:
        _, folder = options.find_trial(home, f"{sweep}/{trial}")
        name = f"{sweep}/{folder.id}"
        if not lock.is_held(folder.lock):
            raise UserError(f"{name} is not running")
    _end(home, {name: folder})


def _end(home: Home, folders: Mapping[str, SweepFolder | TrialFolder]) -> None:
    """Request sweeps or trials to end, and wait for them. Raises UserError with the names of those still running."""
    check_writable(home)
    for folder in folders.values():
        folder.stop.touch()
    deadline = time.monotonic() + STOP_S
    while running := [name for name, folder in folders.items() if lock.is_held(folder.lock)]:
        if time.monotonic() > deadline:
            raise UserError(f"{', '.join(running)}: asked to stop, but still running after {STOP_S:.0f} s")
        time.sleep(0.1)
    for name in folders:
        click.echo(f"stopped {name}; `gansweep run` resumes it", err=True)


def _stop_remote(home: Home, uri: str, sweep: str) -> None:
    from gansweep.tracking.remote import RemoteSweep

    remote = RemoteSweep(home, uri, sweep)
    if not remote.is_running():
        raise UserError(f"{sweep} is not running")
    remote.ask_to_stop()
    deadline = time.monotonic() + STOP_REMOTE_S
    while remote.is_running():
        if time.monotonic() > deadline:
            raise UserError(f"{sweep}: asked to stop, but still running after {STOP_REMOTE_S:.0f} s according to {uri}")
        time.sleep(LOOK_REMOTE_S)
    click.echo(f"stopped {sweep}; `gansweep submit` or `run` resumes it", err=True)


@click.command()
@click.argument("sweep")
@options.home_option
@options.recorded_uri_option
@click.option("--verify", is_flag=True, help="Compare every value and file in the store (slower).")
@answers
def sync(sweep: str, home_path: Path, tracking_uri: str | None, verify: bool, answer: str | None) -> None:
    """Compare the tracking store of SWEEP with its folder, and send missing records.

    Deleted runs, tags, metrics and artifacts are restored. The command can be repeated at any time.
    """
    from gansweep.tracking import places, store

    home = options.home_of(home_path)
    folder = options.find_sweep(home, sweep)
    check_writable(home)
    uri = store.take_password(tracking_uri or places.recorded(home, folder) or store.local_uri(home))
    store.check(uri)
    settle(home, folder, uri, answer, say, ask_store=True)
    send(home, folder, uri, verify=verify)
    click.echo(f"{sweep}: {uri} is up to date", err=True)


def send(home: Home, folder: SweepFolder, uri: str, *, verify: bool = False) -> None:
    """Send those records of a sweep that the tracking store lacks.

    Args:
        home: The home folder.
        folder: Folder of the sweep.
        uri: URI of the tracking store.
        verify: Whether to compare every value and file in the store, which is slower.

    Raises:
        UserError: The store cannot be reached, or another process is sending records of the sweep.
    """
    from gansweep.tracking import store
    from gansweep.tracking.context import tags
    from gansweep.tracking.publisher import Publisher

    with store.asking(uri):
        publisher = Publisher(home, folder, uri, tags(_provenance(folder)), say)
        try:
            publisher.publish(running=lock.is_held(folder.lock), verify=verify)
        except lock.Locked:
            raise UserError(
                f"{folder.name}: another process is sending its records; try again when it is done"
            ) from None


def _provenance(folder: SweepFolder) -> Provenance:
    """Return the recorded provenance of a sweep. If an older version recorded none, return that of this command."""
    from gansweep.sweeps.provenance import current, provenance_of

    found = provenance_of(folder)
    return found if found.machine else current(Path.cwd())


@click.command()
@click.argument("sweep")
@options.home_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@answers
def clean(sweep: str, home_path: Path, yes: bool, answer: str | None) -> None:
    """Remove SWEEP: its files, including those in its storage, and its runs in the tracking store.

    Other runs and their artifacts are never removed, even if they are in the same experiment.
    """
    from gansweep.sync.copies import remove
    from gansweep.sync.storage import open_storage
    from gansweep.tracking import places, publisher, store

    home = options.home_of(home_path)
    folder = options.find_sweep(home, sweep)
    check_writable(home)
    try:
        held = lock.acquire(folder.lock, "being removed")
    except lock.Locked:
        raise UserError(f"{sweep} is running; stop it first with `gansweep stop {sweep}`") from None
    with held:
        if uri := _store_of(home, folder):
            settle(home, folder, uri, answer, say, ask_store=True)
        artifacts = home.artifacts / sweep
        if link := next((place for place in (folder.path, artifacts) if place.is_symlink()), None):
            raise UserError(f"{link}: is a link, and only files in the home are removed; remove it by hand")
        files = [f for place in (folder.path, artifacts) for f in place.rglob("*") if f.is_file()]
        total = sum(f.stat().st_size for f in files)
        if not yes:
            click.confirm(
                f"remove {sweep}: {counted(len(folder.all_trials()), 'trial')}, {size(total)}, and their MLflow runs?",
                abort=True,
                err=True,
            )
        if uri := _store_of(
            home, folder
        ):  # again, since a sweep with a new identity has no records in its former store
            with store.asking(uri):
                publisher.delete(home, folder, uri, say)
        if folder.storage.exists():
            remove(open_storage(folder.storage.read_text()), sweep)
        own = identity.ensure(folder)
        for place in places.leftovers(home, sweep, (own.sweep_id, *own.joined)):
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(folder.path)
    click.echo(f"removed {sweep}", err=True)


def _store_of(home: Home, folder: SweepFolder) -> str | None:
    """Return the URI of the tracking store that may have records of a sweep; None if there is none."""
    from gansweep.tracking import places, store

    return places.recorded(home, folder) or (store.local_uri(home) if home.database.exists() else None)
