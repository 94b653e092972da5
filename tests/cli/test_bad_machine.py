"""What is wrong with the machine: too few GPUs, no room, no permission, no tracking server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bad_calls import GOOD, Call, assert_nothing_left, in_subprocess, tool, without_root_rights
from facts import assert_states
from no_locks import without_locks

from gansweep.errors import UserError
from gansweep.gan.cores import cores
from gansweep.planning.resources import gpus
from gansweep.records.layout import Home


def test_more_gpus_than_there_are(call: Call, home: Home) -> None:
    done = in_subprocess("run", "s.yaml", "--set", "resources.gpus=99")
    message = f"resources.gpus: 99 per trial, but there are {gpus()}; set resources.gpus: 0 to train on the CPU\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert_nothing_left(home)


def test_more_cores_than_there_are(call: Call, home: Home) -> None:
    assert call("run", "s.yaml", "--set", "resources.cpus=9999") == (
        f"resources.cpus: 9999 per trial, but there are {cores()}; lower resources.cpus\n"
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
        f"{tmp_path}/100%: the path of the home folder contains '%', which database URIs do not allow; rename it\n"
    )
    assert not (tmp_path / "100%").exists()


def test_disk_too_small_for_the_plan(call: Call, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 9 * 10**9, 10**9))
    err = call("run", "s.yaml", "--set", "replicates=20", "--set", "model.feature_maps=1024")
    assert_states(err, f"{home.path}: ", "MB", "1,000 MB", "retention.checkpoints", "--home")
    assert err.count("\n") == 1
    assert_nothing_left(home)


@pytest.mark.parametrize(
    ("size", "folder", "facts"),
    [
        ("2m", "", ["259 MB", "2 MB", "retention.checkpoints"]),
        ("100k", "cache", ["decoded images", "(No space left on device)"]),
    ],
)
def test_a_small_disk(call: Call, home: Home, size: str, folder: str, facts: list[str]) -> None:
    home.path.mkdir()
    mount = f'mount -t tmpfs -o size={size} none {home.path} && "$@"; code=$?; find {home.path}/ -type f; exit $code'
    before = (tool("unshare"), "--mount", "--map-root-user", "sh", "-c", mount, "sh")
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a tmpfs cannot be mounted here")
    done = in_subprocess("run", "s.yaml", "--set", "model.feature_maps=256", before=before)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert_states(done.stderr, f"{home.path / folder}: ", *facts, "--home")
    assert all(line.startswith(f"{home.cache}/") for line in done.stdout.splitlines())


def test_absent_tracking_server(call: Call, home: Home) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    err = call("run", "s.yaml", "--tracking-uri", uri)
    assert_states(
        err, f"--tracking-uri {uri}: ", "MLflow server", "([Errno 111] Connection refused)", "`gansweep sync`"
    )
    assert err.count("\n") == 1
    assert not home.path.exists()
    err = call("run", "s.yaml", "--tracking-uri", "mlruns")
    assert_states(err, "--tracking-uri mlruns: ", "http://", "https://", "sqlite:///")
    assert not home.path.exists()


def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """`gansweep doctor` with an empty torch, which it imports in two seconds otherwise."""
    (tmp_path / "no-torch").mkdir(exist_ok=True)
    (tmp_path / "no-torch" / "torch.py").touch()
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "no-torch"), prepend=os.pathsep)
        return in_subprocess("doctor", before=before)


def test_a_home_without_any_file_locks(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "sweeps").mkdir(parents=True)
    without_locks(tmp_path / "site", monkeypatch, flock="ENOSYS", fcntl="ENOSYS")
    for command in ("run", "train", "plan"):
        err = call(command, "s.yaml")
        assert_states(err, f"{home}: ", "no file locks", "(Function not implemented)")
        assert err.count("\n") == 1
    assert in_subprocess("status").stderr.startswith(f"no sweeps in {home}")
    done = doctor(tmp_path, monkeypatch)
    assert done.returncode == 1
    assert "BAD  home" in done.stdout
    assert "no file locks" in done.stdout
    assert [path.name for path in home.iterdir()] == ["sweeps"]


def test_loopback_down(call: Call, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (tool("unshare"), "--net", "--map-root-user")
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no network namespace can be made here")
    began = time.monotonic()
    done = in_subprocess("run", "s.yaml", before=before)
    assert time.monotonic() - began < 30
    assert (done.returncode, done.stdout) == (1, "")
    assert_states(done.stderr, "127.0.0.1: ", "(Network is unreachable)", "loopback", "ip link set lo up")
    assert done.stderr.count("\n") == 1
    assert_nothing_left(home)
    assert "BAD  loopback" in doctor(tmp_path, monkeypatch, before).stdout


def test_no_folder_for_scratch_files(call: Call, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/tmp is read-only, and TMPDIR has a path that is too long for Ray's sockets."""
    read_only = "mount --rbind /tmp /tmp; mount -o remount,ro,bind /tmp"
    script = f'mount --bind "$1" "$1"; {read_only}; for at in /var/tmp /dev/shm; do mount -t tmpfs -o ro none $at; done'
    with TemporaryDirectory(dir=Path(__file__).parent, prefix="scratch-") as long:  # the checkout may lie in /tmp
        before = (tool("unshare"), "--mount", "--map-root-user", "sh", "-c", f'{script}; shift; "$@"', "sh", long)
        if subprocess.run([*before, "true"], capture_output=True).returncode:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("a tmpfs cannot be mounted here")
        monkeypatch.setenv("TMPDIR", long)
        monkeypatch.setenv("GANSWEEP_HOME", f"{long}/home")
        Path(long, "s.yaml").write_text(GOOD)
        done = in_subprocess("run", f"{long}/s.yaml", before=before)
        assert (done.returncode, done.stdout) == (1, "")
        assert_states(done.stderr, "scratch", f"{long}: ", "24 bytes", "/tmp: Read-only file system", "TMPDIR")
        assert "BAD  scratch" in doctor(tmp_path, monkeypatch, before).stdout
        monkeypatch.setenv("TMPDIR", "/nonexistent")
        assert "BAD  scratch" in doctor(tmp_path, monkeypatch, before).stdout


@pytest.mark.parametrize("arguments", [["status", "--home", "h"], ["run", "/s.yaml"], ["doctor"], ["status"]])
def test_a_working_directory_that_was_deleted(
    call: Call, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Paths that are relative to it are refused; the rest works."""
    file = str(tmp_path / "s.yaml")
    gone = tmp_path / "gone"
    gone.mkdir()
    before = ("sh", "-c", f'cd {gone} && rmdir {gone} && exec "$@"', "sh")
    if arguments == ["doctor"]:
        done = doctor(tmp_path, monkeypatch, before)
    else:
        done = in_subprocess(*(file if word == "/s.yaml" else word for word in arguments), before=before)
    if arguments in (["doctor"], ["status"]):
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert_states(done.stderr, "working directory", "deleted")
        assert done.stderr.count("\n") == 1


def test_torch_that_cannot_be_imported(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "torch").mkdir(parents=True)
    (tmp_path / "site" / "torch" / "__init__.py").write_text("raise ImportError('libcublas.so.12: cannot open it')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    done = in_subprocess("train", "s.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert_states(done.stderr.splitlines()[-1], "(libcublas.so.12: cannot open it)", "`gansweep doctor`")
    done = in_subprocess("doctor")
    assert done.returncode == 1
    assert "BAD  torch" in done.stdout
    assert "(ImportError: libcublas.so.12: cannot open it)" in done.stdout


def test_a_proxy_before_a_server(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of this machine is asked directly; for another one the message states that a proxy is in between."""
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies of the process's first request
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.org")
    uri = "http://mlflow.invalid:5000"
    assert call("run", "s.yaml", "--tracking-uri", uri) == (
        f"--tracking-uri {uri}: no MLflow server answers ([Errno 111] Connection refused, through the proxy of"
        " http_proxy: if it needs none, add mlflow.invalid to no_proxy); start it, or omit the option and send"
        " the records later with `gansweep sync`\n"
    )

    def reached(*_: object) -> int:
        raise UserError("the server answered")

    monkeypatch.setattr("gansweep.api.training._recorded", reached)
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for host in ("127.0.0.1", "localhost"):
            err = call("run", "s.yaml", "--tracking-uri", f"http://{host}:{server.server_port}")
            assert err == "the server answered\n"
        server.shutdown()
    assert os.environ["no_proxy"].startswith("example.org,")


class Healthy(BaseHTTPRequestHandler):
    """A server that is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_warnings_of_libraries_are_no_errors(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONWARNINGS=error: here a package of ours warns while it is imported."""
    (tmp_path / "site" / "ruamel").mkdir(parents=True)
    (tmp_path / "site" / "ruamel" / "__init__.py").write_text(
        "import pkgutil, warnings; warnings.warn('old', DeprecationWarning)\n"
        "__path__ = pkgutil.extend_path(__path__, __name__)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    done = in_subprocess("validate", "s.yaml")
    assert (done.returncode, done.stderr) == (0, "s.yaml: s, 1 trial\n")


@pytest.fixture
def group() -> Iterator[Path]:
    """A real control group with a quota of one core, if this process may make one."""
    for base, quota in (("cpu", "cpu.cfs_quota_us"), ("", "cpu.max")):
        made = Path("/sys/fs/cgroup", base, f"gansweep-test-{os.getpid()}")
        try:
            made.mkdir()
            (made / quota).write_text("100000")
        except OSError:
            if made.exists():
                made.rmdir()
            continue
        yield made
        made.rmdir()
        return
    (pytest.fail if os.environ.get("CI") else pytest.skip)("no control group with a CPU quota can be made here")


def test_as_many_trials_side_by_side_as_a_cpu_quota_allows(group: Path, call: Call) -> None:
    before = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    done = in_subprocess("plan", "s.yaml", "--no-timing", "--json", before=before)
    assert json.loads(done.stdout)["concurrent"] == 1, done.stderr
