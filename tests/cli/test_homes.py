"""Homes that were moved, copied, or may only be read, through the command line: what reads them, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import old_homes
import pytest
from bad_calls import tool, without_root_rights
from facts import assert_states

from gansweep.records.layout import Home

# One process for many commands: importing MLflow takes seconds. Prints [command, exit code, last line of stderr].
CALLS = """
import json, sys
from click.testing import CliRunner
from gansweep.cli.main import cli
from gansweep.errors import UserError

for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, arguments)
    error = result.exception if isinstance(result.exception, UserError) else None
    crash = None if error or isinstance(result.exception, SystemExit) else result.exception
    print(json.dumps([arguments[0], 1 if error else result.exit_code, str(error or crash or "")]))
"""
READING = [
    ["status"],
    ["status", "old"],
    ["show", old_homes.COMPLETED],
    ["logs", "old"],
    ["best", "old"],
    ["compare", old_homes.COMPLETED, old_homes.INTERRUPTED],
    ["sample", old_homes.COMPLETED, "-o", "s.png"],
    ["animate", old_homes.COMPLETED, "-o", "a.gif"],
    ["diagnose", "old"],
    ["export", "old", "--csv", "csv"],
    ["report", "old", "-o", "report.pdf"],
]
WRITING = [
    ["sync", "old"],
    ["clean", "old", "--yes"],
    ["run", "old.yaml"],
    ["train", "old.yaml", "--set", "search=null"],
    ["report", "old", "--log"],
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in that is not the home."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.fixture
def home(place: Path) -> Iterator[Home]:
    """A home recorded by version 0.1.0 in another place, with an image cache of today."""
    home = old_homes.unpack(place)
    shutil.copy(home.sweep("old").source, "old.yaml")
    yield home
    subprocess.run(["chmod", "-R", "u+w", str(home.path)], check=True)


def calls(home: Home, commands: list[list[str]], before: tuple[str, ...] = ()) -> list[tuple[str, int, str]]:
    """(command, exit code, error) of each command."""
    given = json.dumps([[*command, "--home", str(home.path)] for command in commands])
    done = subprocess.run([*before, sys.executable, "-c", CALLS, given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def digests(home: Home) -> dict[str, str]:
    """Every file's content; SQLite may rearrange the database and its -wal."""
    files = [path for path in home.path.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lock_up(home: Home) -> tuple[str, ...]:
    """Take all write permission away; what makes even root obey that."""
    subprocess.run(["chmod", "-R", "a-w", str(home.path)], check=True)
    return without_root_rights()


@pytest.mark.slow
@pytest.mark.parametrize("files", ["as they are", "without -shm", "read-only mount"])
def test_a_home_that_may_only_be_read(home: Home, files: str) -> None:
    if files == "without -shm":
        (home.path / "mlflow.db-shm").unlink()
    before = digests(home)
    if files == "read-only mount":
        mount = f'mount --bind {home.path} {home.path} && mount -o remount,ro,bind {home.path} && exec "$@"'
        barred: tuple[str, ...] = (tool("unshare"), "--mount", "--map-root-user", "sh", "-c", mount, "sh")
        if subprocess.run([*barred, "true"], capture_output=True).returncode:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("a folder cannot be mounted here")
        why = "Read-only file system"
    else:
        barred, why = lock_up(home), "Permission denied"
    found = calls(home, READING + WRITING, barred)
    read, refused = found[: len(READING)], found[len(READING) :]
    assert read == [(command[0], 0, "") for command in READING]
    message = f"{home.path}: cannot be written ({why}); copy it, or name another folder with --home or GANSWEEP_HOME"
    assert refused == [(command[0], 1, message) for command in WRITING]
    assert digests(home) == before
    assert Path("report.pdf").read_bytes().startswith(b"%PDF")


def test_a_moved_home_is_read_and_its_images_are_there(home: Home) -> None:
    before = digests(home)
    assert calls(home, [["export", "old", "--csv", "csv"]]) == [("export", 0, "")]
    assert digests(home) == before
    samples = Path("csv/samples.csv").read_text().splitlines()
    assert len(samples) == 4, "a row for each of three sample grids"


def test_paths_are_corrected_once_and_that_is_said(home: Home) -> None:
    command = [sys.executable, "-m", "gansweep.cli", "sync", "old", "--home", str(home.path)]
    first, second = (subprocess.run(command, capture_output=True, text=True) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    said = re.compile(
        rf"^{home.path}: its store named artifacts in /tmp/gansweep-recorded-\w+/home/artifacts;"
        rf" it now names those in {home.artifacts}$",
        re.MULTILINE,
    )
    assert said.search(first.stderr)
    assert not said.search(second.stderr)
    assert not list(Path("/tmp").glob("gansweep-recorded-*"))


@pytest.mark.slow
@pytest.mark.parametrize("access", ["written", "only read"])
def test_the_ui_shows_images_of_a_moved_home(home: Home, access: str) -> None:
    (sample,) = home.artifacts.glob("old/*/artifacts/images/*00000200.png")
    run = sample.parents[2].name
    barred = lock_up(home) if access == "only read" else ()
    before = digests(home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*barred, sys.executable, "-m", "gansweep.cli", "ui", "--home", str(home.path), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("old  http://127.0.0.1"), server.communicate()
        address = f"http://127.0.0.1:{port}/get-artifact?path=images/{sample.name.replace('+', '%2B')}&run_uuid={run}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.read() == sample.read_bytes()
    finally:
        server.terminate()  # SIGINT is ignored in the background of a shell
        _, said = server.communicate(timeout=30)
    if access == "only read":
        assert_states(said, f"{home.path}: ", "read", "copy")
        assert digests(home) == before
    else:
        assert str(home.artifacts) in said
