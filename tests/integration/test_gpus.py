"""Trials that share a GPU: a logical one of a real Ray, with a false probe and false shortages of memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from facts import assert_states
from ray_head import TOKEN, ray_head
from scenes import train, warm_home
from service import Service, assert_equal_weights, histories

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).parents[1] / "support"
GB = 10**9
OVER = "search={method: grid, over: {model.feature_maps: [4, 8, 16], training.learning_rate: [1e-4, 1e-3]}}"


@pytest.fixture
def crowded(tmp_path: Path) -> Service:
    """A service whose processes load crowding.py, and whose home has been used before."""
    warm_home(tmp_path / "home")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").symlink_to(SUPPORT / "crowding.py")
    (site / "chaos.py").symlink_to(SUPPORT / "chaos.py")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    crowding = {
        "CROWDING_LOG": str(tmp_path / "log"),
        "CROWDING_WAIT": "0",
        "CROWDING_LEAST": "{}",
        "CROWDING_PROBE": "{}",
    }
    return Service(tmp_path, {"PYTHONPATH": path, **TOKEN, **crowding})


@contextmanager
def head(service: Service) -> Iterator[str]:
    """The address of a Ray of eight logical cores and one logical GPU, in the service's environment."""
    options = ("--num-cpus=8", "--num-gpus=1", "--include-dashboard=false")
    with ray_head(service.root, service.environment, *options) as address:
        yield address


def lines(service: Service) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(service.environment["CROWDING_LOG"]).read_text().splitlines()]


def shares(service: Service) -> dict[object, list[object]]:
    """Trial → its share of a GPU, each time it was opened."""
    found: dict[object, list[object]] = {}
    for line in lines(service):
        if line["what"] == "opened":
            found.setdefault(line["id"], []).append(line["gpus"])
    return found


def test_eight_trials_at_a_quarter_of_a_gpu_are_four_at_a_time(crowded: Service) -> None:
    crowded.environment["CROWDING_WAIT"] = "5"  # a fifth has all the time to come in
    file = crowded.write(rates="[1e-4, 2e-4, 5e-4, 1e-3]", seeds=2)
    with head(crowded) as address:
        crowded.call("run", file, "--set", "resources.gpus=0.25", "--address", address)
    assert [t["outcome"] for t in crowded.status()] == ["completed"] * 8
    open_now, most = 0, 0
    for line in lines(crowded):
        assert line["gpus"] == 0.25
        open_now += 1 if line["what"] == "opened" else -1
        most = max(most, open_now)
    assert (most, open_now) == (4, 0)


def test_out_of_memory_leads_to_fewer_neighbours_and_to_the_same_weights(crowded: Service) -> None:
    crowded.environment["CROWDING_PROBE"] = json.dumps({"4": 17 * GB, "8": 17 * GB, "16": 30 * GB})
    crowded.environment["CROWDING_LEAST"] = json.dumps({"8": 1, "16": 2})  # the widest has no room anywhere
    with head(crowded) as address:
        options = ("--set", OVER, "--set", "resources.gpus=auto", "--address", address)
        _, err = crowded.call("run", crowded.write(), *options, code=4)
    assert_states(err, "measuring", "3 shapes", "4 of 17.0 GB, 2 of 30.0 GB")
    trials = {str(t["id"]): t for t in crowded.status()}
    by_maps: dict[object, list[str]] = {4: [], 8: [], 16: []}
    for name, trial in trials.items():
        by_maps[trial["varied"]["model.feature_maps"]].append(name)  # type: ignore[index]
    ladder = {4: [0.25], 8: [0.25, 0.5, 1.0], 16: [0.5, 1.0]}
    assert shares(crowded) == {name: ladder[maps] for maps, names in by_maps.items() for name in names}  # type: ignore[index]
    for maps, names in by_maps.items():
        for name in names:
            outcome, rule = ("crashed", "out_of_memory") if maps == 16 else ("completed", "")
            assert (trials[name]["outcome"], trials[name]["rule"]) == (outcome, rule)
            assert err.count(f"{name}: out of GPU memory;") == {4: 0, 8: 2, 16: 1}[maps]  # type: ignore[index]
    said_everywhere(crowded, by_maps[16][0])

    crowded.environment["CUDA_VISIBLE_DEVICES"] = ""  # the crashed ones are tried again, on the CPU
    _, err = crowded.call("run", crowded.write(), "--set", OVER, "--set", "resources.gpus=auto")
    assert err.count("resources.gpus: auto: ") == 1
    assert_states(err, "resources.gpus: auto: ", "no GPU", "CPU")
    assert [t["outcome"] for t in crowded.status()] == ["completed"] * 6
    calm = train(crowded.home, crowded.write("calm"), OVER)
    assert histories(crowded.folder()) == histories(calm)
    assert_equal_weights(crowded.folder(), calm)


def said_everywhere(service: Service, trial: str) -> None:
    """That this crash was for want of memory."""
    assert "out of memory" in service.call("status", "small")[0]
    shown, _ = service.call("show", trial)
    assert "crashed (out of GPU memory: OutOfMemoryError: CUDA out of memory." in shown
    assert '"rule": "out_of_memory"' in service.call("show", trial, "--json")[0]


def test_a_trial_that_fits_on_no_gpu_or_cannot_be_measured_is_one_line(crowded: Service) -> None:
    crowded.environment["CROWDING_PROBE"] = json.dumps({"4": 81 * GB})
    with head(crowded) as address:
        options = ("--set", "resources.gpus=auto", "--address", address)
        _, err = crowded.call("run", crowded.write(), *options, code=1)
        options_named = ("training.batch_size", "model.feature_maps", "resources.gpus: 0")
        assert_states(err.splitlines()[-1], "resources.gpus: auto: trial", "81.0 GB", "80.0 GB", *options_named)
        _, err = crowded.call("run", crowded.write(maps=8), *options, code=1)
        assert_states(
            err.splitlines()[-1], "resources.gpus: auto: ", "memory", "(KeyError: '8')", "resources.gpus: 0.25"
        )
    assert not Path(crowded.environment["CROWDING_LOG"]).exists(), "nothing was trained"
