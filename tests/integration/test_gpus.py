"""Trials that share a GPU: a logical one of a real Ray, with a false probe and false shortages of memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
# it ends; 16 find no room anywhere, and what is not named cannot be measured.
NEEDS = {"2": 17 * GB, "4": 17 * GB, "8": 17 * GB, "16": 30 * GB, "32": 81 * GB}
LEAST = {"8": 1, "16": 2}


@dataclass(frozen=True)
class Crowded:
    """A service whose processes load crowding.py, and the address of a Ray of eight cores and one GPU that it joins."""

    service: Service
    address: str

    @property
    def log(self) -> Path:
        return Path(self.service.environment["CROWDING_LOG"])

    def run(self, file: Path, *options: str, code: int = 0) -> str:
        """What `gansweep run` says."""
        return self.service.call("run", file, *options, "--address", self.address, code=code)[1]

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def ray_with_a_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    root = tmp_path_factory.mktemp("crowded")
    warm_home(root / "home")
    site = root / "site"
    site.mkdir()
    (site / "sitecustomize.py").symlink_to(SUPPORT / "crowding.py")
    (site / "chaos.py").symlink_to(SUPPORT / "chaos.py")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    crowding = {"CROWDING_LOG": str(root / "log"), "CROWDING_WAIT": str(root / "wait")}
    crowding |= {"CROWDING_LEAST": json.dumps(LEAST), "CROWDING_PROBE": json.dumps(NEEDS)}
    service = Service(root, {"PYTHONPATH": path, **TOKEN, **crowding})
    with ray_head(root, service.environment, "--num-cpus=8", "--num-gpus=1", "--include-dashboard=false") as address:
        yield Crowded(service, address)


@pytest.fixture
def crowded(ray_with_a_gpu: Crowded) -> Crowded:
    """With an empty log, and trials that wait for nobody."""
    ray_with_a_gpu.log.unlink(missing_ok=True)
    Path(ray_with_a_gpu.service.environment["CROWDING_WAIT"]).write_text("0")
    return ray_with_a_gpu


def shares(crowded: Crowded) -> dict[object, list[object]]:
    """Trial → its share of a GPU, each time it was opened."""
    found: dict[object, list[object]] = {}
    for line in crowded.lines():
        if line["what"] == "opened":
            found.setdefault(line["id"], []).append(line["gpus"])
    return found


def test_four_trials_at_half_a_gpu_are_two_at_a_time(crowded: Crowded) -> None:
    Path(crowded.service.environment["CROWDING_WAIT"]).write_text("3")  # a third has all the time to come in
    crowded.run(crowded.service.write("halves", seeds=2), "--set", "resources.gpus=0.5")
    assert [t["outcome"] for t in crowded.service.status("halves")] == ["completed"] * 4
    open_now, most = 0, 0
    for line in crowded.lines():
        assert line["gpus"] == 0.5
        open_now += 1 if line["what"] == "opened" else -1
        most = max(most, open_now)
    assert (most, open_now) == (2, 0)


def test_out_of_memory_leads_to_fewer_neighbours_and_to_the_same_weights(
    crowded: Crowded, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = crowded.service
    err = crowded.run(service.write(), "--set", OVER, "--set", "resources.gpus=auto", code=4)
    assert_states(err, "measuring", "4 shapes", "4 trials per GPU (17.0 GB each)", "2 trials per GPU (30.0 GB each)")
    trials = {t["varied"]["model.feature_maps"]: t for t in service.status()}
    ladder = {2: [0.25], 4: [0.25], 8: [0.25, 0.5, 1.0], 16: [0.5, 1.0]}
    assert shares(crowded) == {trials[maps]["id"]: shares for maps, shares in ladder.items()}
    for maps, trial in trials.items():
        outcome, rule = ("crashed", "out_of_memory") if maps == 16 else ("completed", "")
        assert (trial["outcome"], trial["rule"]) == (outcome, rule)
        assert err.count(f"{trial['id']}: out of GPU memory;") == len(ladder[maps]) - 1
    said_everywhere(service, trials[16]["id"])

    monkeypatch.setitem(service.environment, "CUDA_VISIBLE_DEVICES", "")  # the crashed one is tried again, on the CPU
    _, err = service.call("run", service.write(), "--set", OVER, "--set", "resources.gpus=auto")
    assert err.count("resources.gpus: auto: ") == 1
    assert_states(err, "resources.gpus: auto: ", "no GPU", "CPU")
    assert [t["outcome"] for t in service.status()] == ["completed"] * 4
    calm = train(service.home, service.write("calm"), OVER)
    assert histories(service.folder()) == histories(calm)
    assert_equal_weights(service.folder(), calm)


def said_everywhere(service: Service, trial: str) -> None:
    """That this crash was for want of memory."""
    assert "out of memory" in service.ask("status", "small")[0]
    shown, _ = service.ask("show", trial)
    assert "crashed (out of GPU memory: OutOfMemoryError: CUDA out of memory." in shown
    assert '"rule": "out_of_memory"' in service.ask("show", trial, "--json")[0]


def test_a_trial_that_fits_on_no_gpu_or_cannot_be_measured_is_one_line(crowded: Crowded) -> None:
    write, auto = crowded.service.write, ("--set", "resources.gpus=auto")
    err = crowded.run(write("wide", maps=32), *auto, code=1)
    options_named = ("training.batch_size", "model.feature_maps", "resources.gpus: 0")
    assert_states(err.splitlines()[-1], "resources.gpus: auto: trial", "81.0 GB", "80.0 GB", *options_named)
    err = crowded.run(write("unknown", maps=64), *auto, code=1)
    assert_states(
        err.splitlines()[-1], "resources.gpus: auto: ", "measured", "(KeyError: '64')", "resources.gpus: 0.25"
    )
    assert not crowded.log.exists(), "nothing was trained"
