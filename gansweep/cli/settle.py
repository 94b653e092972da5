"""`--moved` and `--new-identity`: what a folder that was moved or copied may do with its sweep's records."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gansweep.errors import UserError
from gansweep.records import identity
from gansweep.records.identity import Place, Whereabouts
from gansweep.records.layout import Home, SweepFolder

MOVED, COPIED = "moved", "copied"  # answers
OPTIONS = {MOVED: "--moved", COPIED: "--new-identity"}


def answers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options, as the parameter `answer`, to a command that writes to a tracking store."""
    copied = click.option(
        OPTIONS[COPIED],
        "answer",
        flag_value=COPIED,
        help="The home is a copy: make the sweep in it one of its own, with records of its own.",
    )
    moved = click.option(
        OPTIONS[MOVED],
        "answer",
        flag_value=MOVED,
        help="The home was moved here from another machine: go on with its records.",
    )
    return moved(copied(command))


def settle(
    home: Home, folder: SweepFolder, uri: str, answer: str | None, tell: Callable[[str], None], *, ask_store: bool
) -> None:
    """Make sure that a folder may write its sweep's records, before anything is written, and correct the paths in them
    where the home was moved or copied.

    ask_store: whether to ask the store who wrote last even if the folder is where it was, which takes seconds. A sweep
    in a storage is not checked: all homes that use the storage are one sweep. tell: takes sentences for the user.

    Raises UserError for a copy, unless the answer gives it an identity of its own, and where neither the answer nor
    somebody at a terminal says whether the folder was moved or copied.
    """
    _claim(home, folder, uri, answer, tell, ask_store)
    correct_paths(home, tell)


def correct_paths(home: Home, tell: Callable[[str], None]) -> None:
    """Correct the paths in the records of a home that was moved or copied, and say so once. Raises UserError where its
    store cannot be written."""
    from gansweep.tracking import places

    try:
        former = places.correct(home)
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{home.database}: cannot be written ({error}); run the same command again") from None
    if former:
        tell(f"{home.path}: its store named artifacts in {former}; it now names those in {home.artifacts}")


def _claim(
    home: Home, folder: SweepFolder, uri: str, answer: str | None, tell: Callable[[str], None], ask_store: bool
) -> None:
    """Find out whether the folder may write its sweep's records, and write down that it does."""
    own = identity.ensure(folder)
    if folder.storage.exists():
        return
    if not ask_store and identity.whereabouts(own.place, folder) is Whereabouts.HERE:
        return
    from gansweep.tracking import ownership, store

    with store.asking(uri):
        client = store.client(home, uri)
        owned = ownership.find(client, own.sweep_id)
        holders = [own.place, *([owned.holder] if owned and owned.holder else [])]
        found = {identity.whereabouts(holder, folder): holder for holder in holders}
        doubt = found.get(Whereabouts.COPIED) or found.get(Whereabouts.UNSEEN)
        if doubt and answer == COPIED:
            identity.renew(folder, own_store=not _shares_store(doubt, home, folder))
            tell(f"{folder.name}: is a sweep of its own now, apart from {doubt}")
            return
        if doubt and (Whereabouts.COPIED in found or not (answer == MOVED or _was_moved(doubt, folder))):
            ownership.check_holder(doubt, folder)
        moved = doubt or found.get(Whereabouts.MOVED)
        if moved:
            tell(f"{folder.name}: was moved here from {moved}; its records go on")
        if owned and owned.parent:
            ownership.hold(client, owned.parent, folder)
        identity.settle(folder)


def _shares_store(holder: Place, home: Home, folder: SweepFolder) -> bool:
    """Return whether a home's store is that of the original's home too: the sweep was copied within it, or the store
    is a link."""
    if any(one.path != folder.path and _has_id_of(one, folder) for one in home.sweeps()):
        return True
    if holder.path == str(folder.path.resolve()):
        return False  # that path means another machine's folder
    try:
        return Home(Path(holder.path).parents[1]).database.samefile(home.database)
    except (OSError, IndexError):
        return False


def _has_id_of(other: SweepFolder, folder: SweepFolder) -> bool:
    with contextlib.suppress(UserError):  # a damaged file has no id
        found = identity.read(other)
        return found is not None and found.sweep_id == identity.ensure(folder).sweep_id
    return False


def _was_moved(holder: Place, folder: SweepFolder) -> bool:
    """Ask, where somebody can answer."""
    question = f"the records of {folder.name} were last written from {holder}: was it moved here to {folder.path}?"
    return sys.stdin.isatty() and click.confirm(question, err=True)
