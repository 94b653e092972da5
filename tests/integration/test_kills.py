"""SIGKILL at chosen and at random moments, the same command again, and nothing lost, nothing doubled, nothing
trained twice but what no checkpoint held; and signals that ask a sweep to end.

GANSWEEP_KILL_ROUNDS rounds of the whole command (docs/reliability.md: 20; the tests: 2), and without Ray every moment
inside a process that trains.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mortal
import psutil
import pytest
from facts import assert_states
from faults import differing
from guarded import token_of
from scenes import train, warm_home
from service import Service, assert_checkpointed, assert_tracked_once, final_weights, histories, leftovers

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
SETTINGS: dict[str, Any] = {"steps": 45, "maps": 4, "evaluations": 3, "stop": "none"}
MANY: dict[str, Any] = {**SETTINGS, "seeds": ROUNDS, "rates": "[1e-4, 2e-4, 5e-4, 1e-3]"}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """The sweep of MANY, uninterrupted; its first seed has the trials of SETTINGS as well."""
    service = Service(tmp_path_factory.mktemp("calm"), {})
    return train(warm_home(service.home.path), service.write(**MANY))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_lose_and_double_nothing(chaotic: Service, calm: SweepFolder) -> None:
    """In the run that comes to the end, the process of a trial dies while it is handed to the next one."""
    rng = random.Random(int(os.environ.get("GANSWEEP_KILL_SEED", "0")))
    file, ends = chaotic.write(**MANY), itertools.cycle((_leave_at_once, _kill))
    order, pace = (Path(chaotic.environment[name]) for name in ("CHAOS_ORDER", "CHAOS_PACE"))

    moments = [*itertools.islice(itertools.cycle(MOMENTS), ROUNDS)]
    killed: Counter[str] = Counter()
    tokens: list[str] = []
    pace.write_text(str(STEP_S))
    for moment in moments:
        process = chaotic.start("run", file)
        killed += _round(chaotic, process, moment, rng, ends, tokens)
        process.communicate()
    pace.unlink()
    order.write_text("handover")
    _, err = chaotic.call("run", file, "--set", "resources.max_concurrent=1")  # one process: half the imports
    assert_states(err, "process died", "checkpoint")
    assert "Traceback" not in err

    print(f"{ROUNDS} rounds; killed at random {dict(killed)}")
    assert all(re.fullmatch("[0-9a-f]{64}", token) for token in tokens)
    assert len({*tokens}) == ROUNDS, "every run has a token of its own"
    _assert_whole(chaotic, calm, [*moments, "handover"], CHECKPOINT_EVERY * killed["trials"])


@pytest.mark.slow
def test_a_process_killed_in_any_moment_of_its_work_loses_and_doubles_nothing(
    chaotic: Service, calm: SweepFolder
) -> None:
    """The driver and the process that trains are one here, so that both die in that moment."""
    file = chaotic.write(**SETTINGS)
    for moment in mortal.MOMENTS:
        Path(chaotic.environment["CHAOS_ORDER"]).write_text(moment)
        assert mortal.train_apart(chaotic.home, file, chaotic.environment) == -signal.SIGKILL, moment
    assert mortal.train_apart(chaotic.home, file, chaotic.environment) == 0
    _assert_whole(chaotic, calm, mortal.MOMENTS, CHECKPOINT_EVERY * len(mortal.MOMENTS))


def _assert_whole(service: Service, calm: SweepFolder, moments: Sequence[str], twice: int) -> None:
    """Assert that processes were killed in these moments, and left what the same trials left in calm, with 1 to `twice`
    steps trained twice."""
    deaths, steps = (Path(service.environment[name]).read_text().splitlines() for name in ("CHAOS_LOG", "CHAOS_STEPS"))
    trials = {trial.id for trial in service.folder().planned()}
    trained, calm_steps = len(steps), SETTINGS["steps"] * len(trials)
    print(f"killed in {dict(Counter(MOMENTS[line.split()[0]] for line in deaths))}")
    print(f"{trained:,} steps trained, {calm_steps:,} in calm: {trained - calm_steps} twice")
    assert [line.split()[0] for line in deaths] == [*moments]
    assert 0 < trained - calm_steps <= twice, "0: the kills hit nothing"
    expected, weights = histories(calm), final_weights(calm)
    assert histories(service.folder()) == {trial: expected[trial] for trial in trials}
    assert differing(final_weights(service.folder()), {trial: weights[trial] for trial in trials}) == 0
    assert_tracked_once(service)
    assert not [p for p in service.folder().path.rglob(".*") if p.is_file()], "half-written files are left"
    assert all(t["outcome"] == "completed" for t in service.status())


def _round(
    service: Service,
    process: subprocess.Popen[str],
    moment: str,
    rng: random.Random,
    ends: Iterator[Callable[[Service, subprocess.Popen[str]], None]],
    tokens: list[str],
) -> Counter[str]:
    """Kill inside a chosen moment a trial's process, or both it and the driver. A driver that survives is ended at a
    random moment, about every other one after a trial's process. trials: how many may have died untimely."""
    killed: Counter[str] = Counter()
    with_driver = rng.random() < 0.5
    service.wait_for(lambda: token_of(process), 90)
    tokens.append(str(token_of(process)))
    order = Path(service.environment["CHAOS_ORDER"])
    order.write_text(f"{moment} {process.pid}" if with_driver else moment)
    service.wait_for(lambda: not order.exists(), 90)
    if with_driver or moment == "published":  # publishing is the driver's own work
        return Counter({"trials": SLOTS})
    killed["trials"] += 1
    time.sleep(rng.uniform(0, 3))
    if rng.random() < 0.5 and (found := _trial_processes(process)):
        rng.choice(found).kill()
        killed += {"trial processes": 1, "trials": 1}
        time.sleep(rng.uniform(0, 2))
    assert process.poll() is None, "the sweep ended before its last kill: give it more trials"
    next(ends)(service, process)
    return killed + Counter({"drivers": 1, "trials": SLOTS})


def _kill(service: Service, driver: subprocess.Popen[str]) -> None:
    driver.kill()


def _leave_at_once(service: Service, driver: subprocess.Popen[str]) -> None:
    """Send a second signal while trials end because of the first one."""
    steps = Path(service.environment["CHAOS_STEPS"])
    trained = steps.stat().st_size
    service.wait_for(lambda: steps.stat().st_size > trained)  # a trial that died is at work again
    driver.send_signal(signal.SIGINT)
    service.wait_for(service.folder().stop.exists)
    began = time.monotonic()
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=15)
    assert time.monotonic() - began < 2.5
    assert driver.returncode == 130
    assert leftovers(driver.pid) == []


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
def test_first_signal_ends_in_good_order(service: Service) -> None:
    """Running trials checkpoint; those that Tune has queued already are not begun."""
    file = service.write(steps=4000, seeds=2)
    process = service.start("run", file, "--set", "resources.max_concurrent=2")
    service.wait_for(service.training_began, 240)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert_states(err.splitlines()[-1], "of 4 trials", "same command")
    assert leftovers(process.pid) == []
    begun = [trial for trial in service.folder().all_trials() if trial.lock.exists()]
    assert 1 <= len(begun) <= 2
    outcomes = Counter(t["outcome"] for t in service.status())
    assert outcomes == Counter(interrupted=len(begun), pending=4 - len(begun))
    for trial in begun:
        assert_checkpointed(trial)
