"""Storage that every machine of a sweep can reach: objects with names, in a shared folder or an object store.

Trials are never trained in a storage: sync/copies.py copies their files to and from it.
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
    """The storage does not answer, or refuses a request. It may work later."""


class Storage(Protocol):
    """Objects with names, which are read and written as a whole. Names are relative paths with slashes.

    Every method raises StorageError if the storage is currently unavailable.
    """

    uri: str

    def put(self, name: str, content: bytes) -> None:
        """Write an object atomically, replacing an existing one."""

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists, and return whether it was written. Of concurrent writers, one succeeds."""

    def get(self, name: str) -> bytes | None:
        """Return the content of an object; None if it does not exist."""

    def names(self, prefix: str) -> dict[str, float]:
        """Return, for all objects below a prefix, name relative to it → time of writing in seconds since the epoch."""

    def delete(self, name: str) -> None:
        """Delete an object if it exists."""


def check_uri(uri: str) -> None:
    """Check the URI of a storage.

    Raises:
        UserError: The URI has a scheme other than s3, or contains keys. The message does not show keys.
    """
    scheme, found, place = uri.partition("://")
    if found and "@" in place.partition("/")[0]:
        raise UserError("--storage: contains a password, which would be recorded; set AWS_ACCESS_KEY_ID and the like")
    if found and scheme != "s3":
        raise UserError(f"--storage {uri}: give a folder, or s3://bucket/prefix")


def open_storage(uri: str) -> Storage:
    """Return the storage at a path, or at s3://bucket/prefix (endpoint and keys from AWS's environment variables).

    Raises:
        UserError: The URI is not valid (see `check_uri`), or s3fs is not installed.
    """
    check_uri(uri)
    return ObjectStorage(uri) if uri.startswith("s3://") else FolderStorage(Path(uri))


def check(storage: Storage) -> None:
    """Check that objects in a storage can be written, read and deleted.

    Raises:
        UserError: An object cannot be written, read or deleted.
    """
    name = f".probe-{secrets.token_hex(4)}"
    try:
        storage.put(name, b"gansweep")
        if storage.get(name) != b"gansweep":
            raise StorageError("an object that was just written is missing")
        storage.delete(name)
    except StorageError as error:
        raise UserError(
            f"--storage {storage.uri}: cannot be used ({error}); name a folder or bucket that all machines can write"
        ) from None


def with_retries(call: Callable[[], T]) -> T:
    """Call `call` until the storage answers, and return its result.

    Raises:
        StorageError: The storage did not answer for PATIENCE_S seconds.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except StorageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)


class FolderStorage:
    """Storage in a folder on a file system that all machines share."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.uri = str(self._path)

    def put(self, name: str, content: bytes) -> None:
        with _storage_errors():
            write_atomically(self._path / name, content, durable=True)

    def create(self, name: str, content: bytes) -> bool:
        path = self._path / name
        part = path.parent / f".{path.name}.{secrets.token_hex(4)}"
        with _storage_errors():
            try:
                write_atomically(part, content, durable=True)
                os.link(part, path)  # fails if the file exists, on network file systems as well
                sync_folder(path.parent)
            except FileExistsError:
                return False
            finally:
                part.unlink(missing_ok=True)
        return True

    def get(self, name: str) -> bytes | None:
        with _storage_errors(), contextlib.suppress(FileNotFoundError):
            return (self._path / name).read_bytes()
        return None

    def names(self, prefix: str) -> dict[str, float]:
        folder, found = self._path / prefix, {}
        with _storage_errors():
            for path in folder.rglob("*"):
                # files that are being written have a name with a dot, and may vanish
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file() and not path.name.startswith("."):
                        found[path.relative_to(folder).as_posix()] = path.stat().st_mtime
        return found

    def delete(self, name: str) -> None:
        with _storage_errors():
            (self._path / name).unlink(missing_ok=True)


class ObjectStorage:
    """Storage in a bucket of an object store, accessed through fsspec."""

    def __init__(self, uri: str) -> None:
        import fsspec

        self.uri = uri.rstrip("/")
        try:
            # Listings are not cached, since others write. Nor are clients: fsspec would return one that was forked or
            # closed.
            self._files, root = fsspec.core.url_to_fs(self.uri, use_listings_cache=False, skip_instance_cache=True)
        except ImportError:
            raise UserError(f"--storage {uri}: s3fs is not installed; pip install s3fs") from None
        self._root = PurePosixPath(root)

    def put(self, name: str, content: bytes) -> None:
        with _storage_errors():
            self._files.pipe_file(self._at(name), content)

    def create(self, name: str, content: bytes) -> bool:
        with _storage_errors():
            try:
                self._files.pipe_file(self._at(name), content, mode="create")
            except FileExistsError:
                return False
        return True

    def get(self, name: str) -> bytes | None:
        with _storage_errors(), contextlib.suppress(FileNotFoundError):
            content: bytes = self._files.cat_file(self._at(name))
            return content
        return None

    def names(self, prefix: str) -> dict[str, float]:
        place = PurePosixPath(self._at(prefix))
        with _storage_errors():
            found: dict[str, dict[str, Any]] = self._files.find(str(place), detail=True)
            return {
                PurePosixPath(path).relative_to(place).as_posix(): info["LastModified"].timestamp()
                for path, info in found.items()
            }

    def delete(self, name: str) -> None:
        with _storage_errors(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return str(self._root / name)


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """Convert every error raised in the block, by a file system or a client library, to a StorageError of one line."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(text[:300]) from error
