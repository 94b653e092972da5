"""Processes that write to one tracking store at the same time, and such as are killed while they do.

They are forked by a server that has imported MLflow but opened no store: an import takes seconds, and an open SQLite
connection must not be inherited.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from gansweep.records.layout import Home
from gansweep.tracking import store
from gansweep.tracking.publisher import Publisher

WRITES = ("set_tag", "set_experiment_tag", "create_experiment", "create_run", "log_batch", "log_artifact", "log_dict")
PATIENCE_S = 120

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["writers", "mlflow.store.tracking.sqlalchemy_store"])


def together(calls: list[tuple[Any, ...]]) -> list[int]:
    """Publish each (home, sweep, URI) in a process of its own, all at the same moment; return exit codes."""
    start = CONTEXT.Barrier(len(calls))
    return _ended([CONTEXT.Process(target=_publish_with_others, args=(*call, start)) for call in calls])


def killed(home: Path, sweep: str, uri: str, before_write: int) -> bool:
    """Publish a sweep in a process that is killed before a write to the store, counted from 1; return False where it
    came to its end with fewer."""
    (code,) = _ended([CONTEXT.Process(target=_publish, args=(home, sweep, uri, before_write))])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def killed_while_making_a_store(home: Path, table: str) -> bool:
    """Make a home's store in a process that is killed as soon as there is a table of such a name (a GLOB pattern).

    Return whether it was killed.
    """
    (code,) = _ended([CONTEXT.Process(target=_make_store, args=(home, table))])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _ended(processes: list[Any]) -> list[int]:
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    return [process.exitcode for process in processes]


def _publish_with_others(home: Path, sweep: str, uri: str, start: Any) -> None:
    start.wait(PATIENCE_S)
    _publish(home, sweep, uri, 0)


def _publish(home: Path, sweep: str, uri: str, kill_before: int) -> None:
    place = Home(home)
    if kill_before:
        _kill_before_write(kill_before)
    Publisher(place, place.sweep(sweep), uri, {"gansweep.machine": "a bench"}).publish(running=False)


def _make_store(home: Path, table: str) -> None:
    place = Home(home)
    threading.Thread(target=_die_with_a_table, args=(place.database, table), daemon=True).start()
    store.client(place, store.local_uri(place))


def _die_with_a_table(database: Path, name: str) -> None:
    while True:
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
            if opened.execute("SELECT 1 FROM sqlite_master WHERE name GLOB ?", (name,)).fetchone():
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.0002)


def _kill_before_write(number: int) -> None:
    done = 0

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **more: Any) -> Any:
            nonlocal done
            done += 1
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)

        return write

    for name in WRITES:
        setattr(MlflowClient, name, counting(getattr(MlflowClient, name)))
