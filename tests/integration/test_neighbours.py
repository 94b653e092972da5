"""Trials that share a GPU under MPS when one of them dies, in a real Ray with a false GPU and a false MPS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from facts import assert_states
from ray_head import end_family
from scenes import train, warm_home
from service import Service, assert_equal_weights, assert_tracked_once, histories

from gansweep.records import journal, outcome
from gansweep.records.layout import TrialFolder, read_json

pytestmark = pytest.mark.slow  # one sweep whose three processes are started three times

SUPPORT = Path(__file__).parents[1] / "support"
STEPS, STRUCK_AT = 160, 80
PATIENCE_S = 200  # on a loaded machine


@pytest.fixture
def service(tmp_path: Path) -> Service:
    warm_home(tmp_path / "home")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").symlink_to(SUPPORT / "neighbours.py")
    (site / "chaos.py").symlink_to(SUPPORT / "chaos.py")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Service(tmp_path, {"PYTHONPATH": path, "NEIGHBOURS": str(tmp_path), "OMP_NUM_THREADS": "1"})


@pytest.fixture
def begin(service: Service) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts gansweep, which ends with the test, however that ends."""
    with ExitStack() as ends:

        def begin(*arguments: object) -> subprocess.Popen[str]:
            process = service.start(*arguments)
            ends.callback(end_family, process)
            return process

        yield begin


def opened(service: Service, *ids: str) -> list[dict[str, Any]]:
    """Id, gpus, step, pid and at of each time that one of these trials was opened."""
    log = service.root / "opened"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if line["id"] in ids or not ids]


def newest(trial: TrialFolder) -> int:
    return max((int(path.stem) for path in trial.all_checkpoints()), default=0)


def sent(trial: TrialFolder) -> int:
    """Last step whose record MLflow has."""
    end = read_json(trial.published)["offset"]
    return max((record.step for record, at in journal.read_from(trial.journal, 0) if at <= end), default=0)


def ended_at(trial: TrialFolder) -> float:
    ended = outcome.read(trial)
    assert ended is not None
    return ended.time


def pid_of(service: Service, trial: TrialFolder) -> int:
    return int(opened(service, trial.id)[-1]["pid"])


def test_neighbours_of_a_death_restart_from_before_it_and_a_suspect_runs_alone(
    service: Service, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    file = service.write(steps=STEPS, rates="[1e-4, 3e-4, 1e-3]")
    process = begin(
        "run", file, "--set", "resources.gpus=0.25", "--set", "retention.checkpoints=99", "--set", "cadence.samples=50"
    )
    service.wait_for(lambda: process.poll() is not None or len(opened(service)) == 3, PATIENCE_S)
    assert process.poll() is None, process.communicate()
    victim, spoiled, hanging = service.folder().planned()
    service.wait_for(lambda: min(map(newest, (victim, spoiled, hanging))) >= STRUCK_AT, PATIENCE_S)

    os.kill(pid_of(service, victim), signal.SIGSTOP)  # it sends no message any more
    os.kill(pid_of(service, hanging), signal.SIGSTOP)
    right = newest(spoiled)
    (service.root / "spoil").write_text(str(pid_of(service, spoiled)))
    service.wait_for(lambda: not (service.root / "spoil").exists(), PATIENCE_S)
    wrong = newest(spoiled) + 10
    service.wait_for(lambda: newest(spoiled) >= wrong, PATIENCE_S)
    service.wait_for(lambda: sent(spoiled) >= wrong, PATIENCE_S)
    doubtful = read_json(spoiled.published)["run_id"]
    os.kill(pid_of(service, victim), signal.SIGKILL)
    service.wait_for(lambda: len(opened(service)) == 6, PATIENCE_S)
    for trial in (victim, spoiled, hanging):
        first, again = opened(service, trial.id)
        assert first["pid"] != again["pid"]
        assert first["step"] == 0 < again["step"], "from a checkpoint"
        assert trial is not spoiled or again["step"] <= right, "which is older than the wrong weights"

    os.kill(pid_of(service, victim), signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert [line["gpus"] for line in opened(service, victim.id)] == [0.25, 0.25, 1.0]
    alone, over = opened(service, victim.id)[-1]["at"], ended_at(victim)
    for other in (spoiled, hanging):
        assert ended_at(other) <= alone or over <= opened(service, other.id)[-1]["at"], "others are on its GPU"
    assert [outcome.deaths(trial) for trial in (victim, spoiled, hanging)] == [2, 0, 0]
    assert err.count("its process died (") == 2
    assert err.count("2 other trials on its GPU restart") == 2
    assert_states(err, f"{victim.id}: died repeatedly", "GPU of its own")

    calm = train(service.home, service.write("calm", STEPS, "[1e-4, 3e-4, 1e-3]"), "cadence.samples=50")
    assert histories(service.folder()) == histories(calm)
    assert_equal_weights(service.folder(), calm)
    assert_tracked_once(service)
    assert read_json(spoiled.published)["run_id"] != doubtful, "MLflow had wrong values"
    assert not [trial for trial in (victim, spoiled, hanging) if trial.doubted.exists()]
    assert [r.step for r in journal.read(spoiled.journal)][-1] == STEPS
