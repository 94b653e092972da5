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
from click.testing import CliRunner
from facts import assert_states

from gansweep.cli.main import cli
from gansweep.records.layout import Home

# One process for many commands, since importing MLflow and torch takes seconds. For each home it prints a list of
# [command, exit code, error]. Arguments: [[working directory, home], …] and the commands.
CALLS = """
import json, os, sys
from click.testing import CliRunner
from gansweep.cli.main import cli
from gansweep.errors import UserError

places, commands = map(json.loads, sys.argv[1:])
for place, home in places:
    os.chdir(place)
    ends = []
    for words in commands:
        result = CliRunner().invoke(cli, [*words, "--home", home])
        error = result.exception if isinstance(result.exception, UserError) else None
        crash = None if error or isinstance(result.exception, SystemExit) else result.exception
        ends.append([words[0], 1 if error else result.exit_code, str(error or crash or "")])
    print(json.dumps(ends))
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
    """A home recorded by version 0.1.0 in another place."""
    home = old_homes.unpack(place)
    yield home
    subprocess.run(["chmod", "-R", "u+w", str(home.path)], check=True)


def called(home: Home, *arguments: str) -> str:
    """stderr of a command in this process, which must succeed."""
    result = CliRunner().invoke(cli, [*arguments, "--home", str(home.path)])
    assert result.exit_code == 0, result.exception
    return result.stderr


def digests(home: Home) -> dict[str, str]:
    """Every file's content; SQLite may rearrange the database and its -wal."""
    files = [path for path in home.path.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lock_up(home: Home) -> tuple[str, ...]:
    """Take all write permission away; what makes even root obey that."""
    subprocess.run(["chmod", "-R", "a-w", str(home.path)], check=True)
    return without_root_rights()


@pytest.mark.slow
def test_a_home_that_may_only_be_read(place: Path) -> None:
    """Without write permission, with and without -shm, and on a read-only mount."""
    homes = {why: old_homes.unpack(place / why) for why in ("locked", "without -shm", "mounted")}
    (homes["without -shm"].path / "mlflow.db-shm").unlink()
    barred = lock_up(homes["locked"]), lock_up(homes["without -shm"])
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    mounted = (tool("unshare"), "--mount", "--map-root-user", "sh", "-c", mount, str(homes["mounted"].path))
    if subprocess.run([*mounted, "true"], capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a folder cannot be mounted here")
    before = {why: digests(home) for why, home in homes.items()}
    for why, home in homes.items():
        shutil.copy(home.sweep("old").source, place / why / "old.yaml")
    places = json.dumps([[str(place / why), str(home.path)] for why, home in homes.items()])
    done = subprocess.run(
        [*mounted, *barred[0], sys.executable, "-c", CALLS, places, json.dumps(READING + WRITING)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for (why, home), line in zip(homes.items(), done.stdout.splitlines(), strict=True):
        ends = [tuple(end) for end in json.loads(line)]
        reason = "Read-only file system" if why == "mounted" else "Permission denied"
        message = (
            f"{home.path}: cannot be written ({reason}); copy it, or name another folder with --home or GANSWEEP_HOME"
        )
        assert ends[: len(READING)] == [(command[0], 0, "") for command in READING], why
        assert ends[len(READING) :] == [(command[0], 1, message) for command in WRITING], why
        assert digests(home) == before[why]
        assert (place / why / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_moved_home_is_read_and_its_images_are_there(home: Home) -> None:
    before = digests(home)
    called(home, "export", "old", "--csv", "csv")
    assert digests(home) == before
    samples = Path("csv/samples.csv").read_text().splitlines()
    assert len(samples) == 4, "a row for each of three sample grids"


def test_paths_are_corrected_once_and_that_is_reported(home: Home) -> None:
    first, second = called(home, "sync", "old"), called(home, "sync", "old")
    corrected = re.compile(
        rf"^{home.path}: its store named artifacts in /tmp/gansweep-recorded-\w+/home/artifacts;"
        rf" it now names those in {home.artifacts}$",
        re.MULTILINE,
    )
    assert corrected.search(first)
    assert not corrected.search(second)
    assert not list(Path("/tmp").glob("gansweep-recorded-*"))


@pytest.mark.slow
def test_the_ui_shows_images_of_a_moved_home_that_may_only_be_read(home: Home) -> None:
    """One that may be written: tests/browser/test_ui.py."""
    (sample,) = home.artifacts.glob("old/*/artifacts/images/*00000200.png")
    run = sample.parents[2].name
    barred = lock_up(home)
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
        _, err = server.communicate(timeout=30)
    assert_states(err, f"{home.path}: ", "read", "copy")
    assert digests(home) == before
