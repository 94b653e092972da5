"""SIGKILL at chosen and at random moments, the same command again, and nothing lost, nothing doubled, nothing
trained twice but what no checkpoint held. GANSWEEP_KILL_ROUNDS rounds of the whole command (docs/reliability.md: 20;
the tests: 2), and without Ray every moment inside a process that trains."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mortal
import psutil
import pytest
from facts import assert_states
from scenes import train
from service import Service, assert_equal_weights, assert_tracked_once, histories, leftovers

from gansweep.records.layout import SweepFolder

ROUNDS = int(os.environ.get("GANSWEEP_KILL_ROUNDS", "2"))
CHECKPOINT_EVERY = 10  # service.SMALL
SLOTS = 2  # trials that die with their driver, at most
STEP_S = 0.2  # while kills are to come: so that they find trials at work
# What chaos.py interrupts, in the order of the rounds → what was going on there.
MOMENTS = {
    "checkpoint": "checkpoint writing",
    "published": "metric flushing",
    "handover": "hand-over",
    "checkpointed": "checkpoint writing",
    "journal": "metric flushing",
    "handed": "hand-over",
    "journalled": "metric flushing",
}
SETTINGS: dict[str, Any] = {"steps": 45, "maps": 4, "evaluations": 5, "stop": "none"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_lose_and_double_nothing(chaotic: Service) -> None:
    """In the run that comes to the end, the process of a trial dies while it is handed to the next one."""
    rng = random.Random(int(os.environ.get("GANSWEEP_KILL_SEED", "0")))
    settings = {**SETTINGS, "seeds": 2 * ROUNDS, "rates": "[1e-4, 2e-4, 5e-4, 1e-3]"}
    calm, file = train(chaotic.home, chaotic.write("calm", **settings)), chaotic.write(**settings)
    order, pace = (Path(chaotic.environment[name]) for name in ("CHAOS_ORDER", "CHAOS_PACE"))

    moments = [*itertools.islice(itertools.cycle(MOMENTS), ROUNDS)]
    killed: Counter[str] = Counter()
    pace.write_text(str(STEP_S))
    for moment in moments:
        killed += _round(chaotic, file, moment, rng)
    pace.unlink()
    order.write_text("handover")
    chaotic.call("run", file)

    print(f"{ROUNDS} rounds; killed at random {dict(killed)}")
    _assert_whole(chaotic, calm, [*moments, "handover"], CHECKPOINT_EVERY * killed["trials"])


@pytest.mark.slow
def test_a_process_killed_in_any_moment_of_its_work_loses_and_doubles_nothing(chaotic: Service) -> None:
    """The driver and the process that trains are one here, so that both die in that moment."""
    calm, file = train(chaotic.home, chaotic.write("calm", **SETTINGS)), chaotic.write(**SETTINGS)
    for moment in mortal.MOMENTS:
        Path(chaotic.environment["CHAOS_ORDER"]).write_text(moment)
        assert mortal.train_apart(chaotic.home, file, chaotic.environment) == -signal.SIGKILL, moment
    assert mortal.train_apart(chaotic.home, file, chaotic.environment) == 0
    _assert_whole(chaotic, calm, mortal.MOMENTS, CHECKPOINT_EVERY * len(mortal.MOMENTS))


def _assert_whole(service: Service, calm: SweepFolder, moments: Sequence[str], twice: int) -> None:
    """Assert that processes were killed in these moments, and left what a sweep in calm left, with 1 to `twice` steps
    trained twice."""
    deaths, steps = (Path(service.environment[name]).read_text().splitlines() for name in ("CHAOS_LOG", "CHAOS_STEPS"))
    trained, calm_steps = len(steps), SETTINGS["steps"] * len(calm.planned())
    print(f"killed in {dict(Counter(MOMENTS[line.split()[0]] for line in deaths))}")
    print(f"{trained:,} steps trained, {calm_steps:,} in calm: {trained - calm_steps} twice")
    assert [line.split()[0] for line in deaths] == [*moments]
    assert 0 < trained - calm_steps <= twice, "0: the kills hit nothing"
    assert histories(service.folder("small")) == histories(calm)
    assert_equal_weights(service.folder("small"), calm)
    assert_tracked_once(service)
    assert not [p for p in service.folder().path.rglob(".*") if p.is_file()], "half-written files are left"
    assert all(t["outcome"] == "completed" for t in service.status())


def _round(service: Service, file: Path, moment: str, rng: random.Random) -> Counter[str]:
    """Start the sweep, and kill inside a chosen moment a trial's process, or both it and the driver. A driver that
    survives is killed at a random moment, about every other one after a trial's process. trials: how many may have died
    untimely."""
    killed: Counter[str] = Counter()
    process = service.start("run", file)
    with_driver = rng.random() < 0.5
    order = Path(service.environment["CHAOS_ORDER"])
    order.write_text(f"{moment} {process.pid}" if with_driver else moment)
    service.wait_for(lambda: not order.exists(), 90)
    if with_driver or moment == "published":  # publishing is the driver's own work
        process.communicate()
        return Counter({"trials": SLOTS})
    killed["trials"] += 1
    time.sleep(rng.uniform(0, 3))
    if rng.random() < 0.5 and (found := _trial_processes(process)):
        rng.choice(found).kill()
        killed += {"trial processes": 1, "trials": 1}
        time.sleep(rng.uniform(0, 2))
    assert process.poll() is None, "the sweep ended before its last kill: give it more trials"
    process.kill()
    killed += {"drivers": 1, "trials": SLOTS}
    process.communicate()
    return killed


def _trial_processes(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            if "ray::GanTrial" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group", "parallel"), [(signal.SIGINT, True, 2), (signal.SIGTERM, False, 1), (signal.SIGTERM, True, 1)]
)
def test_first_signal_ends_in_good_order(service: Service, number: int, group: bool, parallel: int) -> None:
    """Running trials checkpoint; those that Tune has queued already are not begun."""
    file = service.write(steps=4000, seeds=2)
    process = service.start("run", file, "--set", f"resources.max_concurrent={parallel}")
    service.wait_for(service.training_began, 240)
    began = time.monotonic()
    (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=15)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + number
    assert_states(err.splitlines()[-1], "of 4 trials", "same command")
    assert leftovers(process.pid) == []
    begun = [trial for trial in service.folder().all_trials() if trial.lock.exists()]
    assert 1 <= len(begun) <= parallel
    outcomes = Counter(t["outcome"] for t in service.status())
    assert outcomes == Counter(interrupted=len(begun), pending=4 - len(begun))
    for trial in begun:
        checkpoints = trial.all_checkpoints()
        assert checkpoints
        # it checkpointed where it was, not at the last cadence
        assert int(checkpoints[-1].stem) >= max([s for s, _ in histories(service.folder())[trial.id]], default=0)


@pytest.mark.slow
def test_second_signal_leaves_at_once(service: Service) -> None:
    file = service.write(steps=4000, rates="[1e-4]")
    process = service.start("run", file)
    service.wait_for(service.training_began, 240)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.05)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=15)
    assert time.monotonic() - began < 2.5
    assert process.returncode == 130
    assert leftovers(process.pid) == []
