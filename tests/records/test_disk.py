"""Errors that say that a place takes no more: the message, and that nothing half-written is left."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from limits import file_size_limit

from gansweep.records import disk, journal, lock, log
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import write_atomically

LIMIT = 4096


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    record = {f"metric_{n}": 0.1 for n in range(40)}

    def fill(records: Journal) -> None:
        for step in range(1, 100):
            records.append(Record(step, 1.0, record))

    with Journal(path) as records:
        with file_size_limit(LIMIT), pytest.raises(OSError, match=re.escape(str(path))) as caught:
            fill(records)
        assert (disk.lack(caught.value) or "").startswith(f"{path}: exceeds the limit on file sizes; ")
        assert path.read_bytes().endswith(b"}\n"), "no part of a line is left"
        whole = journal.read(path)
        assert 1 < len(whole) == records.last_step < 99
        assert records.append(Record(records.last_step + 1, 1.0, record)), "there is room again"
    assert len(journal.read(path)) == len(whole) + 1


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")
    with file_size_limit(LIMIT), pytest.raises(OSError, match=re.escape(f"'{path}'")):
        write_atomically(path, bytes(LIMIT + 1), durable=True)
    assert (path.read_bytes(), [p.name for p in path.parent.iterdir()]) == (b"old", ["file"])


def test_a_log_and_the_note_of_a_lock_are_not_worth_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with file_size_limit(0):
        log.keep(path, "a sentence")
        with lock.acquire(tmp_path / "lock", "a note"):
            assert lock.is_held(tmp_path / "lock")
    log.keep(tmp_path / "missing" / "log.txt", "a sentence")
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space is left on /proc; free some"),
        (errno.EDQUOT, "your quota on /proc is exhausted; delete files there"),
        (errno.EFBIG, "exceeds the limit on file sizes; raise it (`ulimit -f`)"),
        (errno.EROFS, "/proc is mounted read-only; see `dmesg` for the cause, and mount it writable again"),
        (errno.EIO, "/proc has an input/output error; see `dmesg`, and check the disk and its connection"),
    ],
)
def test_the_file_and_the_disk_are_named(code: int, words: str) -> None:
    assert disk.lack(OSError(code, os.strerror(code), "/proc/self/file")) == f"/proc/self/file: {words}"


def test_a_full_database_is_found_below_what_wraps_it(tmp_path: Path) -> None:

    def fill(database: sqlite3.Connection) -> None:
        try:
            database.execute("insert into t values (zeroblob(100000))")
            database.commit()
        except sqlite3.OperationalError as error:
            raise RuntimeError("the store failed") from error

    with sqlite3.connect(tmp_path / "db") as database:
        database.execute("create table t (x)")
        with pytest.raises(RuntimeError) as caught, file_size_limit(0):
            fill(database)
        with suppress(sqlite3.Error):
            database.rollback()
    assert (disk.lack(caught.value) or "").startswith(f"{disk.DATABASE}: ")


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "Permission denied", "file"), ValueError("no"), KeyError("no")]
)
def test_other_errors_are_something_else(error: Exception) -> None:
    assert disk.lack(error) is None
