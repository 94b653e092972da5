"""Hold a sweep, so that no other process trains it or extends its records: in its home, and in its storage."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gansweep.errors import UserError
from gansweep.records import lock
from gansweep.records.layout import SweepFolder

if TYPE_CHECKING:
    from gansweep.sync.collector import Collector
    from gansweep.sync.storage import Storage


@contextmanager
def driving(folder: SweepFolder, command: str) -> Iterator[None]:
    """Lock the sweep for this process. Raises UserError if another process has locked it.

    Args:
        folder: Folder of the sweep.
        command: What this process does, for the message in others.
    """
    try:
        held = lock.acquire(folder.lock, f"process {os.getpid()}: {command}", wait_s=0.5)
    except lock.Locked as other:
        raise UserError(
            f"{folder.name} is already running ({other}); wait for it, or stop it with `gansweep stop {folder.name}`"
        ) from None
    with held:
        yield


@contextmanager
def collecting(storage: Storage | None, folder: SweepFolder, tell: Callable[[str], None]) -> Iterator[Collector | None]:
    """Lease the sweep in the storage. Its files are copied to the folder at once and while the block runs.

    The caller has locked the sweep. Yields None without a storage.
    """
    if storage is None:
        yield None
        return
    from gansweep.sync.collector import Collector
    from gansweep.sync.copies import sweep_prefix
    from gansweep.sync.lease import Lease
    from gansweep.sync.storage import StorageError

    collector = Collector(storage, folder, tell)
    holder = f"{socket.gethostname()}:{folder.path}"
    try:
        with Lease(storage, f"{sweep_prefix(folder.name)}/driver", holder, on_loss=folder.stop.touch):
            collector.download()
            with collector:
                yield collector
    except StorageError as error:
        raise UserError(f"--storage {storage.uri}: does not answer ({error}); run the same command again") from None


@contextmanager
def extending(folder: SweepFolder, command: str, tell: Callable[[str], None]) -> Iterator[Storage | None]:
    """Hold a sweep that is in a storage, as its driver does, and yield the storage; None for others.

    Trials of other sweeps have a lock each, so that their records can be extended while the sweep runs.

    Raises:
        UserError: The sweep is running, or its storage cannot be used.
    """
    if not folder.storage.exists():
        yield None
        return
    from gansweep.sync.storage import check, open_storage

    storage = open_storage(folder.storage.read_text())
    check(storage)
    with driving(folder, command), collecting(storage, folder, tell):
        yield storage
