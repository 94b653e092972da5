"""MPS on a machine of stand-ins for NVIDIA's programs. The watcher, the probe and all signals are real."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from mps_machine import Machine, ended

from gansweep.cli import doctor
from gansweep.cli.main import cli
from gansweep.engine import mps, mps_watcher
from gansweep.engine.mps import CONTROL, LOGS, PIPES, Sharing, sharing
from gansweep.records.scratch import SHORT, scratch

DRIVER = """
import json, os, subprocess, sys
from pathlib import Path
from gansweep.engine.ending import kill_descendants, leave_at_once
from gansweep.engine.mps import sharing

with sharing(Path(sys.argv[1]), True) as settled:
    trial = subprocess.Popen(
        ["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, close_fds=False, start_new_session=True
    )
    try:
        print(json.dumps([settled().active, trial.pid]), flush=True)
        match sys.stdin.readline().strip():
            case "fail":
                raise RuntimeError
            case "leave":
                leave_at_once(130)
    finally:
        kill_descendants()
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """One GPU of two may be used."""
    made = Machine(tmp_path)
    for name in (PIPES, LOGS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mps, "DEFAULT_PIPES", str(tmp_path / "nvidia-mps"))
    for name, value in {**made.variables, "CUDA_VISIBLE_DEVICES": "1"}.items():
        monkeypatch.setenv(name, value)
    yield made
    for process in made.processes():
        process.kill()


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch(SHORT) as made:
        yield made


class Driver:
    """A process that shares GPUs as a run does, and has started a process that stands for a trial."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", DRIVER, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.active, trial = json.loads(self.process.stdout.readline())
        self.trial = psutil.Process(trial)

    def end(self, how: str) -> None:
        if number := getattr(signal, how, None):
            os.killpg(self.process.pid, number)  # as a terminal does
        self.process.communicate("" if number else f"{how}\n")


def test_a_run_starts_a_daemon_of_its_own_which_sees_all_devices(machine: Machine, folder: Path) -> None:
    before = dict(os.environ)
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(daemon="the run's own")
        pipes, logs = Path(os.environ[PIPES]), Path(os.environ[LOGS])
        for path in (pipes, logs):
            assert path.parent == folder
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert (machine.daemon[PIPES], machine.daemon[LOGS]) == (str(pipes), str(logs))
        assert "CUDA_VISIBLE_DEVICES" not in machine.daemon
        assert not any("THREAD_PERCENTAGE" in name for name in {**machine.daemon, **os.environ})
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert dict(os.environ) == before
    assert machine.commands.count("client") == 1
    assert machine.commands[-1] == "quit"
    assert not machine.processes()


@pytest.mark.parametrize("how", ["success", "fail", "leave", "SIGINT", "SIGKILL"])
def test_the_daemon_and_its_server_end_with_the_run(machine: Machine, folder: Path, how: str) -> None:
    driver = Driver(folder)
    assert driver.active
    processes = machine.processes()
    assert len(processes) == 3  # watcher, daemon, server
    driver.end(how)
    assert ended(processes)
    assert machine.commands[-1] == "quit"
    if how == "SIGKILL":
        assert driver.trial.is_running(), "the daemon ended before the trial, which has inherited what can be inherited"
        driver.trial.kill()
    assert ended([driver.trial])


@pytest.mark.parametrize("fault", ["deaf", "leaves"])
def test_a_daemon_that_does_not_quit_in_order_is_killed_with_its_server(
    machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("MPS_FAULT", fault)
    driver = Driver(folder)
    assert driver.active
    processes = machine.processes()
    driver.end("success")
    assert ended(processes, 0)
    assert machine.commands[-1] == "quit"


def test_without_sharing_nothing_is_started(machine: Machine, folder: Path) -> None:
    with sharing(folder, wanted=False) as settled:
        assert settled() == Sharing()
        assert PIPES not in os.environ
    assert not list(machine.records.iterdir())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"MPS_FAULT": "exits"}, f"{CONTROL} exits with code 3 (The GPU is in use)"),
        ({"MPS_FAULT": "alone"}, "a process that uses the GPU does not become a client of the daemon"),
        ({"MPS_CUDA": "CUDA_ERROR_MPS_CONNECTION_FAILED"}, "cuInit: CUDA_ERROR_MPS_CONNECTION_FAILED"),
    ],
)
def test_a_daemon_that_serves_no_client_is_ended_before_trials_start(
    machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str], words: str
) -> None:
    for name, value in fault.items():
        monkeypatch.setenv(name, value)
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(refused=words)
        assert not Path(os.environ[PIPES]).exists(), "CUDA finds nothing to connect to"
        assert not [process for process in machine.processes() if "mps_watcher" not in " ".join(process.cmdline())]


def test_a_client_that_waits_is_no_client(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPS_CUDA", "hangs")
    monkeypatch.setattr(mps_watcher, "PROBE_S", 0.5)
    monkeypatch.setattr(mps_watcher, "ANSWER_S", 0.1)
    read, write = os.pipe()
    with os.fdopen(read) as driver, os.fdopen(write, "w"):
        monkeypatch.setattr(sys, "stdin", driver)
        assert "waits for longer than" in mps_watcher._unserved()
    assert not machine.processes()


def test_without_the_program_trials_take_turns(machine: Machine, folder: Path) -> None:
    (machine.programs / CONTROL).unlink()
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(refused=f"{CONTROL} is not on the PATH")


def test_a_folder_that_cannot_be_written(machine: Machine, folder: Path) -> None:
    (folder / "mps").write_text("")
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(refused=f"{folder}/mps: File exists")
    assert not machine.processes()


@pytest.fixture
def there(machine: Machine, tmp_path: Path) -> Path:
    """Pipe folder of a daemon that an administrator has started."""
    pipes = tmp_path / "nvidia-mps"
    pipes.mkdir()
    daemon = subprocess.Popen([CONTROL, "-f"], env={**os.environ, PIPES: str(pipes)})
    while not (pipes / "control").exists():
        assert daemon.poll() is None
    return pipes


@pytest.mark.parametrize("named", [False, True])
def test_a_daemon_that_is_there_is_joined_and_left(
    machine: Machine, folder: Path, there: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    if named:
        monkeypatch.setattr(mps, "DEFAULT_PIPES", "/nonexistent")
        monkeypatch.setenv(PIPES, str(there))
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(daemon=f"the one in {there}")
        assert Path(os.environ[PIPES]).resolve() == there
    assert os.environ.get(PIPES) == (str(there) if named else None)
    assert "client" in machine.commands
    assert "quit" not in machine.commands
    assert mps.servers({**os.environ, PIPES: str(there)}), "it answers, and has kept its server"


def test_clients_of_a_run_keep_away_from_a_daemon_that_does_not_serve_them(
    machine: Machine, folder: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPS_CUDA", "CUDA_ERROR_MPS_SERVER_NOT_READY")
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(refused="cuInit: CUDA_ERROR_MPS_SERVER_NOT_READY")
        assert not Path(os.environ[PIPES]).exists()
    assert (there / "control").exists()


def test_a_pipe_folder_without_a_daemon_turns_mps_off(
    machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PIPES, "/nonexistent")
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(refused=f"no control daemon answers in {PIPES}=/nonexistent")
        assert os.environ[PIPES] == "/nonexistent"
    assert not machine.processes()


@pytest.mark.parametrize(
    ("fault", "words"), [("", "usable"), ("exits", "not usable, trials on one GPU take turns: nvidia-cuda-mps-control")]
)
def test_doctor_tries_mps_and_leaves_nothing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    monkeypatch.setenv("MPS_FAULT", fault)
    monkeypatch.setattr(doctor, "IMPORTED", ())
    monkeypatch.setattr(doctor, "_gpus", lambda listed: doctor.Finding("GPUs", f"{listed}"))
    shown = CliRunner().invoke(cli, ["doctor", "--home", str(tmp_path / "home")]).stdout
    assert f"ok   MPS            {words}" in shown
    assert not machine.processes()
