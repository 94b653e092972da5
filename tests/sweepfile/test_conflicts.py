"""What is wrong only together is reported where it stands: at the key, at the case, or with the values of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gansweep.config import NetworkConfig
from gansweep.errors import SweepFileError
from gansweep.health.metrics import CONDITIONAL, PROBABILITIES
from gansweep.losses.registry import LOSSES
from gansweep.networks.registry import ARCHITECTURES, discriminator_design
from gansweep.sweepfile import loader
from gansweep.sweepfile.conflicts import conflicts
from gansweep.sweepfile.schema import TrialConfig
from gansweep.sweepfile.trials import assign

PENALTY = (
    "the gradient penalty treats each image by itself, and batch norm mixes them;"
    " set model.discriminator.norm: layer, or none"
)
SIZES = "makes images of 16, 28, 32, 64, 128 or 256 pixels, not 48; change it, or give two own networks"
NARROW = "two_stream uses half of them for the class and half for the image; give 2 or more"


def refusal(text: str) -> list[str]:
    Path("s.yaml").write_text("name: s\n" + text)
    with pytest.raises(SweepFileError) as caught:
        loader.load(Path("s.yaml"))
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dataset: {image_size: 48}\ntraining: {steps: 1}", f"2:23: dataset.image_size: dcgan {SIZES}"),
        (
            "dataset: {image_size: 48}\nmodel: {discriminator: {network: 'nets:D'}}\ntraining: {steps: 1}",
            f"2:23: dataset.image_size: dcgan {SIZES}",
        ),
        (
            "search: {method: grid, over: {dataset.image_size: [16, 48]}}\ntraining: {steps: 1}",
            f"2:9: search: with dataset.image_size=48: dataset.image_size: dcgan {SIZES}",
        ),
        (
            "model: {architecture: dcgan_mnist28}\ntraining: {steps: 1}",
            "1:1: dataset.image_size: dcgan_mnist28 makes images of 28 pixels, not 32;"
            " change it, or give two own networks",
        ),
        (
            "model: {discriminator: {norm: batch}}\ntraining: {steps: 10, loss: wasserstein_gp}",
            f"2:31: model.discriminator.norm: {PENALTY}",
        ),
        (
            "training: {steps: 10, loss: wasserstein_gp}\nmodel: {latent_dim: 8}",
            f"3:8: model.discriminator.norm: {PENALTY}",
        ),
        (
            "training: {steps: 10}\nsearch: {method: grid, over: {training.loss: [hinge, wasserstein_gp]}}",
            f"3:9: search: with training.loss=wasserstein_gp: model.discriminator.norm: {PENALTY}",
        ),
        (
            "training: {steps: 10}\nsearch: {method: optuna, trials: 1, over: {training.loss: {choice: [hinge,"
            " wasserstein_gp]}}}",
            f"3:9: search: with training.loss=wasserstein_gp: model.discriminator.norm: {PENALTY}",
        ),
        (
            "training: {steps: 10}\nsearch: {method: cases, cases: [{}, {training.loss: wasserstein_gp}]}",
            f"3:37: search.cases[1]: model.discriminator.norm: {PENALTY}",
        ),
        (
            "training: {steps: 10, loss: wasserstein_gp}\n"
            "search: {method: cases, cases: [{model.discriminator.norm: layer}, {model.discriminator.norm: batch}]}",
            f"3:95: search.cases[1].model.discriminator.norm: {PENALTY}",
        ),
        (
            # not for what varies
            "training: {steps: 10}\nmodel: {discriminator: {growth: {at: 10}}}\n"
            "search: {method: grid, over: {training.beta1: [0.1, 0.5]}}",
            "3:38: model.discriminator.growth.at: the run ends at step 10; grow before it",
        ),
        (
            "training: {steps: 10}\nsearch: {method: cases, cases: [{}, {training.regularization.r2: 1}]}",
            f"3:37: search.cases[1]: model.discriminator.norm: {PENALTY}",
        ),
        (
            "training: {steps: 10, regularization: {interval: 16}}",
            "2:50: training.regularization.interval: has no effect without a penalty;"
            " set training.regularization.r1 or r2",
        ),
        (
            "training: {steps: 10, regularization: {r1: -1}}",
            "2:44: training.regularization.r1: must be at least 0.0, got -1",
        ),
        (
            "training: {steps: 10, augment: {policy: [colour]}}",
            "2:42: training.augment.policy[0]: must be 'color', 'translation' or 'cutout', got 'colour'",
        ),
        (
            "training: {steps: 10, augment: {policy: [cutout, color, cutout]}}",
            "2:41: training.augment.policy: name each operator once, got [cutout, color, cutout]",
        ),
        (
            "training: {steps: 10, augment: {policy: [color], target: 0.7}}",
            "2:58: training.augment.target: has no effect with a fixed probability; set training.augment.adaptive",
        ),
        (
            "training: {steps: 10, augment: {adaptive: true}}",
            "2:43: training.augment.adaptive: has no effect without operators; set training.augment.policy",
        ),
        (
            "training: {steps: 10, loss: relativistic, augment: {policy: [color], adaptive: true}}",
            "2:80: training.augment.adaptive: follows the signs of D's outputs, which mean nothing with training.loss"
            " relativistic; choose another",
        ),
        (
            "training: {steps: 10, clip: 0.1}",
            "2:29: training.clip: goes with loss: wasserstein_clip, not non_saturating",
        ),
        (
            "training: {steps: 10, gradient_penalty: 1, loss: hinge}",
            "2:41: training.gradient_penalty: goes with loss: wasserstein_gp, not hinge",
        ),
        (
            "training: {steps: 10, label_smoothing: 0.1, loss: least_squares}",
            "2:40: training.label_smoothing: goes with loss: non_saturating or saturating, not least_squares",
        ),
        (
            "training: {steps: 10, instance_noise_until: 5}",
            "2:45: training.instance_noise_until: has no effect without noise; set training.instance_noise",
        ),
        (
            "training: {steps: 10}\nmodel: {conditioning: two_stream, feature_maps: 1}",
            f"3:49: model.feature_maps: {NARROW}",
        ),
        (
            "training: {steps: 10}\nmodel: {conditioning: two_stream, generator: {feature_maps: 1}}",
            f"3:61: model.generator.feature_maps: {NARROW}",
        ),
        (
            "training: {steps: 10}\nmodel: {conditioning: two_stream, discriminator: {feature_maps: 1}}",
            f"3:65: model.discriminator.feature_maps: {NARROW}",
        ),
        (
            "training: {steps: 10, loss: wasserstein_clip}\n"
            "search: {method: grid, objective: {metric: d_fresh, mode: max}, over: {training.beta1: [0.5]}}",
            "3:44: search.objective.metric: a critic's outputs are not probabilities: no run records d_fresh with"
            " training.loss wasserstein_clip; choose d_auc or fd_ratio",
        ),
        (
            "training: {steps: 10}\nsearch: {method: cases, objective: {metric: d_real, mode: max},"
            " cases: [{}, {training.loss: wasserstein_clip}]}",
            "3:45: search.objective.metric: a critic's outputs are not probabilities: no run records d_real with"
            " training.loss wasserstein_clip; choose d_auc or fd_ratio",
        ),
        (
            "training: {steps: 10}\n"
            "search: {method: grid, objective: {metric: d_preference, mode: max}, over: {training.beta1: [0.5]}}",
            "3:44: search.objective.metric: no run records d_preference with training.loss non_saturating, which"
            " compares no pairs; choose d_auc",
        ),
        (
            "training: {steps: 10, loss: hinge}\n"
            "search: {method: grid, objective: {metric: critic_fake, mode: max}, over: {training.beta1: [0.5]}}",
            "3:44: search.objective.metric: D is not a critic: no run records critic_fake with training.loss hinge;"
            " choose d_fake",
        ),
        (
            "training: {steps: 10}\n"
            "search: {method: grid, objective: {metric: requested_worst, mode: max}, over: {training.beta1: [0.5]}}",
            "3:44: search.objective.metric: no run records requested_worst without conditioning:"
            " set model.conditioning",
        ),
    ],
)
def test_says_where_and_what_does_not_go_together(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(text) == [f"s.yaml:{problem}"]


def found(metric: str | None = None, **dotted: Any) -> list[str]:
    """Keys in conflict, of a trial with some keys set; in their names __ stands for a dot."""
    config: dict[str, Any] = {"training": {"steps": 10}}
    for key, value in dotted.items():
        config = assign(config, key.replace("__", "."), value)
    return [".".join(path) for path, _ in conflicts(TrialConfig.model_validate(config), metric)]


@pytest.mark.parametrize(
    "dotted",
    [
        {},
        {"training__loss": "wasserstein_gp", "model__discriminator__norm": "layer"},
        {"training__loss": "wasserstein_gp", "model__discriminator__norm": "none"},
        {"training__loss": "wasserstein_gp", "model__architecture": "projected"},
        {"training__loss": "wasserstein_clip"},
        {"dataset__image_size": 8, "model__architecture": "nets:Pair"},
        {"model__discriminator__growth__at": 9},
        {"training": {"epochs": 1}, "model__discriminator__growth__at": 99},  # prepare.py counts the steps
        {"training__clip": 0.01, "training__gradient_penalty": 10, "training__label_smoothing": 0},  # the defaults
        {"training__loss": "wasserstein_clip", "training__clip": 0.1},
        {"training__loss": "saturating", "training__label_smoothing": 0.1},
        {"training__instance_noise": 0.1, "training__instance_noise_until": 5},
        {"model__conditioning": "two_stream", "model__feature_maps": 2},
        {"model__conditioning": "concat", "model__feature_maps": 1},
        {"metric": "critic_real", "training__loss": "wasserstein_clip"},
        {"metric": "coverage_within", "model__conditioning": "concat"},
        {"metric": "d_auc", "training__loss": "wasserstein_clip"},
        {"metric": "d_fresh", "training__loss": "hinge"},
        {"metric": "d_preference", "training__loss": "relativistic"},
    ],
    ids=str,
)
def test_what_goes_together_is_allowed(dotted: dict[str, Any]) -> None:
    assert found(**dotted) == []


def test_a_norm_given_to_a_network_without_one_counts() -> None:
    dotted = {"training__loss": "wasserstein_gp", "model__architecture": "projected"}
    assert found(**dotted, model__discriminator__norm="batch") == ["model.discriminator.norm"]


def test_all_conflicts_are_found_at_once() -> None:
    assert found(
        "r_t", training__loss="wasserstein_gp", training__clip=1, training__label_smoothing=0.2,
        training__instance_noise_until=5, model__conditioning="two_stream", model__generator__feature_maps=1,
        model__discriminator__growth__at=11,
    ) == [
        "model.discriminator.norm", "model.discriminator.growth.at", "model.generator.feature_maps",
        "training.label_smoothing", "training.clip", "training.instance_noise_until", "search.objective.metric",
    ]  # fmt: skip


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.critic])
@pytest.mark.parametrize("metric", PROBABILITIES)
def test_no_critic_has_probabilities(loss: str, metric: str) -> None:
    dotted = {"training__loss": loss, "model__discriminator__norm": "none"}
    assert found(metric, **dotted) == ["search.objective.metric"]


@pytest.mark.parametrize("metric", CONDITIONAL)
def test_no_class_is_requested_without_conditioning(metric: str) -> None:
    assert found(metric) == ["search.objective.metric"]


def test_the_networks_with_batch_norm_are_those_that_are_built_with_it() -> None:
    built = {
        name: discriminator_design(8, architecture.image_sizes[0], 1, NetworkConfig(name)).has_batch_norm
        for name, architecture in ARCHITECTURES.items()
    }
    assert {name for name, has in built.items() if has} == {"dcgan", "dcgan_mnist28"}
