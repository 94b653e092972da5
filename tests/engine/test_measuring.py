"""KnownNeed of trials while Ray starts, by a process that is replaced, on GPUs that are pretended."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from children import children_since

from gansweep.engine import measuring, shares
from gansweep.engine.need import Need
from gansweep.engine.shares import Gpus
from gansweep.gan import gpu
from gansweep.planning.cost import shape_of
from gansweep.planning.dispatch import job_of
from gansweep.planning.job import Job
from gansweep.planning.need_cache import KnownNeed, NeedCache
from gansweep.planning.plan import Plan
from gansweep.records.layout import Home

PlanOf = Callable[..., Plan]
GB = 10**9
GRID = "search={method: grid, over: {model.feature_maps: [2, 4], training.beta1: [0.1, 0.5, 0.9]}}"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """GPUs of this machine by UUID."""
    cards = {"GPU-a": "NVIDIA H100"}
    monkeypatch.setattr(gpu, "visible", lambda: cards)
    monkeypatch.setattr(gpu, "admits_many", lambda: True)
    monkeypatch.setattr(gpu, "driver", lambda: "580.1")
    monkeypatch.setattr(measuring, "cores", lambda: 16)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return cards


def program(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(measuring, "COMMAND", (sys.executable, "-c", code))


def test_each_shape_that_is_not_in_the_cache_is_measured(plan_of: PlanOf, home: Home, card: dict[str, str]) -> None:
    plan = plan_of(GRID)
    orders = measuring._orders(plan, (), home.cache)
    assert [Job.from_config(order["job"]).training.generator_maps for order in orders] == [2, 4]
    assert {order["most"] for order in orders} == {6}
    planned = plan.trials[0]
    store, job, shape = NeedCache(home.cache, "NVIDIA H100", "580.1"), job_of(plan, planned, 1.0), shape_of(planned)
    for rates, left in (({1: 1.0, 2: 1.9}, 2), ({1: 1.0, 6: 1.9}, 1)):
        store.write(job, shape, KnownNeed(GB, rates))
        assert len(measuring._orders(plan, (), home.cache)) == left


def test_without_mps_no_throughput_is_measured(
    plan_of: PlanOf, home: Home, card: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert {order["most"] for order in measuring._orders(plan_of(GRID), (), home.cache)} == {0}


def test_nothing_is_measured_ahead_without_a_gpu_on_cards_that_differ_or_that_admit_one_process(
    plan_of: PlanOf, home: Home, card: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card["GPU-b"] = "NVIDIA T4"
    assert measuring._orders(plan_of(GRID), (), home.cache) == []
    card.clear()
    assert measuring._orders(plan_of(GRID), (), home.cache) == []
    card["GPU-a"] = "NVIDIA H100"
    assert measuring._orders(plan_of(GRID), (), home.cache) != []
    monkeypatch.setattr(gpu, "admits_many", lambda: False)
    assert measuring._orders(plan_of(GRID), (), home.cache) == []


@pytest.mark.parametrize(("modes", "expected"), [([0], True), ([0, 3], False), ([], True), (None, False)])
def test_a_gpu_in_another_compute_mode_admits_one_process(
    monkeypatch: pytest.MonkeyPatch, modes: list[int] | None, expected: bool
) -> None:
    module: Any = ModuleType("pynvml")
    module.nvmlInit = lambda: None
    module.NVML_COMPUTEMODE_DEFAULT = 0
    if modes is not None:
        module.nvmlDeviceGetCount = lambda: len(modes)
        module.nvmlDeviceGetHandleByIndex = lambda number: number
        module.nvmlDeviceGetUUID = lambda handle: f"GPU-{handle}"
        module.nvmlDeviceGetComputeMode = lambda handle: modes[handle]
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert gpu.admits_many() is expected


def test_jobs_are_measured_one_after_another_and_waited_for(
    plan_of: PlanOf, home: Home, card: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    program(monkeypatch, f"import json,sys,time; o = json.load(sys.stdin); f = open({str(log)!r}, 'a');"
            "m = o['shape'].count('\"generator_maps\": 4'); print('begin', m, file=f, flush=True); time.sleep(0.2);"
            "print('end', m, file=f)")  # fmt: skip
    with measuring.measuring(plan_of(GRID), (), home.cache) as under_way:
        assert under_way.count == 2
        under_way.wait()
        assert log.read_text().split("\n") == ["begin 0", "end 0", "begin 1", "end 1", ""]


def test_the_process_ends_with_the_block(
    plan_of: PlanOf, home: Home, card: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, "import time; time.sleep(60)")
    children, began = children_since(), time.monotonic()
    with measuring.measuring(plan_of(GRID), (), home.cache):
        while not (found := children()):
            time.sleep(0.01)
    assert time.monotonic() - began < 20
    assert not any(process.is_running() for process in found)


def test_what_was_measured_ahead_is_not_measured_by_ray(
    plan_of: PlanOf, home: Home, card: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansweep.engine.need.measure", lambda config, most: Need(5 * GB, 80 * GB, {1: 9.0, 6: 30.0}))
    monkeypatch.setattr(shares, "settled_memory", lambda: {"GPU-a": (0, 80 * GB)})
    program(monkeypatch, "pass")
    plan = plan_of(GRID, "resources.gpus=auto")
    notices: list[str] = []
    with measuring.measuring(plan, (), home.cache) as under_way:
        wait = under_way.wait

        def carried_out() -> None:
            wait()
            for order in under_way._orders:
                measuring.carry_out(json.loads(json.dumps(order)))

        monkeypatch.setattr(under_way, "wait", carried_out)
        gpus = Gpus(True, home.cache, under_way)
        found = shares.shares_of(plan, (), {"CPU": 16.0, "GPU": 1.0}, notices.append, gpus)
    assert {found.of(planned) for planned in plan.trials} == {0.1666}
    assert notices[0] == "resources.gpus: auto: measuring 2 shapes of networks on a GPU"
    assert notices[1:] == ["resources.gpus: auto: 6 trials per GPU (5.0 GB each): 30 steps/s together"]
