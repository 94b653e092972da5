"""MPS with a stand-in for NVIDIA's control program and another one for CUDA's driver; everything else is real."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gansweep.engine import mps
from gansweep.engine.mps import CONTROL, LOGS, PIPES, Sharing, sharing
from gansweep.records.scratch import SHORT, scratch

SUPPORT = Path(__file__).parents[1] / "support"
DRIVER = """
import json, os, subprocess, sys
from pathlib import Path
from gansweep.engine.ending import kill_descendants, leave_at_once
from gansweep.engine.mps import sharing

with sharing(Path(sys.argv[1]), True) as settled:
    trial = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, close_fds=False)
    found = settled()
    print(json.dumps([found.active, found.note, trial.pid, dict(os.environ)]), flush=True)
    try:
        match sys.stdin.readline().strip():
            case "fail":
                raise RuntimeError
            case "leave":
                leave_at_once(130)
    finally:
        kill_descendants()
"""


class Machine:
    """A folder of programs that comes first on the PATH, and what the stand-ins have recorded."""

    def __init__(self, root: Path) -> None:
        self.programs, self.records = root / "bin", root / "records"
        self.programs.mkdir()
        self.records.mkdir()
        control = self.programs / CONTROL
        control.write_text(f"#!{sys.executable} -SE\n{(SUPPORT / 'mps_control.py').read_text()}")
        control.chmod(0o755)
        (self.programs / "sitecustomize.py").symlink_to(SUPPORT / "mps_cuda.py")

    @property
    def environment(self) -> dict[str, str]:
        """The daemon's."""
        found: dict[str, str] = json.loads((self.records / "daemon").read_text())
        return found

    @property
    def commands(self) -> list[str]:
        file = self.records / "commands"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    for name in (PIPES, LOGS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mps, "DEFAULT_PIPES", str(tmp_path / "nvidia-mps"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(made.programs), os.environ["PATH"]]))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(made.programs), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    monkeypatch.setenv("MPS_RECORDS", str(made.records))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch(SHORT) as made:
        yield made


class Driver:
    """A process that shares GPUs as a run does, and has started a process that stands for a trial."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", DRIVER, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.active, self.note, trial, self.environment = json.loads(self.process.stdout.readline())
        self.trial = psutil.Process(trial)
        processes = psutil.Process(self.process.pid).children(recursive=True)
        self.others = [process for process in processes if process != self.trial]

    def tell(self, line: str) -> int:
        self.process.communicate(line)
        return self.process.returncode


def ended(processes: list[psutil.Process], patience_s: float = 10) -> bool:
    """Whether the processes end; nobody may have waited for them yet."""
    deadline = time.monotonic() + patience_s
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_run_starts_a_daemon_of_its_own_which_sees_all_devices(machine: Machine, folder: Path) -> None:
    before = dict(os.environ)
    with sharing(folder, wanted=True) as settled:
        assert settled() == Sharing(True, "a control daemon of the run")
        pipes, logs = Path(os.environ[PIPES]), Path(os.environ[LOGS])
        for path in (pipes, logs):
            assert path.parent == folder
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        started = machine.environment
        assert (started[PIPES], started[LOGS]) == (str(pipes), str(logs))
        assert "CUDA_VISIBLE_DEVICES" not in started
        assert not any("THREAD_PERCENTAGE" in name for name in {**started, **os.environ})
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert dict(os.environ) == before
    assert machine.commands.count("client") == 1
    assert machine.commands[-1] == "quit"
    assert not psutil.Process().children(recursive=True)


@pytest.mark.parametrize("end", ["success", "fail", "leave", "SIGINT", "SIGKILL"])
def test_the_daemon_and_its_server_end_with_the_run(machine: Machine, folder: Path, end: str) -> None:
    driver = Driver(folder)
    assert driver.active
    assert len(driver.others) == 3  # watcher, daemon, server
    if number := getattr(signal, end, None):
        driver.process.send_signal(number)
    driver.tell("" if number else end)
    assert ended(driver.others)
    assert machine.commands[-1] == "quit"
    if end == "SIGKILL":
        driver.trial.kill()
    assert driver.trial.wait(5) is None


def test_a_deaf_daemon_is_killed_with_its_server(
    machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPS_FAULT", "deaf")
    driver = Driver(folder)
    driver.tell("")
    assert ended(driver.others)
    assert "quit" in machine.commands


def test_without_sharing_nothing_is_started(machine: Machine, folder: Path) -> None:
    with sharing(folder, wanted=False) as settled:
        assert settled() == Sharing()
        assert PIPES not in os.environ
    assert not list(machine.records.iterdir())
