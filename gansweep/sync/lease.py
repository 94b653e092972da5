"""Lease on a sweep in a storage, which ensures that the sweep has one driver.

File locks do not reach other machines, so a driver writes a heartbeat to the storage. Clocks of machines are not
compared: a driver is alive as long as the content of its heartbeat changes.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gansweep.errors import UserError
from gansweep.sync.periodic import PeriodicTask
from gansweep.sync.storage import Storage, StorageError

BEAT_S = 5.0
SILENT_S = 15.0  # a driver without a heartbeat for this long is considered dead


class Lease:
    """Context manager that holds the lease on a sweep during its block.

    A lease left behind by the same holder is taken over immediately: this process holds the sweep's lock in the home
    folder, so the earlier process has ended.

    Args:
        storage: The storage.
        name: Name of the lease's object in the storage.
        holder: Host and home folder of this driver.
        on_loss: Called, from another thread, when another driver has taken over the lease.

    Raises:
        UserError: A driver with another holder is alive. Raised on entering the block.
    """

    def __init__(self, storage: Storage, name: str, holder: str, on_loss: Callable[[], None]) -> None:
        self._storage, self._name, self._holder, self._on_loss = storage, name, holder, on_loss
        self._token, self._beats = secrets.token_hex(8), 0
        # While the storage is unavailable no other driver can take over unnoticed, so outages are not reported.
        self._task = PeriodicTask(self._keep, BEAT_S, lambda _: None, "")

    def __enter__(self) -> Self:
        found = self._storage.get(self._name)
        if found is not None and json.loads(found)["holder"] != self._holder and self._changes(found):
            raise UserError(
                f"{self._storage.uri}: the sweep is already running ({json.loads(found)['holder']});"
                " wait for it, or end it with `gansweep stop`"
            )
        self._beat()
        self._task.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.stop()
        try:
            if self._is_ours():
                self._storage.delete(self._name)
        except StorageError:
            pass  # the next driver waits for a heartbeat

    def _changes(self, found: bytes) -> bool:
        deadline = time.monotonic() + SILENT_S
        while time.monotonic() < deadline:
            time.sleep(0.5)
            if self._storage.get(self._name) != found:
                return True
        return False

    def _keep(self) -> bool:
        ours = self._is_ours()
        if ours:
            self._beat()
        else:
            self._on_loss()
        return ours

    def _is_ours(self) -> bool:
        found = self._storage.get(self._name)
        return found is not None and json.loads(found)["token"] == self._token

    def _beat(self) -> None:
        self._beats += 1
        content = {"holder": self._holder, "token": self._token, "beats": self._beats}
        self._storage.put(self._name, json.dumps(content).encode())
