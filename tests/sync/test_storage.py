"""A folder and a real S3-compatible server behave the same."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from gansweep.errors import UserError
from gansweep.sync import storage as module
from gansweep.sync.storage import FolderStorage, Storage, StorageError, check, open_storage, with_retries


def test_what_was_put_is_there_under_its_name(storage: Storage) -> None:
    began = time.time()
    storage.put("a/b/one", b"1")
    storage.put("a/b/one", b"2")
    storage.put("a/two", b"")
    assert (storage.get("a/b/one"), storage.get("a/two")) == (b"2", b"")
    found = storage.names("a")
    assert set(found) == {"b/one", "two"}
    assert all(began - 2 <= at <= time.time() + 2 for at in found.values())
    assert set(storage.names("a/b")) == {"one"}


def test_what_is_not_there_is_none_and_may_be_deleted(storage: Storage) -> None:
    assert (storage.get("a"), storage.names("a")) == (None, {})
    storage.delete("a")
    storage.put("a", b"1")
    storage.delete("a")
    assert storage.get("a") is None


def test_of_several_creators_one_succeeds(storage: Storage) -> None:
    won: list[bool] = []

    def create(content: bytes) -> None:
        won.append(storage.create("x/journal", content))

    threads = [threading.Thread(target=create, args=(b"%d" % n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]
    assert set(storage.names("x")) == {"journal"}


def test_half_written_files_are_no_objects(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.put("a/b", b"1")
    (tmp_path / "a" / ".b.123").write_bytes(b"half")
    assert set(storage.names("a")) == {"b"}


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^--storage .*/file/x: cannot be used \(.*\); name a folder or bucket that"):
        check(open_storage(str(tmp_path / "file" / "x")))


def test_a_store_that_is_away_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match=r"^--storage s3://lab/x: cannot be used \(Could not connect[^\n]*$"):
        check(open_storage("s3://lab/x"))


def test_a_bucket_that_is_missing_is_reported_in_one_line(storage: Storage) -> None:
    if storage.uri.startswith("s3://"):
        with pytest.raises(UserError, match=r"cannot be used \(The specified bucket does not exist\)"):
            check(open_storage("s3://no-such-bucket/x"))


def test_a_usable_one_is_left_empty(storage: Storage) -> None:
    check(storage)
    assert storage.names("") == {}


@pytest.mark.parametrize("uri", ["http://x/y", "gs://x", "file:///x", "S3://x"])
def test_other_schemes_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match=f"^--storage {uri}: give a folder, or s3://bucket/prefix$"):
        open_storage(uri)


def test_keys_in_the_uri_are_refused_and_not_shown() -> None:
    with pytest.raises(UserError, match=r"^--storage: contains a password") as found:
        open_storage("s3://key:hush@lab/x")
    assert "hush" not in str(found.value)


def test_patience_lasts_until_it_answers_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    answers = iter([StorageError("away"), StorageError("away"), 3])

    def call() -> object:
        answer = next(answers)
        if isinstance(answer, StorageError):
            raise answer
        return answer

    assert with_retries(call) == 3
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    def refuse() -> None:
        raise StorageError("away")

    with pytest.raises(StorageError):
        with_retries(refuse)
