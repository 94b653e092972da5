"""The local store is made whole, whenever the process that makes it is killed, and by one of several."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from mlflow.exceptions import MlflowException

from gansweep.records.layout import Home
from gansweep.tracking import store

# Dies when there is a table of such a name.
DIE_HALF_MADE = """
import os, signal, sqlite3, sys, threading, time
from pathlib import Path
from gansweep.records.layout import Home
from gansweep.tracking import store

home = Home(Path(sys.argv[1]))

def watch():
    while True:
        try:
            with sqlite3.connect(f"file:{home.database}?mode=ro", uri=True) as database:
                if database.execute("SELECT 1 FROM sqlite_master WHERE name GLOB ?", (sys.argv[2],)).fetchone():
                    os.kill(os.getpid(), signal.SIGKILL)
        except sqlite3.Error:
            pass
        time.sleep(0.0002)

threading.Thread(target=watch, daemon=True).start()
store.client(home, store.local_uri(home))
"""


@pytest.mark.slow
@pytest.mark.parametrize("table", ["*", "_alembic_tmp_*"])  # those of the second kind are in the way of a second try
def test_one_that_was_half_made_is_made_anew(home: Home, table: str) -> None:
    home.path.mkdir()
    died = subprocess.run([sys.executable, "-c", DIE_HALF_MADE, str(home.path), table], check=False)
    assert died.returncode == -signal.SIGKILL
    assert home.unmade.exists()
    client = store.client(home, store.local_uri(home))
    assert [one.name for one in client.search_experiments()] == ["Default"]
    assert not home.unmade.exists()


def test_one_that_is_whole_is_left_alone(home: Home) -> None:
    home.path.mkdir()
    store.client(home, store.local_uri(home)).create_experiment("mine")
    again = store.client(home, store.local_uri(home))
    assert "mine" in {one.name for one in again.search_experiments()}


def test_several_that_come_first_make_one(home: Home) -> None:
    home.path.mkdir()
    with ThreadPoolExecutor(4) as pool:
        clients = list(pool.map(lambda _: store.client(home, store.local_uri(home)), range(4)))
    clients[0].create_experiment("mine")
    assert all("mine" in {one.name for one in client.search_experiments()} for client in clients)


def test_an_error_of_the_database_is_raised_and_not_logged(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.path.mkdir()
    client = store.client(home, store.local_uri(home))
    experiment = client.create_experiment("s")
    with closing(sqlite3.connect(home.database)) as database:
        database.execute("DROP TABLE experiment_tags")
    with pytest.raises(MlflowException, match="experiment_tags"):
        client.set_experiment_tag(experiment, "key", "value")
    assert not [record for record in caplog.records if record.exc_info]
