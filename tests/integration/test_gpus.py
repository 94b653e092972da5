"""Trials that share a GPU: a logical one of a real Ray, with a false probe and false shortages of memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facts import assert_states
from ray_head import TOKEN, ray_head
from scenes import train, warm_home
from service import Service, assert_equal_weights, histories

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).parents[1] / "support"
GB = 10**9
OVER = "search={method: grid, over: {model.feature_maps: [2, 4, 8, 16]}}"
# By feature maps of G: bytes that a trial needs when it is measured, of 80 GB, and the least share of a GPU with which
# it ends; 16 find no room anywhere.
NEEDS = {"2": 17 * GB, "4": 17 * GB, "8": 17 * GB, "16": 30 * GB}
LEAST = {"8": 1, "16": 2}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service whose processes load crowding.py, and trials on a GPU train when three were opened."""
    warm_home(tmp_path / "home")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").symlink_to(SUPPORT / "crowding.py")
    (site / "chaos.py").symlink_to(SUPPORT / "chaos.py")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    (tmp_path / "wait").write_text("3")
    crowding = {"CROWDING_LOG": str(tmp_path / "log"), "CROWDING_WAIT": str(tmp_path / "wait")}
    crowding |= {"CROWDING_LEAST": json.dumps(LEAST), "CROWDING_PROBE": json.dumps(NEEDS)}
    return Service(tmp_path, {"PYTHONPATH": path, **TOKEN, **crowding})


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """Address of a Ray of eight cores and one GPU."""
    options = ("--num-cpus=8", "--num-gpus=1", "--include-dashboard=false")
    with ray_head(service.root, service.environment, *options) as address:
        yield address


def test_trials_share_a_gpu_and_out_of_memory_leads_to_fewer_neighbours_and_to_the_same_weights(
    service: Service, address: str
) -> None:
    auto = ("--set", OVER, "--set", "resources.gpus=auto")
    _, err = service.call("run", service.write(), *auto, "--address", address, code=4)
    assert_states(err, "measuring", "4 shapes", "4 trials per GPU (17.0 GB each)", "2 trials per GPU (30.0 GB each)")
    trials = {t["varied"]["model.feature_maps"]: t for t in service.status()}
    ladder = {2: [0.25], 4: [0.25], 8: [0.25, 0.5, 1.0], 16: [0.5, 1.0]}
    log = [json.loads(line) for line in Path(service.environment["CROWDING_LOG"]).read_text().splitlines()]
    assert shares(log) == {trials[maps]["id"]: shares for maps, shares in ladder.items()}
    assert_shared(log, at_once=3)
    for maps, trial in trials.items():
        outcome, rule = ("crashed", "out_of_memory") if maps == 16 else ("completed", "")
        assert (trial["outcome"], trial["rule"]) == (outcome, rule)
        assert err.count(f"{trial['id']}: out of GPU memory;") == len(ladder[maps]) - 1
    assert_reported_everywhere(service, trials[16]["id"])

    train(service.home, service.root / "small.yaml", OVER)  # the crashed one is tried again, on the CPU
    assert [t["outcome"] for t in service.status()] == ["completed"] * 4
    calm = train(service.home, service.write("calm"), OVER)
    assert histories(service.folder()) == histories(calm)
    assert_equal_weights(service.folder(), calm)


def shares(log: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Trial → its share of a GPU, each time it was opened."""
    found: dict[str, list[float]] = {}
    for line in log:
        if line["what"] == "opened":
            found.setdefault(line["id"], []).append(line["gpus"])
    return found


def assert_shared(log: list[dict[str, Any]], at_once: int) -> None:
    """Trials never held more than the GPU, and this many of them were on it at once."""
    held: dict[str, float] = {}
    most = 0
    for line in log:
        if line["what"] == "opened":
            held[line["id"]] = line["gpus"]
        else:
            del held[line["id"]]
        assert sum(held.values()) <= 1, log
        most = max(most, len(held))
    assert most >= at_once
    assert not held


def assert_reported_everywhere(service: Service, trial: str) -> None:
    """This crash was for want of memory."""
    assert "out of memory" in service.ask("status", "small")[0]
    shown, _ = service.ask("show", trial)
    assert "crashed (out of GPU memory: OutOfMemoryError: CUDA out of memory." in shown
    assert '"rule": "out_of_memory"' in service.ask("show", trial, "--json")[0]
