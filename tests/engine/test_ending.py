"""How a sweep ends early: a stop file, a time budget, or a signal (in a real process)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from gansweep.engine.ending import Ending, kill_descendants
from gansweep.records.layout import Home, SweepFolder

DRIVER = """
import signal, sys, time
from pathlib import Path
from gansweep.records.layout import SweepFolder
from gansweep.engine import ending as module

for number in module.SIGNALS:  # the tests themselves may run under nohup, or in the background of a script
    signal.signal(number, signal.SIG_DFL)

module.PATIENCE_S = float(sys.argv[2])
ending = module.Ending(SweepFolder(Path(sys.argv[1])), None)
if "child" in sys.argv:
    import subprocess
    with module.shielding_children():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
with ending.catching_signals():
    print("ready", flush=True)
    while not ending.requested():
        time.sleep(0.01)
    print(ending.reason, flush=True)
    time.sleep(60 if "slow" in sys.argv else 0)
sys.exit(128 + (ending.signal or 0))
"""


@pytest.fixture
def folder(home: Home) -> SweepFolder:
    made = home.sweep("s")
    made.path.mkdir(parents=True)
    return made


class Driver:
    """A process that waits for its end as `gansweep run` does. lines: what it printed so far."""

    def __init__(self, folder: SweepFolder, *words: str, patience_s: float = 9.0) -> None:
        command = [sys.executable, "-c", DRIVER, str(folder.path), str(patience_s), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.lines: list[str] = []
        self.wait_for("ready")

    def wait_for(self, line: str) -> None:
        assert self.process.stdout is not None
        while line not in self.lines:
            self.lines.append(self.process.stdout.readline().strip())
            assert self.lines[-1], f"it ended after {self.lines}"


@pytest.fixture
def drivers() -> Iterator[list[Driver]]:
    """To be filled; whatever still lives is killed."""
    made: list[Driver] = []
    yield made
    for driver in made:
        driver.process.kill()
        driver.process.communicate()


def test_goes_on_until_asked(folder: SweepFolder) -> None:
    ending = Ending(folder, None)
    assert not ending.requested()
    folder.stop.touch()
    assert ending.requested()
    assert (ending.reason, ending.signal) == ("stopped on request", None)
    folder.stop.unlink()
    assert ending.requested(), "once asked, always asked"


def test_an_old_stop_file_does_not_end_a_new_run(folder: SweepFolder) -> None:
    folder.stop.touch()
    assert not Ending(folder, None).requested()
    assert not folder.stop.exists()


def test_a_time_budget_asks_trials_to_stop(folder: SweepFolder) -> None:
    ending = Ending(folder, 0.1)
    assert not ending.requested()
    assert not folder.stop.exists()
    time.sleep(0.11)
    assert ending.requested()
    assert ending.reason == "time budget used up"
    assert folder.stop.exists()
    assert Ending(folder, 0.0).requested()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks(folder: SweepFolder, drivers: list[Driver], number: signal.Signals) -> None:
    drivers.append(driver := Driver(folder))
    driver.process.send_signal(number)
    driver.wait_for("Ctrl-C" if number == signal.SIGINT else "SIGTERM")
    assert driver.process.wait(5) == 128 + number
    assert folder.stop.exists()


def test_the_second_signal_leaves_at_once_with_the_first_ones_code(folder: SweepFolder, drivers: list[Driver]) -> None:
    drivers.append(driver := Driver(folder, "slow"))
    driver.process.send_signal(signal.SIGTERM)
    driver.wait_for("SIGTERM")
    driver.process.send_signal(signal.SIGINT)
    assert driver.process.wait(3) == 128 + signal.SIGTERM


def test_patience_ends(folder: SweepFolder, drivers: list[Driver]) -> None:
    drivers.append(driver := Driver(folder, "slow", patience_s=0.3))
    driver.process.send_signal(signal.SIGINT)
    driver.wait_for("Ctrl-C")
    assert driver.process.wait(5) == 128 + signal.SIGINT


def test_children_see_no_signal_but_are_killed_at_the_end(folder: SweepFolder, drivers: list[Driver]) -> None:
    drivers.append(driver := Driver(folder, "child", "slow"))
    child = psutil.Process(int(driver.lines[0]))
    psutil.Process(driver.process.pid).send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    driver.wait_for("Ctrl-C")
    time.sleep(0.2)
    assert child.is_running()
    assert child.status() != psutil.STATUS_ZOMBIE
    driver.process.send_signal(signal.SIGINT)
    assert driver.process.wait(5) == 128 + signal.SIGINT
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_the_end_of_the_terminal_is_no_request_to_end(folder: SweepFolder, drivers: list[Driver]) -> None:
    drivers.append(driver := Driver(folder))
    driver.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert driver.process.poll() is None
    assert not folder.stop.exists()
    driver.process.send_signal(signal.SIGTERM)
    assert driver.process.wait(5) == 128 + signal.SIGTERM


def test_an_ignored_signal_stays_ignored(folder: SweepFolder) -> None:
    """A shell without job control starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Ending(folder, None).catching_signals():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "the handlers are put back"


def test_only_chosen_descendants_are_killed() -> None:
    chosen, other = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2))
    try:
        kill_descendants(lambda process: process.pid == chosen.pid)
        assert chosen.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (chosen, other):
            process.kill()
            process.wait()
