"""Identity of a sweep: an id that is created once, kept in the sweep's folder, and attached to all its records.

The file `identity.json` also names the folder that it was written for. If the file is in another folder, the sweep's
folder was moved or copied.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import uuid
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path

from gansweep.errors import UserError
from gansweep.records.layout import SweepFolder, read_json, write_json

ID = re.compile("[0-9a-f]{32}")
DIGITS = 8  # of an id, in labels that people read


class Whereabouts(Enum):
    """What has become of the folder that last held an identity, seen from the folder that holds it now."""

    HERE = "it is this folder"
    MOVED = "it no longer exists, so this folder is its new location"
    COPIED = "it still holds the identity, so this folder is a copy"
    UNSEEN = "it cannot be reached from this machine"


@dataclass(frozen=True)
class Place:
    """A sweep's folder on some machine.

    Attributes:
        host: Host name.
        path: Absolute path.
        inode: Inode of the folder; the same on all machines that share a file system.
    """

    host: str
    path: str
    inode: int

    @classmethod
    def of(cls, folder: SweepFolder) -> Place:
        """Return the place of an existing folder."""
        path = folder.path.resolve()
        return cls(socket.gethostname(), str(path), path.stat().st_ino)

    @classmethod
    def from_json(cls, text: str) -> Place | None:
        """Return the place in the text of a tag of the tracking store; None if a user has made the tag invalid."""
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            found = cls(**json.loads(text))
            if [*map(type, (found.host, found.path, found.inode))] == [str, str, int]:
                return found
        return None

    def to_json(self) -> str:
        """Return the place as JSON text, for a tag in the tracking store."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        return self.path if self.host == socket.gethostname() else f"{self.host}:{self.path}"


@dataclass(frozen=True)
class Identity:
    """Identity of a sweep.

    Attributes:
        sweep_id: 32 hexadecimal digits.
        place: The folder that the identity was written for.
        was: Former ids, oldest first. The home's own tracking store may still hold records of this sweep under them.
        joined: Ids from before the sweep joined a storage, oldest first. Any tracking store may hold records of this
            sweep under them.
        is_renewed: Whether `renew` created the id for this place.
    """

    sweep_id: str
    place: Place
    was: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    is_renewed: bool = False

    def label(self, name: str) -> str:
        """Return a readable name of the sweep that is unique in every tracking store: NAME-xxxxxxxx."""
        return label(name, self.sweep_id)


def label(name: str, sweep_id: str) -> str:
    """Return NAME-xxxxxxxx, with the first digits of the id, which distinguish sweeps of the same name."""
    return f"{name}-{sweep_id[:DIGITS]}"


def read(folder: SweepFolder) -> Identity | None:
    """Return the identity of a sweep; None if it has none yet.

    Raises:
        UserError: The file is damaged.
    """
    data = read_json(folder.identity)
    if not data:
        return None
    try:
        was, joined = (tuple(map(_checked, data.get(key, ()))) for key in ("was", "joined"))
        place, is_renewed = Place(**data["place"]), data.get("is_renewed", False) is True
        return Identity(_checked(data["sweep_id"]), place, was, joined, is_renewed)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder.identity}: damaged ({error!r}); restore it from a copy") from None


def ensure(folder: SweepFolder) -> Identity:
    """Return the identity of a sweep, creating one if needed. Concurrent processes agree on one."""
    if (found := read(folder)) is not None:
        return found
    folder.path.mkdir(parents=True, exist_ok=True)
    part = folder.identity.with_name(f".{folder.identity.name}.{secrets.token_hex(4)}")
    try:
        _write(part, Identity(uuid.uuid4().hex, Place.of(folder)))
        try:
            os.link(part, folder.identity)  # unlike a rename it never replaces the file of another process
        except FileExistsError:
            pass
        except OSError:  # the file system has no hard links
            part.replace(folder.identity)
    finally:
        part.unlink(missing_ok=True)
    made = read(folder)
    assert made is not None
    return made


def to_storage(folder: SweepFolder) -> bytes:
    """Return the content, as JSON, of the file that holds a sweep's id in a storage."""
    return json.dumps({"sweep_id": ensure(folder).sweep_id}).encode()


def take(folder: SweepFolder, content: bytes) -> None:
    """Replace a sweep's id by the id that the sweep has in its storage. The replaced id is kept in Identity.joined.

    Args:
        folder: Folder of the sweep.
        content: Content of the storage's file, as returned by `to_storage`.

    Raises:
        UserError: The content is damaged.
    """
    try:
        sweep_id = _checked(json.loads(content)["sweep_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder.identity.name} of {folder.name}'s storage: damaged ({error!r}); remove it") from None
    own = ensure(folder)
    if own.sweep_id != sweep_id:
        joined = tuple(one for one in (*own.joined, own.sweep_id) if one != sweep_id)
        _write(folder.identity, Identity(sweep_id, Place.of(folder), own.was, joined))


def renew(folder: SweepFolder, *, own_store: bool) -> Identity:
    """Make the sweep in a copied folder a separate sweep: give it a new id, and forget the original's parent run.

    Args:
        folder: The copied folder.
        own_store: Whether the home's own tracking store was copied as well, so that its records belong to the copy.
    """
    old = ensure(folder)
    was = (*old.was, old.sweep_id) if own_store else ()
    new = Identity(uuid.uuid4().hex, Place.of(folder), was, is_renewed=True)
    folder.tracking.unlink(missing_ok=True)
    _write(folder.identity, new)
    return new


def settle(folder: SweepFolder) -> None:
    """Record a folder as the place of the identity that it holds."""
    found, place = ensure(folder), Place.of(folder)
    if found.place != place:
        _write(folder.identity, replace(found, place=place, is_renewed=False))


def forget_former(folder: SweepFolder) -> None:
    """Empty Identity.was. Call this function when no record in the home's own tracking store has a former id."""
    _write(folder.identity, replace(ensure(folder), was=()))


def whereabouts(other: Place, folder: SweepFolder) -> Whereabouts:
    """Compare the folder that last held an identity with the folder that holds it now."""
    here = Place.of(folder)
    if (other.host, other.path) == (here.host, here.path):
        return Whereabouts.HERE
    if other.host != here.host and other.inode == here.inode:
        return Whereabouts.HERE  # on a file system or disk that the machines share, mounted at any path
    mine, there = read(folder), SweepFolder(Path(other.path))
    try:
        inode = there.path.stat().st_ino
        if other.host != here.host and (inode != other.inode or other.path == here.path):
            return Whereabouts.UNSEEN  # the path refers to another folder on that machine
        if there.path.samefile(folder.path):
            return Whereabouts.HERE
        theirs = read(there)
    except (FileNotFoundError, NotADirectoryError):
        return Whereabouts.MOVED if other.host == here.host else Whereabouts.UNSEEN
    except (OSError, UserError):
        return Whereabouts.UNSEEN
    return Whereabouts.COPIED if mine and theirs and mine.sweep_id == theirs.sweep_id else Whereabouts.MOVED


def _checked(sweep_id: object) -> str:
    """Return an id unchanged if it is valid, and so safe in filters of the tracking store.

    Raises:
        ValueError: The id does not consist of 32 hexadecimal digits.
    """
    if not isinstance(sweep_id, str) or not ID.fullmatch(sweep_id):
        raise ValueError(f"{sweep_id!r} is not an id")
    return sweep_id


def _write(path: Path, identity: Identity) -> None:
    write_json(path, asdict(identity), durable=True)
