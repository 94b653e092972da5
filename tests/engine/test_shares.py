"""What `resources.gpus: auto` comes to, with a false probe of the memory."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import ray
import torch
from ray.exceptions import RayTaskError

from gansweep.engine import shares
from gansweep.engine.cluster import Cluster
from gansweep.engine.mps import Sharing
from gansweep.engine.need import Need, measure
from gansweep.engine.runner import TrialOfTune
from gansweep.engine.search import Search
from gansweep.engine.shares import Gpus
from gansweep.errors import UserError
from gansweep.gan import throughput
from gansweep.gan.capture import EAGER_STEPS
from gansweep.gan.training import Trainer
from gansweep.planning.dispatch import job_of, jobs_of
from gansweep.planning.job import Job
from gansweep.planning.packing import Shares
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.stopwatch import Stopwatch

PlanOf = Callable[..., Plan]
GB = 10**9
AUTO = "resources.gpus=auto"
GRID = "search={method: grid, over: {model.feature_maps: [2, 4, 8], training.beta1: [0.1, 0.5]}}"
HERE = {"CPU": 16.0, "GPU": 1.0}


RATES = {1: 1170.0, 2: 1785.0, 4: 2682.0, 8: 3799.0, 16: 3805.0}  # of all shapes


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What is measured: trials need 5 GB for each feature map of G, of 80 GB; above 100 GB it is not known how much."""
    seen: list[Job] = []

    def measured(jobs: Sequence[Job], most: int, kind: str) -> list[Need]:
        seen.extend(jobs)
        needs = [job.training.generator_maps * 5 * GB for job in jobs]
        rates = {number: rate for number, rate in RATES.items() if number <= most}
        return [Need(need if need <= 100 * GB else None, 80 * GB, rates) for need in needs]

    monkeypatch.setattr(shares, "_measured", measured)
    monkeypatch.setattr("ray.nodes", list)
    return seen


TURNS, SIDE_BY_SIDE = Gpus(), Gpus(side_by_side=True)


def decide(
    plan: Plan, available: dict[str, float], bounds: Iterable[PlannedTrial] = (), gpus: Gpus = TURNS
) -> tuple[list[float], list[str]]:
    """Each trial's share, and the notices."""
    notices: list[str] = []
    found = shares.shares_of(plan, bounds, available, notices.append, gpus)
    return [found.of(planned) for planned in plan.trials], notices


def test_each_shape_is_measured_once_and_gets_a_share_of_its_own(plan_of: PlanOf, probed: list[Job]) -> None:
    found, notices = decide(plan_of(AUTO, GRID), HERE)
    assert found == [0.1666, 0.1666, 0.3333, 0.3333, 1.0, 1.0]  # six trials are waiting: seven would fit
    assert len(probed) == 3
    assert notices == [
        "resources.gpus: auto: measuring 3 shapes of networks on a GPU",
        "resources.gpus: auto: 6 trials per GPU (10.0 GB each), which take turns",
        "resources.gpus: auto: 3 trials per GPU (20.0 GB each), which take turns",
        "resources.gpus: auto: 1 trial per GPU (40.0 GB each)",
    ]


MANY = ("model.feature_maps=1", "replicates=30")


@pytest.mark.parametrize(
    ("cores", "reported"),
    [
        (64.0, "8 trials per GPU (5.0 GB each): 3,799 steps/s together; 14 would make 3,804"),
        (4.0, "4 trials per GPU (5.0 GB each): 2,682 steps/s together"),
        (6.0, "6 trials per GPU (5.0 GB each): 3,240 steps/s together"),
    ],
)
def test_where_trials_run_side_by_side_there_are_as_many_as_help(
    plan_of: PlanOf, probed: list[Job], monkeypatch: pytest.MonkeyPatch, cores: float, reported: str
) -> None:
    for number, rate in ((14, 3804.0), (6, 3240.0)):
        monkeypatch.setitem(RATES, number, rate)
    monkeypatch.delitem(RATES, 16)
    plan = plan_of(AUTO, *MANY)
    found, notices = decide(plan, {"CPU": cores, "GPU": 1.0}, gpus=SIDE_BY_SIDE)
    number = int(reported.split()[0])
    assert found == [int(10_000 / number) / 10_000] * 30
    assert notices[-1] == f"resources.gpus: auto: {reported}"
    turns, notices = decide(plan, {"CPU": cores, "GPU": 1.0})
    assert turns[0] == int(10_000 / min(14, cores)) / 10_000
    assert notices[-1].endswith(" trials per GPU (5.0 GB each), which take turns")


def test_of_many_shapes_four_are_measured_the_largest_among_them(plan_of: PlanOf, probed: list[Job]) -> None:
    plan = plan_of(AUTO, "search={method: grid, over: {model.feature_maps: [1, 2, 3, 4, 5, 6, 7, 8]}}")
    found, notices = decide(plan, HERE)
    assert sorted(job.training.generator_maps for job in probed) == [2, 4, 6, 8]
    assert found == [0.1428, 0.1428, 0.3333, 0.3333, 0.5, 0.5, 1.0, 1.0]
    assert len(notices) == 1 + 1 + 4
    assert notices[0] == "resources.gpus: auto: 4 of 8 shapes of networks are measured, each for smaller ones as well"
    ended = (replace(planned, ended=Outcome("completed", 4)) for planned in plan.trials[:3])
    probed.clear()
    decide(replace(plan, trials=(*ended, *plan.trials[3:])), HERE)
    assert sorted(job.training.generator_maps for job in probed) == [4, 6, 8], "of those that are left, the same ones"


def test_what_was_measured_before_is_not_measured_again(
    plan_of: PlanOf, probed: list[Job], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansweep.gan.gpu.visible", lambda: {"GPU-a": "NVIDIA H100"})
    monkeypatch.setattr("gansweep.gan.gpu.driver", lambda: "580.1")
    free = 80 * GB
    monkeypatch.setattr(shares, "settled_memory", lambda: {"GPU-a": (0, free), "GPU-of-others": (0, 1)})
    plan = plan_of(AUTO, *MANY)
    here = Gpus(side_by_side=True, cache=home.cache)
    first, notices = decide(plan, HERE, gpus=here)
    again, fewer = decide(plan, HERE, gpus=here)
    assert (len(probed), first, fewer) == (1, again, notices[1:])
    free = 30 * GB  # others hold the rest
    assert decide(plan, HERE, gpus=here)[0] == [0.2] * 30
    assert len(probed) == 1
    decide(plan_of(AUTO, *MANY, "training.batch_size=17"), HERE, gpus=here)
    assert len(probed) == 2, "another shape"
    for path in (home.cache / "gpu").iterdir():
        path.write_text(path.read_text()[:-20])
    decide(plan, HERE, gpus=here)
    assert len(probed) == 3, "a damaged file"
    monkeypatch.setattr("gansweep.gan.gpu.driver", lambda: "590.1")
    decide(plan, HERE, gpus=here)
    assert len(probed) == 4, "another driver"


def test_what_was_measured_for_few_trials_is_measured_again_for_more(
    plan_of: PlanOf, probed: list[Job], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansweep.gan.gpu.visible", lambda: {"GPU-a": "NVIDIA H100"})
    monkeypatch.setattr(shares, "settled_memory", lambda: {"GPU-a": (0, 80 * GB)})
    turns, together = (Gpus(side_by_side, home.cache) for side_by_side in (False, True))
    few, many = plan_of(AUTO, "model.feature_maps=1", "replicates=4"), plan_of(AUTO, *MANY)
    for plan, gpus, measured in (
        (few, turns, 1),
        (many, turns, 1),
        (few, together, 2),
        (few, together, 2),
        (many, turns, 2),
        (many, together, 3),
        (few, together, 3),
    ):
        decide(plan, HERE, gpus=gpus)
        assert len(probed) == measured


@pytest.mark.parametrize("cards", [{}, {"GPU-a": "NVIDIA H100", "GPU-b": "NVIDIA T4"}])
def test_nothing_is_kept_of_cards_that_are_unknown_or_differ(
    plan_of: PlanOf, probed: list[Job], home: Home, monkeypatch: pytest.MonkeyPatch, cards: dict[str, str]
) -> None:
    monkeypatch.setattr("gansweep.gan.gpu.visible", lambda: cards)
    for _ in range(2):
        _, notices = decide(plan_of(AUTO, *MANY), HERE, gpus=Gpus(cache=home.cache))
    assert len(probed) == 2
    assert not (home.cache / "gpu").exists()
    differ = "resources.gpus: auto: GPUs differ (NVIDIA H100, NVIDIA T4): one of them is measured;"
    assert notices[0].startswith(differ) is bool(cards)


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("address", [None, "1.2.3.4:6379"])
def test_rates_apply_if_mps_serves_trials_and_are_kept_for_gpus_of_this_machine(
    plan_of: PlanOf, home: Home, monkeypatch: pytest.MonkeyPatch, active: bool, address: str | None
) -> None:
    from gansweep.engine import runner

    @contextmanager
    def cluster(*_: object, **__: object) -> Iterator[Cluster]:
        yield Cluster(HERE, Sharing("a daemon" if active else ""))

    def shares_of(plan: Plan, bounds: object, available: object, notify: object, gpus: Gpus, *_: object) -> None:
        raise UserError(repr(gpus))

    monkeypatch.setattr(runner, "cluster", cluster)
    monkeypatch.setattr(runner, "shares_of", shares_of)
    expected = Gpus(active, None if address else home.cache)
    with pytest.raises(UserError, match=re.escape(repr(expected))):
        runner.run(Search(plan_of(AUTO), home), None, Any, print, Stopwatch(), address)  # type: ignore[arg-type]


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {name.replace("_type_", "_type:"): n for name, n in resources.items()}}


def test_of_a_cluster_whose_cards_differ_the_one_with_room_for_fewest_counts(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        node(CPU=8.0),
        node(GPU=2.0, accelerator_type_H100=1.0),
        node(GPU=1.0, accelerator_type_T4=1.0),
        node(alive=False, GPU=8.0, accelerator_type_A100=1.0),
    ]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    room = {"H100": Need(2 * GB, 80 * GB, RATES), "T4": Need(3 * GB, 16 * GB, {1: 100.0, 2: 180.0, 4: 181.0})}
    monkeypatch.setattr(shares, "_measured", lambda jobs, most, kind: [room[kind]])
    plan = plan_of(AUTO, *MANY)
    found, notices = decide(plan, {"CPU": 64.0, "GPU": 3.0})
    assert found == [0.25] * 30
    assert notices[0] == (
        "resources.gpus: auto: GPUs differ (H100, T4): each kind is measured, and the smallest number applies to all"
    )
    assert notices[-1] == "resources.gpus: auto: 4 trials per GPU (3.0 GB each), which take turns"
    assert decide(plan, {"CPU": 64.0, "GPU": 3.0}, gpus=SIDE_BY_SIDE)[0] == [0.5] * 30


def test_more_gpus_than_any_machine_has_are_one_line(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [node(CPU=8.0), node(GPU=2.0), node(alive=False, GPU=8.0), node(GPU=4.0)]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    assert decide(plan_of("resources.gpus=4"), {"CPU": 8.0, "GPU": 6.0}) == ([4.0], [])
    with pytest.raises(UserError) as refused:
        decide(plan_of("resources.gpus=5"), {"CPU": 8.0, "GPU": 6.0})
    assert str(refused.value) == (
        "resources.gpus: 5 per trial, but no machine of the cluster has more than 4; lower resources.gpus"
    )


def test_more_gpus_than_the_trials_need_take_them_apart(plan_of: PlanOf, probed: list[Job]) -> None:
    assert decide(plan_of(AUTO, GRID), {"CPU": 64.0, "GPU": 4.0})[0] == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]


def test_trials_that_may_not_run_at_once_take_larger_shares(plan_of: PlanOf, probed: list[Job]) -> None:
    assert decide(plan_of(AUTO, *MANY, "resources.max_concurrent=2"), HERE)[0] == [0.5] * 30


def test_of_trials_of_one_shape_the_one_with_most_images_is_measured(plan_of: PlanOf, probed: list[Job]) -> None:
    decide(plan_of(AUTO, "search={method: grid, over: {dataset.classes: [[0, 1], null, [2, 3]]}}"), HERE)
    assert [job.images.images for job in probed] == [1797]


def test_a_suggestion_to_come_takes_what_the_largest_may_need(plan_of: PlanOf, probed: list[Job], home: Home) -> None:
    over = "{model.feature_maps: {int_uniform: [2, 8]}, training.beta1: {uniform: [0, 0.9]}}"
    plan = plan_of(AUTO, f"search={{method: optuna, trials: 3, over: {over}}}", "evaluation.per_run=2")
    bounds = Search(plan, home).bounds()
    assert [planned.training.generator_maps for planned in bounds] == [2, 8]
    found = shares.shares_of(plan, bounds, HERE, lambda _: None, TURNS)
    assert found.of(plan_of("model.feature_maps=5").trials[0]) == found.other == 1.0
    assert Search(plan_of(AUTO, GRID), home).bounds() == ()


def test_without_a_gpu_trials_train_on_the_cpu_and_it_is_reported_once(plan_of: PlanOf, probed: list[Job]) -> None:
    found, notices = decide(plan_of(AUTO, GRID), {"CPU": 16.0})
    assert found == [0.0] * 6
    assert notices == ["resources.gpus: auto: there is no GPU, so trials train on the CPU"]
    assert probed == []
    assert decide(plan_of(GRID), {"CPU": 16.0}) == ([0.0] * 6, []), "not if the file says nothing"


@pytest.mark.parametrize(("staying", "measured"), [(2, 2), (6, 0)])
def test_trials_that_began_on_the_cpu_stay_there_and_are_not_measured(
    plan_of: PlanOf, probed: list[Job], staying: int, measured: int
) -> None:
    plan = plan_of(AUTO, GRID)
    begun = (replace(planned, began_on="cpu") for planned in plan.trials[:staying])
    found, notices = decide(replace(plan, trials=(*begun, *plan.trials[staying:])), HERE)
    assert found == ([0.0, 0.0, 0.3333, 0.3333, 1.0, 1.0] if measured else [0.0] * 6)
    assert len(probed) == measured
    assert notices[0] == f"resources.gpus: auto: {staying} trials that began on the CPU continue there"


def test_a_number_in_the_file_is_not_questioned(plan_of: PlanOf, probed: list[Job]) -> None:
    assert decide(plan_of("resources.gpus=0.25"), HERE) == ([0.25], [])
    assert probed == []


def test_ray_is_asked_for_the_cores_and_the_share_of_a_trial(plan_of: PlanOf) -> None:
    plan = plan_of("resources.cpus=3")
    (job,) = jobs_of(plan, Shares.equal(0.5))
    assert TrialOfTune.default_resource_request(job).required_resources == {"CPU": 3, "GPU": 0.5}


def test_a_trial_that_cannot_be_measured_is_one_line(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(AUTO)
    error = RayTaskError("measure", "Traceback …", KeyError("64"))
    monkeypatch.setattr(ray, "get", Mock(side_effect=error.as_instanceof_cause()))
    monkeypatch.setattr(ray, "remote", Mock())
    with pytest.raises(UserError) as caught:
        shares._measured([job_of(plan, plan.trials[0], 1.0)], 0, "")
    assert str(caught.value) == (
        "resources.gpus: auto: a trial could not be measured (KeyError: '64'); set a number, as in"
        " resources.gpus: 0.25, or resources.gpus: 0 to train on the CPU"
    )


@pytest.mark.parametrize(("maps", "amount"), [(17, "85.0"), (32, "more than 80.0")])
def test_where_not_even_one_fits(plan_of: PlanOf, probed: list[Job], maps: int, amount: str) -> None:
    plan = plan_of(AUTO, f"model.feature_maps={maps}")
    with pytest.raises(UserError) as caught:
        decide(plan, HERE)
    assert str(caught.value) == (
        f"resources.gpus: auto: trial {plan.trials[0].trial.id} needs {amount} GB of a GPU's memory, 80.0 GB are free;"
        " lower training.batch_size or model.feature_maps, or set resources.gpus: 0 to train on the CPU"
    )


class FalseGpu:
    """One whose memory the allocator takes 2 GB of, gives 0.5 GB back of, beside a context of 0.4 GB and a neighbour's
    3 GB, and more during an evaluation. `full`: it runs out with more trainers than this."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.used, self.full, self.steps, self.evaluated, self.trainers = 3.0, 99, 0, 0.0, 0
        self.leaving = [0.0]  # memory of a process that has ended, at each reading until it is freed
        module: Any = ModuleType("pynvml")
        module.nvmlInit = lambda: None
        module.nvmlDeviceGetCount = lambda: 2
        module.nvmlDeviceGetHandleByIndex = lambda i: i
        module.nvmlDeviceGetUUID = lambda i: ("GPU-other", "GPU-12-34")[i]
        module.nvmlDeviceGetMemoryInfo = lambda i: self.memory() if i else SimpleNamespace(used=0, free=0)
        self.module = module
        patch.setitem(sys.modules, "pynvml", module)
        patch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
        patch.setattr(torch.cuda, "mem_get_info", lambda device: (self.memory().free, 80 * GB))
        patch.setattr(torch.cuda, "max_memory_reserved", lambda device: int((2 + self.evaluated) * GB))
        patch.setattr(torch.cuda, "memory_reserved", lambda device: int(1.5 * GB))
        patch.setattr(Job, "set_up_device", lambda job: torch.device("cpu"))
        patch.setattr(Job, "evaluator", lambda job, images: self.evaluate)
        patch.setattr(throughput, "TIMED_S", 0.02)
        patch.setattr("gansweep.engine.need.SETTLING_S", 0.001)
        step, on = Trainer.train_step, Trainer.on

        def train_step(trainer: Trainer) -> None:
            self.used, self.steps = 3 + 0.4 + 1.5, self.steps + 1
            step(trainer)

        def make(*arguments: Any) -> Trainer:
            self.trainers += 1
            if self.trainers > self.full:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return on(*arguments)

        patch.setattr(Trainer, "train_step", train_step)
        patch.setattr(Trainer, "on", make)

    def evaluate(self, trainer: Trainer) -> None:
        self.evaluated = 0.25

    def memory(self) -> SimpleNamespace:
        used = self.used + (self.leaving.pop(0) if self.leaving else 0)
        return SimpleNamespace(used=int(used * GB), free=int((80 - used) * GB))


EVALUATED = "evaluation={per_run: 5, samples: 100}"


@pytest.mark.parametrize(
    "settings", [(), ("model.conditioning=concat",), ("dataset.validation=0.1", "training.ema=0.9")]
)
def test_the_peak_is_what_the_trial_alone_has_taken_at_most(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    gpu = FalseGpu(monkeypatch)
    gpu.leaving = [5.0, 2.0]
    plan = plan_of(*settings)
    need = measure(job_of(plan, plan.trials[0], 1.0).to_config(), 1)
    assert need.peak == pytest.approx(2.4 * GB)
    assert need.free == 77 * GB
    assert (gpu.steps, need.rates) == (EAGER_STEPS + 2, {})


def test_the_memory_of_an_evaluation_counts(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    FalseGpu(monkeypatch)
    plan = plan_of(EVALUATED)
    assert measure(job_of(plan, plan.trials[0], 1.0).to_config(), 1).peak == pytest.approx(2.65 * GB)


def test_what_a_driver_does_not_report_is_asked_of_cuda(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FalseGpu(monkeypatch)
    del gpu.module.nvmlDeviceGetMemoryInfo
    plan = plan_of()
    need = measure(job_of(plan, plan.trials[0], 1.0).to_config(), 1)
    assert need.free == 80 * GB
    assert need.peak == pytest.approx(5.4 * GB), "what others hold counts as well"


def test_a_gpu_that_is_too_small_for_one_leaves_the_need_open(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FalseGpu(monkeypatch)
    gpu.full = 0
    plan = plan_of()
    assert measure(job_of(plan, plan.trials[0], 1.0).to_config(), 8) == Need(None, 77 * GB)


@pytest.mark.parametrize(("full", "most", "measured"), [(99, 3, {1, 2, 3}), (4, 8, {1, 2}), (99, 0, set())])
def test_throughput_is_measured_up_to_what_memory_and_cores_allow(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch, full: int, most: int, measured: set[int]
) -> None:
    gpu = FalseGpu(monkeypatch)
    gpu.full = full
    monkeypatch.setattr("gansweep.engine.need.settled", lambda rates: False)  # on one core more trainers gain nothing
    plan = plan_of()
    rates = measure(job_of(plan, plan.trials[0], 1.0).to_config(), most).rates
    assert rates.keys() == measured
    assert all(rate > 1 for rate in rates.values())


def test_measuring_ends_once_more_trainers_gain_nothing(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FalseGpu(monkeypatch)
    made = iter([100.0, 190.0, 195.0])
    monkeypatch.setattr(throughput.SideBySide, "rate", lambda trainers, number: next(made))
    plan = plan_of()
    need = measure(job_of(plan, plan.trials[0], 1.0).to_config(), 16)
    assert need.rates == {1: 100.0, 2: 190.0, 4: 195.0}
    assert gpu.trainers == 1


@pytest.mark.gpu
def test_a_real_gpu_is_measured_alike_twice_and_a_wider_trial_needs_more(plan_of: PlanOf) -> None:
    plan = plan_of(AUTO, EVALUATED, "search={method: grid, over: {model.feature_maps: [4, 128]}}")
    narrow, wide = (job_of(plan, planned, 1.0) for planned in plan.trials)
    ray.init(num_gpus=1, include_dashboard=False)
    try:
        found = [shares._measured([job], most, "")[0] for job, most in ((narrow, 8), (narrow, 0), (wide, 0))]
    finally:
        ray.shutdown()
    first, second, most = (need.peak for need in found)
    assert first is not None
    assert second is not None
    assert most is not None
    assert abs(first - second) < 0.05 * first
    assert 2e8 < first < most < found[2].free
    rates = found[0].rates
    print(f"{torch.__version__}: {first / GB:.2f} GB, steps/s by number of trials: {rates}")
    assert rates[2] > rates[1] > 100
    assert found[1].rates == {}
