"""What the pending trials cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gansweep.planning.cost import START_S, _time_steps, shape_of, wall_s
from gansweep.planning.plan import Plan
from gansweep.records import outcome
from gansweep.records.outcome import Outcome

PlanOf = Callable[..., Plan]


def shapes(plan: Plan) -> list[str]:
    return [shape_of(p) for p in plan.trials]


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("training.learning_rate", "[1e-4, 1e-3]", 1),
        ("training.generator.beta1", "[0.1, 0.5]", 1),
        ("model.latent_dim", "[8, 16]", 2),
        ("model.generator.feature_maps", "[4, 8]", 2),
        ("training.batch_size", "[16, 32]", 2),
        ("training.discriminator.updates", "[1, 2]", 2),
        ("dataset.augment.flip", "[true, false]", 2),
        ("model.discriminator.growth.at", "[null, 3]", 1),  # timed as it will have grown
    ],
)
def test_only_what_changes_the_work_makes_another_shape(plan_of: PlanOf, key: str, values: str, expected: int) -> None:
    plan = plan_of(f"search={{method: grid, over: {{{key}: {values}}}}}", "replicates=2")
    assert len(plan.trials) == 4
    assert len(set(shapes(plan))) == expected


def test_wall_is_the_longest_queue_and_the_start(plan_of: PlanOf) -> None:
    plan = plan_of("search={method: grid, over: {model.latent_dim: [8, 9, 10]}}", "training.steps=100")
    step_s = dict(zip(shapes(plan), (3.0, 1.0, 1.5), strict=True))
    assert wall_s(plan, 1, step_s) == START_S + 550
    assert wall_s(plan, 2, step_s) == START_S + 300  # the third joins the second
    assert wall_s(plan, 3, step_s) == START_S + 300
    assert wall_s(plan, 9, step_s) == START_S + 300


def test_steps_already_trained_cost_nothing(plan_of: PlanOf) -> None:
    plan = plan_of("training.steps=100", "replicates=2")
    first, second = (plan.folder.trial(p.trial.id) for p in plan.trials)
    outcome.write(first, Outcome("interrupted", 40))
    plan = plan_of("training.steps=100", "replicates=2")
    step_s = dict.fromkeys(shapes(plan), 1.0)
    assert wall_s(plan, 1, step_s) == START_S + 60 + 100
    outcome.write(second, Outcome("completed", 100))
    assert wall_s(plan_of("training.steps=100", "replicates=2"), 1, step_s) == START_S + 60
    outcome.write(first, Outcome("stopped", 40, rule="divergence"))
    assert wall_s(plan_of("training.steps=100", "replicates=2"), 1, step_s) == 0


def test_times_real_steps(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.planning.cost.TIMED_S", 0.05)
    (planned,) = plan_of().trials
    assert 1e-5 < _time_steps(planned.training, planned.images, 1, False) < 1
