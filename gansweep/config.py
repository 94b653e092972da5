"""Configuration of a run: keys of the sweep file, and the dataclasses that a trainer receives. Does not load torch.

Every option has two forms, and both are declared here. The first is a key of a section of the sweep file (pydantic),
with its range, default and description. The second is a field of a dataclass. In dataclasses, inherited values are
resolved, and sizes and classes are those of the images. `values_for` copies values from the first form to the second by
name, so a new option is declared here and used in one other place. `to_plain` and `from_plain` convert the dataclasses
to JSON and back where they are passed to another process or written to a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, create_model, field_validator, model_validator

from gansweep.features import embedding_kind, is_own
from gansweep.health.detectors.base import Thresholds
from gansweep.health.metrics import FD_RATIO
from gansweep.losses.loss import Loss
from gansweep.losses.own import OwnLoss
from gansweep.losses.registry import LOSSES, Option, create, is_critic, options
from gansweep.losses.regularizer import Regularizer
from gansweep.networks.architecture import NetworkConfig as NetworkConfig
from gansweep.networks.architecture import Norm
from gansweep.networks.registry import ARCHITECTURES
from gansweep.plain import from_plain as from_plain
from gansweep.plain import to_plain as to_plain
from gansweep.section import NameOf, PathOf, Positive, Section, Since
from gansweep.usercode.code import Code
from gansweep.usercode.path import ImportPath, is_import_path

T = TypeVar("T")
FIRST_OPTIONS = ("clip", "gradient_penalty", "label_smoothing")  # options of losses that version 0.1.0 had
NO_CODE = Code()
NetworkName = Literal["generator", "discriminator"]
Operator = Literal["color", "translation", "cutout"]  # gan/diffaugment.py
LearningRate = Annotated[float, Field(gt=0, description="Adam's step size")]
Beta = Annotated[float, Field(ge=0, lt=1, description="Adam's decay rate")]
FROM = "weights that both networks start from: a file or folder, a name of imported weights, or SWEEP/TRIAL[@STEP]"
NetworkPath = Annotated[
    str | None,
    PathOf(),
    Since("0.2.0"),
    Field(description="import path of an own network, MODULE:NAME: a function or class that returns it"),
]
Arguments = Annotated[  # null: not passed, which is what a case of a search has that does not name the argument
    dict[str, bool | int | float | str | None],
    AfterValidator(lambda given: {name: value for name, value in given.items() if value is not None}),
]
Options = Annotated[
    Arguments, Since("0.2.0"), Field(description="arguments of the own network, by name; each can be varied")
]
FeatureMaps = Annotated[int, Field(ge=1, le=1024, description="feature maps of the layer next to the image")]


class Augment(Section):
    """Random changes to each real image, on the training device."""

    flip: Annotated[bool, Field(description="mirror left and right with probability 1/2")] = False
    rotate: Annotated[float, Field(ge=0, le=180, description="maximum rotation in degrees")] = 0.0
    translate: Annotated[float, Field(ge=0, le=0.5, description="maximum shift, as a share of the side")] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1, description="maximum change of size, as a share")] = 0.0


class Growth(Section):
    """Two-stage training: D starts without its last block. The block and a new head are added at a later step."""

    at: Annotated[int | None, Field(ge=1, description="step after which D grows; default: never")] = None
    adds: Annotated[
        Literal["block", "head"],
        Field(description="head: D has all its blocks from the start, and only its head is replaced"),
    ] = "block"


class Network(Section):
    """Structure of one network."""

    feature_maps: FeatureMaps | None = None
    depth: Annotated[
        int, Field(ge=1, le=4, description="layers per resolution: one that changes the resolution, the others 3×3")
    ] = 1
    separable: Annotated[bool, Field(description="depthwise separable convolutions")] = False
    network: NetworkPath = None
    options: Options = Field(default_factory=dict)


class DiscriminatorNetwork(Network):
    """Structure of D."""

    norm: Annotated[
        Norm | None, Field(description="normalisation of the inner blocks; default: the architecture's own")
    ] = None
    spectral_norm: Annotated[bool, Field(description="divide every weight by its largest singular value")] = False
    growth: Growth = Growth()


class Model(Section):
    """The two networks."""

    architecture: Annotated[str, NameOf(ARCHITECTURES, own=True)] = "dcgan"
    conditioning: Annotated[
        Literal["none", "concat", "two_stream", "own"],
        Field(
            description="input of the class to the networks: as extra channels, or through a separate layer;"
            " own: own networks take the labels as their second argument"
        ),
    ] = "none"
    latent_dim: Annotated[int, Field(ge=1, le=4096, description="length of z")] = 100
    feature_maps: FeatureMaps = 64
    channels: Annotated[
        Literal[1, 3] | None,
        Field(description="channels of the images; default: those of the data set"),
    ] = None
    generator: Network = Network()
    discriminator: DiscriminatorNetwork = DiscriminatorNetwork()


class NetworkTraining(Section):
    """Training of one network. Options that are not set are inherited from `training`."""

    learning_rate: LearningRate | None = None
    beta1: Beta | None = None
    beta2: Beta | None = None
    updates: Annotated[int, Field(ge=1, le=100, description="updates per step")] = 1


class Regularization(Section):
    """Gradient penalties on D, in addition to the loss."""

    r1: Annotated[
        float, Field(ge=0, description="weight γ of γ/2 · mean ‖∇D‖² on real images (Mescheder et al. 2018); 0: none")
    ] = 0.0
    r2: Annotated[float, Field(ge=0, description="the same on fakes; 0: none")] = 0.0
    interval: Annotated[
        int, Field(ge=1, le=1000, description="steps between two penalties, whose weight is multiplied by it")
    ] = 1


class DiscriminatorAugment(Section):
    """Differentiable changes to all inputs of D, real images and fakes alike (Zhao et al. 2020)."""

    policy: list[Operator] = Field(
        default_factory=list, description="DiffAugment's operators, in this order; default: none"
    )
    adaptive: Annotated[
        bool, Field(description="apply each operator with a probability p that follows r_t (ADA: Karras et al. 2020)")
    ] = False
    target: Annotated[float, Field(gt=0, lt=1, description="ADA: p rises while r_t is above this value")] = 0.6
    interval: Annotated[int, Field(ge=1, le=1000, description="ADA: updates of D between two changes of p")] = 4
    ramp_images: Annotated[
        int, Field(ge=1, description="ADA: real images shown to D during which p may rise from 0 to 1")
    ] = 500_000

    @field_validator("policy")
    @classmethod
    def _once_each(cls, policy: list[Operator]) -> list[Operator]:
        if len({*policy}) < len(policy):
            raise ValueError(f"name each operator once, got [{', '.join(policy)}]")
        return policy


class CommonTraining(Section):
    """The keys of `training` that do not belong to a loss."""

    steps: Positive | None = None
    epochs: Positive | None = None
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    learning_rate: LearningRate = 2e-4
    beta1: Beta = 0.5
    beta2: Beta = 0.999
    generator: NetworkTraining = NetworkTraining()
    discriminator: NetworkTraining = NetworkTraining()
    loss: Annotated[str, NameOf(LOSSES, own=True), Field(description="what D and G minimise")] = "non_saturating"
    loss_options: Annotated[
        Arguments,
        Since("0.2.0"),
        Field(description="arguments of an own loss, by name; each can be varied"),
    ] = Field(default_factory=dict)
    critic: Annotated[
        bool,
        Since("0.2.0"),
        Field(description="an own loss makes D a critic: the sign of its outputs has no meaning"),
    ] = False
    regularization: Annotated[Regularization, Since("0.2.0")] = Regularization()
    augment: Annotated[DiscriminatorAugment, Since("0.2.0")] = DiscriminatorAugment()
    instance_noise: Annotated[
        float,
        Field(ge=0, le=1, description="standard deviation of the noise on all inputs of D, which are in [-1, 1]"),
    ] = 0.0
    instance_noise_until: Annotated[
        int | None, Field(ge=1, description="step at which the noise has fallen to 0; default: constant noise")
    ] = None
    ema: Annotated[
        float,
        Field(ge=0, lt=1, description="decay of the average of G's weights that samples come from; 0: no average"),
    ] = 0.0
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="bfloat16: forward passes of both networks in training (autocast); losses stay float32"),
    ] = "float32"

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs" + ("" if self.steps is None else ", not both"))
        return self

    def optimizer(self, network: NetworkName) -> OptimizerConfig:
        """Return Adam's options for one network. Options that its section does not set are taken from this section."""
        own = vars(getattr(self, network))
        return OptimizerConfig(**{k: getattr(self, k) if value is None else value for k, value in own.items()})

    @property
    def start(self) -> str | None:
        """Value of the key `from`, which names the weights to start from; None if it is not set."""
        found: str | None = getattr(self, "from")
        return found

    def options_of_loss(self) -> dict[str, Any]:
        """Return option → value of the chosen loss; for a user's loss, its `loss_options`."""
        if self.loss not in LOSSES:
            return self.loss_options
        return {one.name: getattr(self, one.name) for one in fields(LOSSES[self.loss])}

    def is_critic(self) -> bool:
        """Whether D is a critic under the chosen loss."""
        return is_critic(self.loss, self.critic)


def _key(option: Option) -> Any:
    """Return the type and default of an option's key in `training`, for pydantic's create_model."""
    described = Field(option.default, **{**option.metadata, "description": option.help})
    return (float if option.name in FIRST_OPTIONS else Annotated[float, Since("0.2.0")], described)


if TYPE_CHECKING:

    class Training(CommonTraining): ...

else:
    Training = create_model(
        "Training",
        __base__=CommonTraining,
        __module__=__name__,
        __doc__="Training of both networks: its length, optimizers and loss.",
        **{name: _key(option) for name, option in options().items()},
        # Not an attribute of the class above, because it is a keyword of Python: see `CommonTraining.start`.
        **{"from": (Annotated[str | None, Since("0.2.0")], Field(None, min_length=1, description=FROM))},
    )


@dataclass(frozen=True)
class FeaturesConfig:
    """Embedding that evaluations use.

    Attributes:
        name: Its name, as in a sweep file.
        weights: Path of its file of weights; empty if it needs none.
        digest: SHA-256 of that file; empty without one.
    """

    name: str
    weights: str = ""
    digest: str = ""

    def key(self, code: Code) -> str:
        """Return the part of a file name that tells embeddings of the same images apart.

        Args:
            code: The user's code. Its hash is included if `name` is an import path.
        """
        kind = embedding_kind(self.name)
        own = code.digest if is_own(self.name) else ""
        parts = (re.sub(r"[^\w-]+", "-", self.name), str(kind.version), self.digest[:12], own)
        return "-".join(filter(None, parts))


@dataclass(frozen=True)
class StartConfig:
    """Weights that a run starts from.

    Attributes:
        digest: Hash of the weights, 16 hexadecimal digits; empty for new weights.
        path: Path of the file of weights on this machine. It is not part of records.
    """

    digest: str = ""
    path: str = ""


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes to real images. See the section `Augment`."""

    flip: bool = False
    rotate: float = 0.0
    translate: float = 0.0
    scale: float = 0.0


@dataclass(frozen=True)
class DiffAugmentConfig:
    """Changes to all inputs of D. See the section `DiscriminatorAugment`."""

    policy: tuple[str, ...] = ()
    adaptive: bool = False
    target: float = 0.6
    interval: int = 4
    ramp_images: int = 500_000


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of one network: Adam's options, and the number of updates per step."""

    learning_rate: float
    beta1: float
    beta2: float
    updates: int = 1


@dataclass(frozen=True)
class LossConfig:
    """The loss and the instance noise.

    Attributes:
        name: Name of the loss, or import path of a user's loss.
        options: Options of the loss that are not at their defaults.
        instance_noise: Standard deviation of the noise on the inputs of D.
        instance_noise_until: Step at which the noise has decreased to 0; None for constant noise.
        own_critic: Whether a user's loss makes D a critic.
    """

    name: str = "non_saturating"
    options: Mapping[str, Any] = field(default_factory=dict)
    instance_noise: float = 0.0
    instance_noise_until: int | None = None
    own_critic: bool = False

    @property
    def critic(self) -> bool:
        """Whether D is a critic, whose outputs are not probabilities."""
        return is_critic(self.name, self.own_critic)

    def own(self, code: Code) -> OwnLoss | None:
        """Return the user's loss; None if the loss is built in."""
        if not is_import_path(self.name):
            return None
        return OwnLoss(ImportPath.parse(self.name), code, self.options, self.own_critic)

    def create(self, code: Code = NO_CODE) -> Loss:
        """Return the loss.

        Args:
            code: Code of the user that defines it.

        Raises:
            KeyError, TypeError: The name or an option is unknown.
            UserError: The user's loss cannot be used.
        """
        own = self.own(code)
        return own.create() if own else create(self.name, self.options)

    def noise_at(self, step: int) -> float:
        """Return the standard deviation of the instance noise at a step."""
        if self.instance_noise_until is None:
            return self.instance_noise
        return self.instance_noise * max(0.0, 1 - step / self.instance_noise_until)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines the numbers of a run, except the images.

    Attributes:
        latent_dim: Length of z.
        generator_maps: Feature maps of G next to the image.
        discriminator_maps: Feature maps of D next to the image.
        image_size: Side of the images in pixels.
        channels: Channels of the images.
        validation: Share of the images that is held out.
        ema: Decay of the average of G's weights; 0 for no average.
        code: Code of the user that the run imports.
        start: Weights that the run starts from.
    """

    latent_dim: int
    generator_maps: int
    discriminator_maps: int
    image_size: int
    channels: int
    batch_size: int
    generator: OptimizerConfig
    discriminator: OptimizerConfig
    seed: int = 0
    precision: str = "float32"
    validation: float = 0.0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    regularizer: Regularizer = field(default_factory=Regularizer)
    augment: DiffAugmentConfig = field(default_factory=DiffAugmentConfig)
    ema: float = 0.0
    code: Code = field(default_factory=Code)
    start: StartConfig = field(default_factory=StartConfig)

    def at(self, folder: Path | str) -> TrainingConfig:
        """Return a copy of the configuration that imports the user's code from another folder.

        Args:
            folder: Folder that holds the copy of the code, under the name of its hash.
        """
        return replace(self, code=self.code.at(folder))

    def starting_from(self, path: Path | str) -> TrainingConfig:
        """Return a copy of the configuration that reads its initial weights from `path`.

        A configuration that starts from random weights is returned unchanged.
        """
        return replace(self, start=replace(self.start, path=str(path))) if self.start.digest else self


@dataclass(frozen=True)
class FidConfig:
    """Settings of the FID measurement at the end of a run. They have no effect on training.

    Attributes:
        weights: Path of the network's file on this machine; empty for no measurement.
        sha256: SHA-256 of the file.
        samples: Number of samples to compare with the real images.
    """

    weights: str = ""
    sha256: str = ""
    samples: int = 0


@dataclass(frozen=True)
class RunConfig:
    """Length of a run, its records, and the rules that end it.

    Attributes:
        steps: Number of steps.
        metrics: Steps between two records of metrics.
        samples: Steps between two sample grids.
        checkpoints: Steps between two checkpoints; 0 for checkpoints by time and at the best evaluations.
        keep: Number of checkpoints that are kept in addition to the best one.
        evaluations: Steps between two evaluations; 0 for no evaluations.
        stop_on: Kinds of verdicts that end the run.
        flag: Kinds of verdicts that are reported once and do not end the run.
        objective: Metric that ranks checkpoints.
        mode: Whether the smallest or the largest value of the objective is best.
        pauses: Steps at which `Run.advance` returns.
        thresholds: Thresholds of verdicts that are not at their defaults.
        checkpoint_s: Seconds between two checkpoints, if `checkpoints` is 0.
    """

    steps: int
    metrics: int
    samples: int
    checkpoints: int
    keep: int
    evaluations: int = 0
    stop_on: tuple[str, ...] = ("divergence",)
    flag: tuple[str, ...] = ()
    objective: str = FD_RATIO
    mode: Literal["min", "max"] = "min"
    pauses: tuple[int, ...] = ()
    thresholds: Thresholds = field(default_factory=dict)
    checkpoint_s: float = 0.0


def values_for(config: type, section: Section) -> dict[str, Any]:
    """Return the values of a section for the fields of a dataclass, by field name.

    A field has the name of a key, or the last parts of the key's path joined by underscores: the field
    `generator_depth` gets the value of `generator.depth`, and `growth_at` that of `discriminator.growth.at`. Keys that
    have no field are left out.
    """
    return {name: value(section) for name, value in _values(config, type(section))}


@cache
def _values(config: type, section: type[Section]) -> tuple[tuple[str, Callable[[Section], Any]], ...]:
    """Return (field name, function that returns the field's value from a section): see `values_for`."""
    names = {one.name for one in fields(config)}
    ends = ((path[i:], attrgetter(".".join(path))) for path in _keys(section) for i in range(len(path)))
    return tuple((name, value) for end, value in ends if (name := "_".join(end)) in names)


def _keys(section: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key of a section, including those of nested sections."""
    for name, key in section.model_fields.items():
        if isinstance(key.annotation, type) and issubclass(key.annotation, Section):
            yield from _keys(key.annotation, (*path, name))
        else:
            yield (*path, name)
