"""What the pending trials cost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stand_in

from gansweep.gan.network_file import NetworkFile
from gansweep.planning.cost import START_S, FidCost, _time_steps, features_s, fid_cost, shape_of, wall_s
from gansweep.planning.fid import config_of
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


@pytest.fixture
def photographs(tmp_path: Path) -> str:
    """Override of a sweep file: 2,100 small images in colour with two classes, for which `auto` trains an embedding."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "images.npz", images=rng.integers(0, 200, (2_100, 3, 16, 16), np.uint8), labels=np.arange(2_100) % 2
    )
    return f"dataset={{name: arrays, path: {tmp_path}/images.npz, image_size: 16}}"


def test_embeddings_are_trained_once_while_ray_starts(plan_of: PlanOf, photographs: str) -> None:
    plan = plan_of(photographs, "evaluation.per_run=2", "replicates=3")
    step_s = dict.fromkeys(shapes(plan), 1.0)
    assert features_s(plan) == 90
    assert wall_s(plan, 3, step_s) == 90 + 4
    (planned, *_) = plan.trials
    planned.images.reference(planned.features.key(planned.training.code)).touch()
    assert features_s(plan) == 0, "they are kept"
    assert wall_s(plan, 3, step_s) == START_S + 4
    assert features_s(plan_of(photographs)) == 0, "without evaluations none is needed"


def test_what_embeddings_take_depends_on_the_images(plan_of: PlanOf, photographs: str) -> None:
    for name, seconds in {"classifier": 55 + 0.011 * 1_050, "principal_components": 2}.items():
        assert features_s(plan_of(photographs, f"evaluation={{per_run: 2, features: {name}}}")) == seconds
    grey = plan_of("evaluation.per_run=2")
    assert 4 + 5 < features_s(grey) < 10, "the small classifier of digits, and what tells intact ones"
    (one,) = grey.trials

    def of(**changes: object) -> float:
        return features_s(replace(grey, trials=(replace(one, images=replace(one.images, **changes)),)))

    assert 4 + 13 < of(image_size=32) < 30
    assert of(images=399) < 5
    assert of(image_size=64) > 60


def test_fid_is_timed_and_part_of_each_trial(
    plan_of: PlanOf, photographs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansweep.planning.cost.TIMED_S", 0.05)
    assert fid_cost(plan_of(photographs), 1) == FidCost()
    stand_in.write(tmp_path / "stand-in.pt2")
    asked = f"evaluation={{per_run: 0, fid: {{weights: {tmp_path}/stand-in.pt2, samples: 4200}}}}"
    plan = plan_of(photographs, asked, "replicates=4")
    found = fid_cost(plan, 1)
    assert 0 < found.images_s < 10
    assert found.samples_s == pytest.approx(2 * found.images_s)
    step_s = dict.fromkeys(shapes(plan), 1.0)
    assert wall_s(plan, 2, step_s, FidCost(7.0, 30.0)) == START_S + 7 + 2 * (4 + 30)
    network = NetworkFile(tmp_path / "stand-in.pt2", config_of(plan.sweep).sha256)
    network.statistics(plan.trials[0].images).touch()
    monkeypatch.setattr("gansweep.planning.cost._processes", ThreadPoolExecutor)  # another process takes seconds
    again = fid_cost(plan, 1)
    assert again.images_s == 0, "real images are measured once"
    assert again.samples_s > 0


def test_times_real_steps(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.planning.cost.TIMED_S", 0.05)
    (planned,) = plan_of().trials
    assert 1e-5 < _time_steps(planned.training, planned.images, 1, False) < 1
