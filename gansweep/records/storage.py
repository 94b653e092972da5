"""A place that every machine of a sweep reaches: whole objects by name, in a folder or an object store.

Nothing here is a file of a trial that somebody works in: records/copies.py copies those here and from here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from gansweep.errors import UserError
from gansweep.records.layout import sync_folder, write_atomically

PATIENCE_S = 600.0
RETRY_S = 2.0

T = TypeVar("T")


class StorageError(Exception):
    """The storage does not answer, or refuses; it may answer later."""


class Storage(Protocol):
    """Names are relative, with slashes. Every method raises StorageError where the storage cannot be used now."""

    uri: str

    def put(self, name: str, content: bytes) -> None:
        """All of it or nothing, over what is there."""

    def create(self, name: str, content: bytes) -> bool:
        """The same, but False where something is there already: of several writers one succeeds."""

    def get(self, name: str) -> bytes | None:
        """None where nothing is."""

    def names(self, prefix: str) -> dict[str, float]:
        """Everything below a prefix, by name relative to it, with the time it was written (s since the epoch)."""

    def delete(self, name: str) -> None:
        """Harmless where nothing is."""


def check_uri(uri: str) -> None:
    """Raises UserError for other schemes than s3, and for keys in the URI, which are not shown."""
    scheme, found, place = uri.partition("://")
    if found and "@" in place.partition("/")[0]:
        raise UserError("--storage: has a password in it, which would be recorded; set AWS_ACCESS_KEY_ID and the like")
    if found and scheme != "s3":
        raise UserError(f"--storage {uri}: give a folder, or s3://bucket/prefix")


def open_storage(uri: str) -> Storage:
    """Of a path, or s3://bucket/prefix (endpoint and keys from AWS's environment variables).

    Raises UserError as check_uri does, and where s3fs is not installed.
    """
    check_uri(uri)
    return ObjectStorage(uri) if uri.startswith("s3://") else FolderStorage(Path(uri))


def check(storage: Storage) -> None:
    """Raises UserError unless something can be written there, read, and deleted again."""
    name = f".probe-{secrets.token_hex(4)}"
    try:
        storage.put(name, b"gansweep")
        if storage.get(name) != b"gansweep":
            raise StorageError("what was written is not there")
        storage.delete(name)
    except StorageError as error:
        raise UserError(
            f"--storage {storage.uri}: cannot be used ({error}); name a folder or bucket that all machines can write"
        ) from None


def patiently(call: Callable[[], T]) -> T:
    """Its result, as soon as the storage answers. Raises StorageError where it does not for PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except StorageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)


class FolderStorage:
    """A folder, on a file system that all machines share."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.uri = str(self._path)

    def put(self, name: str, content: bytes) -> None:
        with _said():
            write_atomically(self._path / name, content, durable=True)

    def create(self, name: str, content: bytes) -> bool:
        path = self._path / name
        part = path.parent / f".{path.name}.{secrets.token_hex(4)}"
        with _said():
            try:
                write_atomically(part, content, durable=True)
                os.link(part, path)  # fails where it exists, on network file systems as well
                sync_folder(path.parent)
            except FileExistsError:
                return False
            finally:
                part.unlink(missing_ok=True)
        return True

    def get(self, name: str) -> bytes | None:
        with _said(), contextlib.suppress(FileNotFoundError):
            return (self._path / name).read_bytes()
        return None

    def names(self, prefix: str) -> dict[str, float]:
        folder, found = self._path / prefix, {}
        with _said():
            for path in folder.rglob("*"):
                # what is being written has a name with a dot, and may be gone
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file() and not path.name.startswith("."):
                        found[path.relative_to(folder).as_posix()] = path.stat().st_mtime
        return found

    def delete(self, name: str) -> None:
        with _said():
            (self._path / name).unlink(missing_ok=True)


class ObjectStorage:
    """A bucket, through fsspec."""

    def __init__(self, uri: str) -> None:
        import fsspec

        self.uri = uri.rstrip("/")
        try:
            # Lists are never kept: others write. Clients neither: a forked or ended one would be handed out again.
            self._files, root = fsspec.core.url_to_fs(self.uri, use_listings_cache=False, skip_instance_cache=True)
        except ImportError:
            raise UserError(f"--storage {uri}: s3fs is not installed; pip install s3fs") from None
        self._root = PurePosixPath(root)

    def put(self, name: str, content: bytes) -> None:
        with _said():
            self._files.pipe_file(self._at(name), content)

    def create(self, name: str, content: bytes) -> bool:
        with _said():
            try:
                self._files.pipe_file(self._at(name), content, mode="create")
            except FileExistsError:
                return False
        return True

    def get(self, name: str) -> bytes | None:
        with _said(), contextlib.suppress(FileNotFoundError):
            content: bytes = self._files.cat_file(self._at(name))
            return content
        return None

    def names(self, prefix: str) -> dict[str, float]:
        place = PurePosixPath(self._at(prefix))
        with _said():
            found: dict[str, dict[str, Any]] = self._files.find(str(place), detail=True)
            return {
                PurePosixPath(path).relative_to(place).as_posix(): info["LastModified"].timestamp()
                for path, info in found.items()
            }

    def delete(self, name: str) -> None:
        with _said(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return str(self._root / name)


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Whatever a file system or a client library raises becomes one StorageError of one line."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(text[:300]) from error
