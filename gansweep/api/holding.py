"""Locks in the home and leases in a storage, so that one process at a time trains a sweep or extends its records."""

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
    """Hold the lock of a sweep while the block runs. Raises UserError if another process holds it.

    Args:
        folder: Folder of the sweep.
        command: Command of this process, which other processes name in their error messages.
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
    """Hold the lease on a sweep in its storage while the block runs.

    The sweep's files are downloaded to the folder before the block, and new ones while it runs. The caller must hold
    the lock of the sweep.

    Args:
        storage: Storage of the sweep; None if it has none.
        folder: Folder of the sweep.
        tell: Called with messages for the user.

    Yields:
        The collector that downloads the files; None without a storage.

    Raises:
        UserError: Another driver holds the lease, the sweep is in another storage, or the storage does not answer.
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
    """Hold a sweep while the block adds to the records of its trials.

    A sweep in a storage is locked and leased, as by its driver. Any other sweep is not held: the lock of each trial
    suffices, so that records can be extended while the sweep runs.

    Args:
        folder: Folder of the sweep.
        command: Command of this process, which other processes name in their error messages.
        tell: Called with messages for the user.

    Yields:
        The storage; None for a sweep in no storage.

    Raises:
        UserError: The sweep is in a storage and is running, or its storage cannot be used.
    """
    if not folder.storage.exists():
        yield None
        return
    from gansweep.sync.storage import check, open_storage

    storage = open_storage(folder.storage.read_text())
    check(storage)
    with driving(folder, command), collecting(storage, folder, tell):
        yield storage
