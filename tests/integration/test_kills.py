"""SIGKILL at random and at chosen moments, the same command again, and nothing lost, nothing doubled, nothing
trained twice but what no checkpoint held. GANSWEEP_KILL_ROUNDS rounds (README: 20; CI: a few)."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from service import Service, assert_equal_weights, assert_tracked_once, histories, leftovers

ROUNDS = int(os.environ.get("GANSWEEP_KILL_ROUNDS", "4"))
CHECKPOINT_EVERY = 10  # service.SMALL
SLOTS = 2
MOMENTS = ("checkpoint", "checkpointed", "journal", "journalled", "published", "handover", "handed")
GROUPS = {"checkpoint": "checkpoint", "journal": "metrics", "publish": "metrics", "hand": "hand-over"}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kills_lose_and_double_nothing(chaotic: Service) -> None:
    rng = random.Random(int(os.environ.get("GANSWEEP_KILL_SEED", "0")))
    arguments = {"steps": 45, "rates": "[1e-4, 2e-4, 5e-4, 1e-3]", "seeds": max(2, ROUNDS), "maps": 4}
    calm_file, file = chaotic.write("calm", **arguments), chaotic.write("small", **arguments)
    steps, deaths = Path(chaotic.environment["CHAOS_STEPS"]), Path(chaotic.environment["CHAOS_LOG"])

    chaotic.call("run", calm_file)
    calm_steps = len(steps.read_text().splitlines())
    steps.unlink()
    deaths.touch()

    killed_trials = 0
    for number in range(ROUNDS):
        killed_trials += _round(chaotic, file, number, rng)
    chaotic.call("run", file)

    trained = len(steps.read_text().splitlines())
    print(f"{ROUNDS} rounds, deaths at {deaths.read_text().split()}, {killed_trials} trials killed,")
    print(f"{trained} steps trained against {calm_steps} in calm")
    assert trained <= calm_steps + CHECKPOINT_EVERY * killed_trials
    assert trained > calm_steps or ROUNDS < 3, "the kills hit nothing"
    assert histories(chaotic.folder("small")) == histories(chaotic.folder("calm"))
    assert_equal_weights(chaotic.folder("small"), chaotic.folder("calm"))
    assert_tracked_once(chaotic)
    assert not [p for p in chaotic.folder().path.rglob(".*") if p.is_file()], "half-written files are left"
    assert all(t["outcome"] == "completed" for t in chaotic.status())


def _round(service: Service, file: Path, number: int, rng: random.Random) -> int:
    """Run, kill once inside a chosen moment and once at a random one; how many trials the kills may have cost."""
    process = service.start("run", file)
    moment = MOMENTS[number % len(MOMENTS)]
    with_driver = moment != "published" and rng.random() < 0.5
    order = Path(service.environment["CHAOS_ORDER"])
    order.write_text(f"{moment} {process.pid}" if with_driver else moment)
    service.wait_for(lambda: not order.exists() or process.poll() is not None, 90)
    order.unlink(missing_ok=True)
    cost = 1
    if not with_driver and process.poll() is None:
        time.sleep(rng.uniform(0, 2))
        cost += 1
        if rng.random() < 0.5:
            _kill_a_trial(process, rng)
            time.sleep(rng.uniform(0, 1))
    if process.poll() is None:
        process.kill()
        cost += SLOTS
    else:
        cost += SLOTS
    process.communicate()
    return cost


def _kill_a_trial(process, rng: random.Random) -> None:
    try:
        workers = [
            p for p in psutil.Process(process.pid).children(recursive=True) if "GanTrial" in " ".join(p.cmdline())
        ]
        if workers:
            rng.choice(workers).kill()
    except psutil.NoSuchProcess:
        pass


@pytest.mark.slow
@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGTERM, True)])
def test_first_signal_ends_in_good_order(service: Service, number: int, group: bool) -> None:
    file = service.write(steps=4000)
    process = service.start("run", file)
    service.wait_for(service.training_began)
    began = time.monotonic()
    (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=15)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + number
    assert err.splitlines()[-1].startswith("ended early because SIG")
    assert err.splitlines()[-1].endswith("2 of 2 trials are not finished: run the same command to continue")
    assert leftovers(process.pid) == []
    trials = service.status()
    assert {t["outcome"] for t in trials} == {"interrupted"}
    for trial in service.folder().all_trials():
        checkpoints = trial.all_checkpoints()
        assert checkpoints
        # it checkpointed where it was, not at the last cadence
        assert int(checkpoints[-1].stem) >= max([s for s, _ in histories(service.folder())[trial.id]], default=1)


@pytest.mark.slow
def test_second_signal_leaves_at_once(service: Service) -> None:
    file = service.write(steps=4000)
    process = service.start("run", file)
    service.wait_for(service.training_began)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.05)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=15)
    assert time.monotonic() - began < 2.5
    assert process.returncode == 130
    assert leftovers(process.pid) == []
