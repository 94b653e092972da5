"""What `resources.gpus: auto` comes to, with a false probe of the memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from gansweep.engine import shares
from gansweep.engine.memory import Need, measure
from gansweep.engine.search import Search
from gansweep.errors import UserError
from gansweep.gan import sampling
from gansweep.gan.capture import EAGER_STEPS
from gansweep.gan.training import Trainer
from gansweep.planning.dispatch import job_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records.layout import Home

PlanOf = Callable[..., Plan]
GB = 10**9
AUTO = "resources.gpus=auto"
GRID = "search={method: grid, over: {model.feature_maps: [2, 4, 8], training.beta1: [0.1, 0.5]}}"
HERE = {"CPU": 16.0, "GPU": 1.0}


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[PlannedTrial]:
    """What is measured: trials need 5 GB for each feature map of G, of 80 GB; above 100 GB it is not known how much."""
    seen: list[PlannedTrial] = []

    def measured(plan: Plan, trials: Iterable[PlannedTrial], collector: None) -> list[Need]:
        seen.extend(trials)
        needs = [planned.training.generator_maps * 5 * GB for planned in seen]
        return [Need(need if need <= 100 * GB else None, 80 * GB) for need in needs]

    monkeypatch.setattr(shares, "_measured", measured)
    return seen


def decide(
    plan: Plan, available: dict[str, float], bounds: Iterable[PlannedTrial] = ()
) -> tuple[list[float], list[str]]:
    """Each trial's share, and the notices."""
    notices: list[str] = []
    found = shares.shares_of(plan, bounds, available, notices.append)
    return [found.of(planned) for planned in plan.trials], notices


def test_each_shape_is_measured_once_and_gets_a_share_of_its_own(plan_of: PlanOf, probed: list[PlannedTrial]) -> None:
    found, notices = decide(plan_of(AUTO, GRID), HERE)
    assert found == [0.1666, 0.1666, 0.3333, 0.3333, 1.0, 1.0]  # six trials are waiting: seven would fit
    assert len(probed) == 3
    assert notices == [
        "resources.gpus: auto: measuring the GPU memory of 3 shapes of networks",
        "resources.gpus: auto: trials on a GPU with 80.0 GB free, 10% of which stay so:"
        " 6 of 10.0 GB, 3 of 20.0 GB, 1 of 40.0 GB",
    ]


def test_more_gpus_than_the_trials_need_take_them_apart(plan_of: PlanOf, probed: list[PlannedTrial]) -> None:
    assert decide(plan_of(AUTO, GRID), {"CPU": 64.0, "GPU": 4.0})[0] == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]


def test_of_trials_of_one_shape_the_one_with_most_images_is_measured(
    plan_of: PlanOf, probed: list[PlannedTrial]
) -> None:
    decide(plan_of(AUTO, "search={method: grid, over: {dataset.classes: [[0, 1], null, [2, 3]]}}"), HERE)
    assert [planned.images.images for planned in probed] == [1797]


def test_a_suggestion_to_come_takes_what_the_largest_may_need(
    plan_of: PlanOf, probed: list[PlannedTrial], home: Home
) -> None:
    over = "{model.feature_maps: {int_uniform: [2, 8]}, training.beta1: {uniform: [0, 0.9]}}"
    plan = plan_of(AUTO, f"search={{method: optuna, trials: 3, over: {over}}}", "evaluation.per_run=2")
    bounds = Search(plan, home).bounds()
    assert [planned.training.generator_maps for planned in bounds] == [2, 8]
    found = shares.shares_of(plan, bounds, HERE, lambda _: None)
    assert found.of(plan_of("model.feature_maps=5").trials[0]) == found.other == 1.0
    assert Search(plan_of(AUTO, GRID), home).bounds() == ()


def test_without_a_gpu_trials_train_on_the_cpu_and_it_is_reported_once(
    plan_of: PlanOf, probed: list[PlannedTrial]
) -> None:
    found, notices = decide(plan_of(AUTO, GRID), {"CPU": 16.0})
    assert found == [0.0] * 6
    assert notices == ["resources.gpus: auto: there is no GPU, so trials train on the CPU"]
    assert probed == []


@pytest.mark.parametrize(("staying", "measured"), [(2, 2), (6, 0)])
def test_trials_that_began_on_the_cpu_stay_there_and_are_not_measured(
    plan_of: PlanOf, probed: list[PlannedTrial], staying: int, measured: int
) -> None:
    plan = plan_of(AUTO, GRID)
    begun = (replace(planned, began_on="cpu") for planned in plan.trials[:staying])
    found, notices = decide(replace(plan, trials=(*begun, *plan.trials[staying:])), HERE)
    assert found == ([0.0, 0.0, 0.3333, 0.3333, 1.0, 1.0] if measured else [0.0] * 6)
    assert len(probed) == measured
    assert notices[0] == f"resources.gpus: auto: {staying} trials that began on the CPU continue there"


def test_a_number_in_the_file_is_not_questioned(plan_of: PlanOf, probed: list[PlannedTrial]) -> None:
    assert decide(plan_of("resources.gpus=0.25"), HERE) == ([0.25], [])
    assert probed == []


@pytest.mark.parametrize(("maps", "amount"), [(17, "85.0"), (32, "more than 80.0")])
def test_where_not_even_one_fits(plan_of: PlanOf, probed: list[PlannedTrial], maps: int, amount: str) -> None:
    plan = plan_of(AUTO, f"model.feature_maps={maps}")
    with pytest.raises(UserError) as caught:
        decide(plan, HERE)
    assert str(caught.value) == (
        f"resources.gpus: auto: trial {plan.trials[0].trial.id} needs {amount} GB of a GPU's memory, 80.0 GB are free;"
        " lower training.batch_size or model.feature_maps, or set resources.gpus: 0 to train on the CPU"
    )


class FalseGpu:
    """One whose memory the allocator takes 2 GB of, gives 0.5 GB back of, beside a context of 0.4 GB and a neighbour's
    3 GB. `full`: it runs out."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.used, self.full, self.steps, self.sampled = 3.0, False, 0, 0
        self.leaving = [0.0]  # memory of a process that has ended, at each reading until it is freed
        module: Any = ModuleType("pynvml")
        module.nvmlInit = lambda: None
        module.nvmlDeviceGetCount = lambda: 2
        module.nvmlDeviceGetHandleByIndex = lambda i: i
        module.nvmlDeviceGetUUID = lambda i: ("GPU-other", "GPU-12-34")[i]
        module.nvmlDeviceGetMemoryInfo = lambda i: self.memory() if i else SimpleNamespace(used=0, free=0)
        patch.setitem(sys.modules, "pynvml", module)
        patch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
        patch.setattr(torch.cuda, "max_memory_reserved", lambda device: 2 * GB)
        patch.setattr(torch.cuda, "memory_reserved", lambda device: int(1.5 * GB))
        patch.setattr(Job, "set_up_device", lambda job: torch.device("cpu"))
        step, draw = Trainer.train_step, sampling.sample

        def train_step(trainer: Trainer) -> None:
            self.used, self.steps = 3 + 0.4 + 1.5, self.steps + 1
            if self.full:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            step(trainer)

        def sample(generator: Any, z: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            self.sampled = len(z)
            return draw(generator, z, labels)

        patch.setattr(Trainer, "train_step", train_step)
        patch.setattr(sampling, "sample", sample)

    def memory(self) -> SimpleNamespace:
        used = self.used + (self.leaving.pop(0) if self.leaving else 0)
        return SimpleNamespace(used=int(used * GB), free=int((80 - used) * GB))


@pytest.mark.parametrize(
    "settings", [(), ("model.conditioning=concat",), ("dataset.validation=0.1", "training.ema=0.9")]
)
def test_the_peak_is_what_the_trial_alone_has_taken_at_most(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    gpu = FalseGpu(monkeypatch)
    gpu.leaving = [5.0, 2.0]
    plan = plan_of("evaluation={per_run: 5, samples: 100}", *settings)
    need = measure(job_of(plan, plan.trials[0], 1.0).to_config())
    assert need.peak == pytest.approx(2.4 * GB)
    assert need.free == 77 * GB
    assert (gpu.steps, gpu.sampled) == (EAGER_STEPS + 2, 100)


def test_a_gpu_that_is_too_small_for_one_leaves_the_need_open(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FalseGpu(monkeypatch)
    gpu.full = True
    plan = plan_of()
    assert measure(job_of(plan, plan.trials[0], 1.0).to_config()) == Need(None, 77 * GB)


@pytest.mark.gpu
def test_a_real_gpu_is_measured_alike_twice_and_a_wider_trial_needs_more(plan_of: PlanOf) -> None:
    import ray

    plan = plan_of(AUTO, "search={method: grid, over: {model.feature_maps: [4, 128]}}")
    ray.init(num_gpus=1, include_dashboard=False)
    try:
        found = [
            shares._measured(plan, [planned], None)[0] for planned in (plan.trials[0], plan.trials[0], plan.trials[1])
        ]
    finally:
        ray.shutdown()
    first, second, wide = (need.peak for need in found)
    assert first is not None
    assert second is not None
    assert wide is not None
    assert found[2].free is not None
    assert abs(first - second) < 0.05 * first
    assert 2e8 < first < wide < found[2].free
