"""The local store is made whole, whenever the process that makes it is killed, and by one of several."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import writers
from bench import empty_home
from mlflow.exceptions import MlflowException

from gansweep.records.layout import Home
from gansweep.tracking import store


@pytest.mark.parametrize("table", ["*", "_alembic_tmp_*"])  # those of the second kind are in the way of a second try
def test_one_that_was_half_made_is_made_anew(home: Home, table: str) -> None:
    home.path.mkdir()
    assert writers.killed_while_making_a_store(home.path, table)
    assert home.unmade.exists()
    client = store.client(home, store.local_uri(home))
    assert [one.name for one in client.search_experiments()] == ["Default"]
    assert not home.unmade.exists()


def test_one_that_is_whole_is_left_alone(tmp_path: Path) -> None:
    home = empty_home(tmp_path / "home")
    store.client(home, store.local_uri(home)).create_experiment("mine")
    again = store.client(home, store.local_uri(home))
    assert "mine" in {one.name for one in again.search_experiments()}


def test_several_that_come_first_make_one(home: Home) -> None:
    home.path.mkdir()
    with ThreadPoolExecutor(4) as pool:
        clients = list(pool.map(lambda _: store.client(home, store.local_uri(home)), range(4)))
    clients[0].create_experiment("mine")
    assert all("mine" in {one.name for one in client.search_experiments()} for client in clients)


def test_an_error_of_the_database_is_raised_and_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = empty_home(tmp_path / "home")
    client = store.client(home, store.local_uri(home))
    experiment = client.create_experiment("s")
    with closing(sqlite3.connect(home.database)) as database:
        database.execute("DROP TABLE experiment_tags")
    with pytest.raises(MlflowException, match="experiment_tags"):
        client.set_experiment_tag(experiment, "key", "value")
    assert not [record for record in caplog.records if record.exc_info]
