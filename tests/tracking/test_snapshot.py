"""SQLite databases that may only be read, in each state in which a writer may have left them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bad_calls import without_root_rights

from gansweep.tracking import snapshot

READ = """
import json, os, sys
from contextlib import closing
from pathlib import Path
from gansweep.tracking import snapshot

before = sorted(os.listdir(Path(sys.argv[1]).parent))
with closing(snapshot.connect(Path(sys.argv[1]))) as database:
    rows = [row for (row,) in database.execute("SELECT word FROM words ORDER BY word")]
unchanged = sorted(os.listdir(Path(sys.argv[1]).parent)) == before
print(json.dumps([rows, unchanged, str(snapshot.readable(Path(sys.argv[1])))]))
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """In WAL mode, with `one` in the file and `two` in its -wal alone, since the process that wrote it was killed."""
    path = tmp_path / "locked" / "store.db"
    path.parent.mkdir()
    program = f"""
import os, sqlite3
database = sqlite3.connect({str(path)!r}, isolation_level=None)
for statement in ("PRAGMA journal_mode=WAL", "CREATE TABLE words (word)", "INSERT INTO words VALUES ('one')",
                  "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO words VALUES ('two')"):
    database.execute(statement).fetchall()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    yield path
    path.parent.chmod(0o755)


def read_locked(path: Path) -> list[str]:
    """What another process reads that may not write there; it must leave the folder as it is, and its copy is gone."""
    path.parent.chmod(0o555)
    command = [*without_root_rights(), sys.executable, "-c", READ, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows, unchanged, copy = json.loads(done.stdout)
    assert unchanged
    assert copy != str(path)
    assert not Path(copy).parent.exists()
    return list(rows)


def test_all_files_of_a_killed_writer(database: Path) -> None:
    assert snapshot.beside(database, "-shm").exists()
    assert read_locked(database) == ["one", "two"]


def test_transactions_of_a_wal_without_its_index(database: Path) -> None:
    snapshot.beside(database, "-shm").unlink()
    assert read_locked(database) == ["one", "two"]


def test_a_database_that_was_closed_in_good_order(database: Path) -> None:
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert [*database.parent.iterdir()] == [database]
    assert read_locked(database) == ["one", "two"]


def test_a_writer_elsewhere(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("INSERT INTO words VALUES ('three')")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO words VALUES ('not committed')")
        assert read_locked(database) == ["one", "three", "two"]


def test_a_changed_database_is_copied_anew(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "is_writable", lambda _: False)  # this process may be root
    first = snapshot.readable(database)
    assert snapshot.readable(database) == first
    with closing(sqlite3.connect(database)) as writer, writer:
        writer.execute("INSERT INTO words VALUES ('three')")
    second = snapshot.readable(database)
    assert second != first
    with closing(sqlite3.connect(second)) as copied:
        assert copied.execute("SELECT count(*) FROM words").fetchone() == (3,)


def test_a_writable_database_is_read_in_its_place(database: Path) -> None:
    assert snapshot.readable(database) == database
