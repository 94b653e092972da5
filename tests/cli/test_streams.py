"""Whoever read stdout or stderr is gone: `| head`, a closed terminal, closed descriptors, a full device."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
from bad_calls import GOOD
from service import COMMAND

from gansweep.records import outcome
from gansweep.records.layout import Home, RunFolder

UNREAD = 128 + signal.SIGPIPE


def gone(kind: str) -> int:
    """A descriptor to write to, of a pipe or a terminal that nobody reads any more."""
    reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    os.close(reader)
    return writer


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(GOOD)
    return tmp_path


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
@pytest.mark.parametrize("words", [("schema",), ("plan", "s.yaml", "--no-timing"), ("--help",)])
def test_a_command_that_prints_ends_quietly(here: Path, kind: str, words: tuple[str, ...]) -> None:
    done = subprocess.run([*COMMAND, *words], stdout=gone(kind), stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (UNREAD, "")


@pytest.mark.parametrize("words", [("schema",), ("plan", "s.yaml", "--no-timing", "--json")])
def test_output_for_a_full_device_is_an_error(here: Path, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    message = "stdout: cannot be written (No space left on device); send it elsewhere\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_messages_that_nobody_reads_change_no_exit_code(here: Path) -> None:
    for kind in ("pipe", "terminal"):
        done = subprocess.run([*COMMAND, "validate", "no.yaml"], stdout=subprocess.PIPE, stderr=gone(kind), text=True)
        assert (done.returncode, done.stdout) == (1, "")


def trained(home: Home) -> RunFolder:
    """The one run of a home, which has completed and has everything in its log."""
    (path,) = home.runs.iterdir()
    folder = RunFolder(path)
    ended = outcome.read(folder)
    assert ended is not None
    assert (ended.kind, ended.step) == ("completed", 10)
    lines = folder.log.read_text().splitlines()
    assert "10 steps, in" in lines[0]
    assert "completed after 10 steps" in " ".join(lines)
    return folder


TRAIN = (*COMMAND, "train", "s.yaml", "--set", "evaluation.per_run=0")


def test_training_goes_on_where_nothing_can_be_written(here: Path, home: Home) -> None:
    """stdout on a full device; what stderr is shown on, a terminal, is closed before the first line."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*TRAIN, "--json"], stdout=full, stderr=gone("terminal"))
    assert done.returncode == 0
    trained(home)


def test_closed_descriptors_are_not_given_to_files(here: Path, home: Home) -> None:
    """`2>&-`: otherwise the journal, say, is opened as descriptor 2, and gets whatever is printed there."""
    shell = ["sh", "-c", '"$@" <&- 2>&-', "sh", *TRAIN, "--json"]
    done = subprocess.run(shell, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    folder = trained(home)
    assert json.loads(done.stdout)["folder"] == str(folder.path), "messages do not move to stdout"


def test_a_non_blocking_terminal_is_waited_for(here: Path) -> None:
    """Another program that shares the terminal (ssh, node) may have set O_NONBLOCK."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen([*COMMAND, "schema"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    got = b""
    while chunk := os.read(reader, 100):
        got += chunk
    os.close(reader)
    assert process.wait(30) == 0
    assert json.loads(got)["type"] == "object"
    assert process.stderr is not None
    assert process.stderr.read() == b""
