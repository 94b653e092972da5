"""Settings that are valid one by one but not in combination, as far as the sweep file determines it.

Conflicts with the images are found by planning/plan.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from gansweep.config import Model, NetworkConfig, Training, values_for
from gansweep.features import AUTO, embedding_kind
from gansweep.health.metrics import CONDITIONAL, CRITIC_FAKE, CRITIC_REAL, D_FAKE, D_PREFERENCE, D_REAL, PROBABILITIES
from gansweep.losses import registry
from gansweep.losses.registry import LOSSES, options
from gansweep.networks.own import named_network
from gansweep.networks.registry import ARCHITECTURES, architecture_of, discriminator_design
from gansweep.records.layout import flat
from gansweep.sweepfile.schema import Evaluation, TrialConfig
from gansweep.usercode.path import is_import_path

Conflict = tuple[tuple[str, ...], str]  # the key to change, and what is wrong

MIXED = (
    "the gradient penalty treats each image by itself, and batch norm mixes them;"
    " set model.discriminator.norm: layer, or none"
)
INSTEAD = {CRITIC_REAL: D_REAL, CRITIC_FAKE: D_FAKE}  # metrics recorded if D is not a critic


def conflicts(config: TrialConfig, metric: str | None = None) -> list[Conflict]:
    """Return all conflicts in a configuration, each as the path of the key to change and the problem.

    Args:
        config: The configuration.
        metric: Metric of the objective; None if nothing depends on the objective.
    """
    objective = [] if metric is None else _objective(config, metric)
    return [*_networks(config), *_training(config.training), *_evaluation(config.evaluation), *objective]


def _networks(config: TrialConfig) -> Iterator[Conflict]:
    model, training = config.model, config.training
    yield from _image_size(config)
    yield from _own_networks(model)
    if penalises_images(training) and _has_batch_norm(model):
        yield ("model", "discriminator", "norm"), MIXED
    at = model.discriminator.growth.at
    if at is not None and training.steps is not None and at >= training.steps:
        yield (
            ("model", "discriminator", "growth", "at"),
            f"the run ends at step {training.steps}; grow before it",
        )
    if model.conditioning == "two_stream":
        yield from _too_narrow(model)


def _image_size(config: TrialConfig) -> Iterator[Conflict]:
    model, size = config.model, config.dataset.image_size
    sizes = architecture_of(NetworkConfig(**values_for(NetworkConfig, model))).image_sizes
    if size not in sizes:
        *others, last = map(str, sizes)
        possible = f"{', '.join(others)} or {last}" if others else last
        yield (
            ("dataset", "image_size"),
            f"{model.architecture} makes images of {possible} pixels, not {size}; change it, or give two own networks",
        )


def penalises_images(training: Training) -> bool:
    """Whether D's loss has a penalty that depends on each image by itself."""
    r1_r2 = training.regularization.r1 or training.regularization.r2
    return bool(r1_r2) or registry.penalises_images(training.loss)


def _own_networks(model: Model) -> Iterator[Conflict]:
    """Yield the conflicts of settings that have no effect on a user's network, or that require one."""
    config = NetworkConfig(**values_for(NetworkConfig, model))
    own = {name: named_network(config, name) is not None for name in ("generator", "discriminator")}
    for name, section in (("generator", model.generator), ("discriminator", model.discriminator)):
        changed = flat(section.model_dump(exclude_defaults=True))
        others = [key for key in changed if key not in ("network", "feature_maps") and not key.startswith("options.")]
        if own[name]:
            for key in others:
                yield ("model", name, *key.split(".")), f"has no effect on an own network; give its {name} options"
        elif section.options:
            yield ("model", name, "options"), f"are arguments of an own network; set model.{name}.network"
    if model.conditioning == "own" and not all(own.values()):
        yield ("model", "conditioning"), "own goes with two own networks; choose concat or two_stream"


def _has_batch_norm(model: Model) -> bool:
    """Whether a built-in D has batch norm. This does not depend on the size of D.

    False for a user's D, which has not been run yet.
    """
    network = NetworkConfig(model.architecture, norm=model.discriminator.norm)
    if named_network(NetworkConfig(**values_for(NetworkConfig, model)), "discriminator"):
        return False
    size = ARCHITECTURES[model.architecture].image_sizes[0]
    return discriminator_design(model.feature_maps, size, 1, network).has_batch_norm


def _too_narrow(model: Model) -> Iterator[Conflict]:
    for name, own in (("generator", model.generator.feature_maps), ("discriminator", model.discriminator.feature_maps)):
        if (own or model.feature_maps) < 2:
            path = ("model", "feature_maps") if own is None else ("model", name, "feature_maps")
            yield path, "two_stream uses half of them for the class and half for the image; give 2 or more"


def _training(training: Training) -> Iterator[Conflict]:
    if training.loss in LOSSES:
        for key in ("loss_options", "critic"):
            if getattr(training, key):
                yield ("training", key), f"goes with an own loss, not {training.loss}; set training.loss: MODULE:NAME"
    for key, option in options().items():
        # Stating a default is not a conflict: the command that reruns one case states every key of all cases.
        if training.loss not in option.losses and getattr(training, key) != option.default:
            yield ("training", key), f"goes with loss: {' or '.join(option.losses)}, not {training.loss}"
    penalties = training.regularization
    if penalties.interval > 1 and not (penalties.r1 or penalties.r2):
        path = ("training", "regularization", "interval")
        yield path, "has no effect without a penalty; set training.regularization.r1 or r2"
    yield from _augmentation(training)
    if training.instance_noise_until is not None and not training.instance_noise:
        yield ("training", "instance_noise_until"), "has no effect without noise; set training.instance_noise"


def _augmentation(training: Training) -> Iterator[Conflict]:
    augment, path = training.augment, ("training", "augment")
    if augment.adaptive and not augment.policy:
        yield (*path, "adaptive"), "has no effect without operators; set training.augment.policy"
    if augment.adaptive and training.is_critic():
        yield (
            (*path, "adaptive"),
            f"follows the signs of D's outputs, which mean nothing with training.loss {training.loss}; choose another",
        )
    for key in ("target", "interval", "ramp_images"):
        if not augment.adaptive and getattr(augment, key) != type(augment).model_fields[key].default:
            yield (*path, key), "has no effect with a fixed probability; set training.augment.adaptive"


def _evaluation(evaluation: Evaluation) -> Iterator[Conflict]:
    if evaluation.metrics and not evaluation.per_run:
        yield ("evaluation", "metrics"), "has no effect without evaluations; set evaluation.per_run"
    name = evaluation.features
    needs_weights = name != AUTO and embedding_kind(name).weights
    if needs_weights and evaluation.weights is None:
        yield ("evaluation", "features"), f"{name} needs a file of weights; set evaluation.weights"
    if evaluation.weights is not None and not needs_weights:
        yield ("evaluation", "weights"), f"goes with features that need a file, as torchvision:resnet50, not {name}"


def _objective(config: TrialConfig, metric: str) -> Iterator[Conflict]:
    path, loss = ("search", "objective", "metric"), config.training.loss
    if is_import_path(metric) and metric not in config.evaluation.metrics:
        yield path, f"no run records {metric}; name it in evaluation.metrics as well"
    critic = config.training.is_critic()
    if critic and metric in PROBABILITIES:
        yield (
            path,
            f"a critic's outputs are not probabilities: no run records {metric} with training.loss {loss};"
            " choose d_auc or fd_ratio",
        )
    if metric == D_PREFERENCE and not registry.compares(loss):
        yield path, f"no run records {metric} with training.loss {loss}, which compares no pairs; choose d_auc"
    if not critic and metric in INSTEAD:
        yield path, f"D is not a critic: no run records {metric} with training.loss {loss}; choose {INSTEAD[metric]}"
    if config.model.conditioning == "none" and metric in CONDITIONAL:
        yield path, f"no run records {metric} without conditioning: set model.conditioning"
