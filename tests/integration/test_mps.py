"""A sweep whose trials share a GPU under MPS: stand-ins for NVIDIA's programs, and trials that train on the CPU."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from mps_machine import Machine, ended
from scenes import warm_home
from service import Service

from gansweep.engine.mps import PIPES

pytestmark = pytest.mark.slow


def test_trials_inherit_the_daemon_of_their_run_which_ends_when_its_driver_is_killed(tmp_path: Path) -> None:
    warm_home(tmp_path / "home")
    machine, log, wait = Machine(tmp_path, "chaos", "crowding"), tmp_path / "log", tmp_path / "wait"
    wait.write_text("0")
    crowding = {"CROWDING_LOG": str(log), "CROWDING_WAIT": str(wait), "CROWDING_LEAST": "{}", "CROWDING_PROBE": "{}"}
    service = Service(tmp_path, {**machine.variables, **crowding})

    driver = service.start("run", service.write(steps=3000), "--set", "resources.gpus=0.5")
    service.wait_for(log.exists, 120)  # a trial has been opened
    processes = machine.processes()
    assert len(processes) == 3  # watcher, daemon, server
    driver.send_signal(signal.SIGKILL)
    _, err = driver.communicate()
    assert ended(processes, 30)
    assert machine.commands[-1] == "quit"
    assert "MPS" not in err
    assert {json.loads(line)["pipes"] for line in log.read_text().splitlines()} == {machine.daemon[PIPES]}
