"""What is wrong with the machine: too few GPUs, no room, no permission, no tracking server."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest
from bad_calls import Call, assert_nothing_left, in_subprocess, tool, without_root_rights
from no_locks import without_locks

from gansweep.records.layout import Home
from gansweep.schedule.resources import cores, gpus


def test_more_gpus_than_there_are(call: Call, home: Home) -> None:
    done = in_subprocess("run", "s.yaml", "--set", "resources.gpus=99")
    message = f"resources.gpus: 99 a trial, but there are {gpus()} here; set resources.gpus: 0 to train on the CPU\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert_nothing_left(home)


def test_more_cores_than_there_are(call: Call, home: Home) -> None:
    assert call("run", "s.yaml", "--set", "resources.cpus=9999") == (
        f"resources.cpus: 9999 a trial, but there are {cores()}; lower resources.cpus\n"
    )
    assert_nothing_left(home)


def test_unwritable_home(call: Call, tmp_path: Path) -> None:
    mend = "name another folder with --home or GANSWEEP_HOME\n"
    assert call("run", "s.yaml", "--home", "s.yaml/home") == (
        f"{tmp_path}/s.yaml/home: cannot be written (Not a directory); {mend}"
    )
    assert call("run", "s.yaml", "--home", "/proc/gansweep") == (
        f"/proc/gansweep: cannot be written (No such file or directory); {mend}"
    )
    locked = tmp_path / "locked"
    locked.mkdir(0o500)
    done = in_subprocess("run", "s.yaml", "--home", "locked/home", before=without_root_rights())
    message = f"{locked}/home: cannot be written (Permission denied); {mend}"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert list(locked.iterdir()) == []


def test_a_home_that_sqlite_cannot_name(call: Call, tmp_path: Path) -> None:
    assert call("run", "s.yaml", "--home", "100%") == (
        f"{tmp_path}/100%: the home folder's path holds '%', which database URIs cannot; rename it\n"
    )
    assert not (tmp_path / "100%").exists()


def test_disk_too_small_for_the_plan(call: Call, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 9 * 10**9, 10**9))
    err = call("run", "s.yaml", "--set", "replicates=20", "--set", "model.feature_maps=1024")
    assert re.fullmatch(
        rf"{home.path}: the plan needs up to [\d,]+ MB, 1,000 MB are free;"
        r" lower retention\.checkpoints, or name another disk with --home\n",
        err,
    )
    assert_nothing_left(home)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("2m", "the plan needs up to 103 MB, 2 MB are free; lower retention.checkpoints, or name another disk"),
        ("100k", "the decoded images cannot be written (No space left on device); name another disk"),
    ],
)
def test_a_small_disk(call: Call, home: Home, size: str, message: str) -> None:
    home.path.mkdir()
    mount = f'mount -t tmpfs -o size={size} none {home.path} && "$@"; code=$?; find {home.path}/ -type f; exit $code'
    before = (tool("unshare"), "--mount", "--map-root-user", "sh", "-c", mount, "sh")
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a tmpfs cannot be mounted here")
    done = in_subprocess("run", "s.yaml", "--set", "model.feature_maps=256", before=before)
    place = home.cache if "decoded" in message else home.path
    assert (done.returncode, done.stderr) == (1, f"{place}: {message} with --home\n")
    assert all(line.startswith(f"{home.cache}/") for line in done.stdout.splitlines())


def test_absent_tracking_server(call: Call, home: Home) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    assert call("run", "s.yaml", "--tracking-uri", uri) == (
        f"--tracking-uri {uri}: no MLflow server answers ([Errno 111] Connection refused); start it, or leave"
        " the option away and send the records later with `gansweep sync`\n"
    )
    assert not home.path.exists()
    assert call("run", "s.yaml", "--tracking-uri", "mlruns") == (
        "--tracking-uri mlruns: give http://, https:// or sqlite:///\n"
    )
    assert not home.path.exists()


def test_a_home_without_any_file_locks(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "sweeps").mkdir(parents=True)
    without_locks(tmp_path / "site", monkeypatch, flock="ENOSYS", fcntl="ENOSYS")
    for command in ("run", "train", "plan"):
        err = call(command, "s.yaml")
        assert err.startswith(f"{home}: its file system has no file locks (Function not implemented), "), command
        assert err.count("\n") == 1
    assert in_subprocess("status").stderr == f"no sweeps in {home}; `gansweep run FILE` begins one\n"
    done = in_subprocess("doctor")
    assert done.returncode == 1
    assert "BAD  home" in done.stdout
    assert "no file locks" in done.stdout
    assert [path.name for path in home.iterdir()] == ["sweeps"]
