"""`--moved` and `--new-identity`: whether a folder that was moved or copied may write its sweep's records."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gansweep.errors import UserError
from gansweep.records import identity
from gansweep.records.identity import Place, Whereabouts
from gansweep.records.layout import Home, SweepFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MOVED, COPIED = "moved", "copied"  # answers
OPTIONS = {MOVED: "--moved", COPIED: "--new-identity"}


def answers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options to a command that writes to a tracking store; it gets MOVED, COPIED or None as `answer`."""
    copied = click.option(
        OPTIONS[COPIED],
        "answer",
        flag_value=COPIED,
        help="The home is a copy: give its sweep a new identity and separate records.",
    )
    moved = click.option(
        OPTIONS[MOVED],
        "answer",
        flag_value=MOVED,
        help="The home was moved, not copied: continue its records.",
    )
    return moved(copied(command))


def settle(
    home: Home, folder: SweepFolder, uri: str, answer: str | None, tell: Callable[[str], None], *, ask_store: bool
) -> None:
    """Check that a folder may write the records of its sweep, and correct paths if the home was moved or copied.

    Call this before anything is written. A sweep in a storage is not checked, since several homes share it.

    Args:
        home: The home folder.
        folder: Folder of the sweep.
        uri: URI of the tracking store.
        answer: MOVED or COPIED, as given by --moved or --new-identity; None if neither was given.
        tell: Called with messages for the user.
        ask_store: Whether to ask the store which folder wrote last even if this folder was not moved. This takes
            seconds.

    Raises:
        UserError: The folder is a copy without a new identity; or it is not known whether it was moved or copied, and
            neither `answer` nor a user at a terminal tells.
    """
    _claim(home, folder, uri, answer, tell, ask_store)
    correct_paths(home, tell)


def correct_paths(home: Home, tell: Callable[[str], None]) -> None:
    """Correct the paths in the records of a home that was moved or copied. A correction is reported once.

    Raises:
        UserError: The home's own tracking store cannot be written.
    """
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
    """Record that the folder writes the records of its sweep. Raises UserError, as `settle` does, if it may not."""
    own = identity.ensure(folder)
    if folder.storage.exists():
        if answer == COPIED:
            raise UserError(
                f"{OPTIONS[COPIED]}: {folder.name} is in a storage, and homes that use it share one sweep; rename"
                " the sweep to separate it"
            )
        return
    from gansweep.tracking import ownership, places, store

    note = places.note(folder)
    is_here = identity.whereabouts(own.place, folder) is Whereabouts.HERE
    renews = answer == COPIED and not (is_here and own.is_renewed)
    is_shared = uri != store.local_uri(home)
    if is_here and not (ask_store or renews or (is_shared and note and "sweep_id" not in note)):
        return
    with store.asking(uri):
        client = store.client(home, uri)
        if former := ownership.unlabelled_parent(client, folder):
            if is_shared:
                _claim_unlabelled(client, former, folder, uri, answer, tell)
            return  # the home's own store was copied with it; its records get the sweep's id
        owned = ownership.find(client, own.sweep_id)
        holders = [own.place, *([owned.holder] if owned and owned.holder else [])]
        found = {identity.whereabouts(holder, folder): holder for holder in holders}
        doubt = found.get(Whereabouts.COPIED) or found.get(Whereabouts.UNSEEN)
        if renews:
            original = doubt or found.get(Whereabouts.MOVED)
            identity.renew(folder, own_store=not _shares_store(original or own.place, home, folder))
            tell(f"{folder.name}: is now a separate sweep from {original or 'its former records'}")
            return
        if doubt and (Whereabouts.COPIED in found or not (answer == MOVED or _was_moved(doubt, folder))):
            ownership.check_holder(doubt, folder)
        moved = doubt or found.get(Whereabouts.MOVED)
        if moved:
            tell(f"{folder.name}: was moved here from {moved}; its records continue")
        if owned and owned.parent:
            ownership.hold(client, owned.parent, folder)
        identity.settle(folder)


def _claim_unlabelled(
    client: MlflowClient, former: Run, folder: SweepFolder, uri: str, answer: str | None, tell: Callable[[str], None]
) -> None:
    """Let a folder claim records that version 0.1.0 sent to a store that other homes may use as well.

    These records do not name the folder that sent them, so the original cannot be told from a copy. `former` is their
    parent run. Raises UserError if nothing shows that the folder is the original.
    """
    from gansweep.tracking import ownership

    if answer == COPIED:
        identity.renew(folder, own_store=False)
        tell(f"{folder.name}: is now a separate sweep from the records that version 0.1.0 sent to {uri}")
        return
    if not (answer == MOVED or ownership.was_made_for(client, former, folder) or _is_original(folder, uri)):
        raise UserError(
            f"{folder.path}: version 0.1.0 sent its records to {uri}, without recording the folder; add"
            f" {OPTIONS[MOVED]} if it was this one, {OPTIONS[COPIED]} if this is a copy"
        )
    owned = ownership.of_folder(client, folder, tell, own_store=False)
    if owned and owned.parent:
        ownership.hold(client, owned.parent, folder)


def _shares_store(holder: Place, home: Home, folder: SweepFolder) -> bool:
    """Whether the home of `holder`, the original of a copied folder, has the same database as this home.

    It does if the sweep was copied within the home, or if the database of one home is a link to that of the other.
    """
    if any(one.path != folder.path and _has_id_of(one, folder) for one in home.sweeps()):
        return True
    if holder.path == str(folder.path.resolve()):
        return False  # the path belongs to another machine
    try:
        return Home(Path(holder.path).parents[1]).database.samefile(home.database)
    except (OSError, IndexError):
        return False


def _has_id_of(other: SweepFolder, folder: SweepFolder) -> bool:
    with contextlib.suppress(UserError):  # a damaged file has no id
        found = identity.read(other)
        return found is not None and found.sweep_id == identity.ensure(folder).sweep_id
    return False


def _is_original(folder: SweepFolder, uri: str) -> bool:
    """Ask the user whether the folder is the original. Returns False if stdin is not a terminal."""
    question = f"version 0.1.0 sent the records of {folder.name} to {uri}: from {folder.path}, which is not a copy?"
    return sys.stdin.isatty() and click.confirm(question, err=True)


def _was_moved(holder: Place, folder: SweepFolder) -> bool:
    """Ask the user whether the folder was moved here from `holder`. Returns False if stdin is not a terminal."""
    question = f"the records of {folder.name} were last written from {holder}: was it moved here to {folder.path}?"
    return sys.stdin.isatty() and click.confirm(question, err=True)
