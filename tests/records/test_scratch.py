"""Where scratch folders lie."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gansweep.errors import UserError
from gansweep.records import scratch


@pytest.fixture(autouse=True)
def _named_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)


def test_tmpdir_comes_before_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(prefix="a", dir="/tmp") as named:
        monkeypatch.setenv("TMPDIR", named)
        with scratch.scratch(scratch.SHORT) as made:
            assert made.parent == Path(named)
        assert list(Path(named).iterdir()) == []


def test_a_path_too_long_for_sockets_is_still_good_for_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "deeply" / "nested"
    named.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(named))
    assert scratch.place(scratch.SHORT) in map(Path, scratch.SHORT_PLACES)
    assert scratch.place() == named


def test_a_folder_that_cannot_be_written_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    monkeypatch.setenv("TMP", str(tmp_path))
    assert scratch.place() == tmp_path


def test_names_every_folder_that_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "SHORT_PLACES", ("/nonexistent",))
    monkeypatch.setenv("TMPDIR", "/a/path/that/is/much/too/long/for/sockets")
    with pytest.raises(UserError) as caught:
        scratch.place(24)
    assert str(caught.value) == (
        "no folder for scratch files (/a/path/that/is/much/too/long/for/sockets: a path of more than 24 bytes, too long"
        " for Ray's sockets; /nonexistent: No such file or directory); set TMPDIR to one that can be written, with a"
        " path of at most 24 bytes"
    )


def test_sockets_below_the_longest_place_are_within_the_limit_of_the_system() -> None:
    below = "/gsw-12345678/ray/session_2026-12-31_23-59-59_123456_4194304/sockets/plasma_store"
    assert scratch.SHORT + len(below) <= 107
