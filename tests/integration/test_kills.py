"""SIGKILL at chosen and at random moments, the same command again, and nothing lost, nothing doubled, nothing
trained twice but what no checkpoint held. GANSWEEP_KILL_ROUNDS rounds (docs/reliability.md: 20; the tests: 3, one of
each kind of moment)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import mortal
import psutil
import pytest
from facts import assert_states
from scenes import train
from service import Service, assert_equal_weights, assert_tracked_once, histories, leftovers

from gansweep.records.layout import SweepFolder

ROUNDS = int(os.environ.get("GANSWEEP_KILL_ROUNDS", "3"))
CHECKPOINT_EVERY = 10  # service.SMALL
SLOTS = 2  # trials that die with their driver, at most
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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_lose_and_double_nothing(chaotic: Service) -> None:
    rng = random.Random(int(os.environ.get("GANSWEEP_KILL_SEED", "0")))
    arguments: dict[str, Any] = {"steps": 45, "seeds": 4 * ROUNDS, "maps": 4, "evaluations": 5, "stop": "none"}
    calm_file, file = (chaotic.write(name, rates="[1e-4, 2e-4, 5e-4, 1e-3]", **arguments) for name in ("calm", "small"))
    steps, deaths = Path(chaotic.environment["CHAOS_STEPS"]), Path(chaotic.environment["CHAOS_LOG"])

    calm = train(chaotic.home, calm_file)
    calm_steps = arguments["steps"] * len(calm.planned())

    killed: Counter[str] = Counter()
    for number in range(ROUNDS):
        killed += _round(chaotic, file, list(MOMENTS)[number % len(MOMENTS)], rng)
    chaotic.call("run", file)

    chosen = Counter(MOMENTS[line.split()[0]] for line in deaths.read_text().splitlines())
    trained = len(steps.read_text().splitlines())
    print(f"{ROUNDS} rounds; killed in {dict(chosen)}; killed at random {dict(killed)}")
    print(f"{trained:,} steps trained, {calm_steps:,} in calm: {trained - calm_steps} twice")
    assert all(chosen[moment] >= max(1, ROUNDS // 4) for moment in MOMENTS.values())
    assert sum(chosen.values()) == ROUNDS
    assert 0 < trained - calm_steps <= CHECKPOINT_EVERY * killed["trials"], "0: the kills hit nothing"
    _assert_whole(chaotic, calm)


@pytest.mark.slow
def test_a_process_killed_in_any_moment_of_its_work_loses_and_doubles_nothing(chaotic: Service) -> None:
    """The driver and the process that trains are one here, without Ray, so that both die in that moment."""
    settings: dict[str, Any] = {"steps": 45, "evaluations": 5, "stop": "none"}
    calm, file = train(chaotic.home, chaotic.write("calm", **settings)), chaotic.write(**settings)
    for moment in mortal.MOMENTS:
        Path(chaotic.environment["CHAOS_ORDER"]).write_text(moment)
        assert mortal.train_apart(chaotic.home, file, chaotic.environment) == -signal.SIGKILL, moment
    assert mortal.train_apart(chaotic.home, file, chaotic.environment) == 0
    trained = len(Path(chaotic.environment["CHAOS_STEPS"]).read_text().splitlines())
    assert 0 < trained - 2 * settings["steps"] <= CHECKPOINT_EVERY * len(mortal.MOMENTS), "0: the kills hit nothing"
    _assert_whole(chaotic, calm)


def _assert_whole(service: Service, calm: SweepFolder) -> None:
    """Assert that a killed sweep has left what a sweep in calm left."""
    assert histories(service.folder("small")) == histories(calm)
    assert_equal_weights(service.folder("small"), calm)
    assert_tracked_once(service)
    assert not [p for p in service.folder().path.rglob(".*") if p.is_file()], "half-written files are left"
    assert all(t["outcome"] == "completed" for t in service.status())


def _round(service: Service, file: Path, moment: str, rng: random.Random) -> Counter[str]:
    """Kill inside a chosen moment (a trial's process, or both it and the driver), then at random moments a trial's
    process and the driver, each in a sweep that is training. trials: how many may have died untimely."""
    killed: Counter[str] = Counter()
    process = service.start("run", file)
    with_driver = rng.random() < 0.5
    order = Path(service.environment["CHAOS_ORDER"])
    order.write_text(f"{moment} {process.pid}" if with_driver else moment)
    service.wait_for(lambda: not order.exists(), 90)
    if with_driver or moment == "published":  # publishing is the driver's own work
        process.communicate()
        killed["trials"] += SLOTS
        process = service.start("run", file)
        service.wait_for(lambda: _trial_processes(process), 90)
    else:
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
@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGTERM, True)])
def test_first_signal_ends_in_good_order(service: Service, number: int, group: bool) -> None:
    """Running trials checkpoint; the two that Tune has queued already are not begun."""
    file = service.write(steps=4000, seeds=2)
    process = service.start("run", file, "--set", "resources.max_concurrent=2")
    service.wait_for(service.training_began, 240)
    began = time.monotonic()
    (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=15)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + number
    assert_states(err.splitlines()[-1], "of 4 trials", "same command")
    assert leftovers(process.pid) == []
    begun = [trial for trial in service.folder().all_trials() if trial.lock.exists()]
    assert 1 <= len(begun) <= 2
    outcomes = Counter(t["outcome"] for t in service.status())
    assert outcomes == Counter(interrupted=len(begun), pending=4 - len(begun))
    for trial in begun:
        checkpoints = trial.all_checkpoints()
        assert checkpoints
        # it checkpointed where it was, not at the last cadence
        assert int(checkpoints[-1].stem) >= max([s for s, _ in histories(service.folder())[trial.id]], default=0)


@pytest.mark.slow
def test_second_signal_leaves_at_once(service: Service) -> None:
    file = service.write(steps=4000)
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
