"""What a sweep file may say. Ranges and defaults live here and nowhere else.

Every section is strict (no silent conversions), closed (an unknown key is an error) and frozen.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gansweep.health.verdict import FAILURES, Failure, Information
from gansweep.plan.dataset import Dataset
from gansweep.plan.search import Objective, OptunaSearch, Scheduler, Search
from gansweep.plan.section import Positive, Section

LearningRate = Annotated[float, Field(gt=0, description="Adam's step size")]
Beta = Annotated[float, Field(ge=0, lt=1, description="Adam's decay rate")]
FeatureMaps = Annotated[int, Field(ge=1, le=1024, description="channels of the widest image's layer")]
# What ends a trial unless the file says otherwise.
STOP_ON: list[Literal[Failure, Information]] = [
    "divergence",
    "dead_generator",
    "mode_collapse",
    "discriminator_dominance",
    "not_learning",
]
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Growth(Section):
    """D begins without its last block and gets it on the way, with a new head (two-stage training)."""

    at: Annotated[int | None, Field(ge=1, description="after so many steps; default: never")] = None
    adds: Annotated[
        Literal["block", "head"], Field(description="head: D is whole from the start, and gets a new head alone")
    ] = "block"


class Network(Section):
    """What one network may have of its own."""

    feature_maps: FeatureMaps | None = None
    depth: Annotated[
        int, Field(ge=1, le=4, description="layers at each resolution: one that changes it, and 3×3 ones")
    ] = 1
    separable: Annotated[bool, Field(description="convolutions as depthwise and 1×1 ones")] = False


class DiscriminatorNetwork(Network):
    """The same, and what D alone may have."""

    norm: Annotated[
        Literal["batch", "layer", "none"] | None, Field(description="default: as the architecture has it")
    ] = None
    spectral_norm: Annotated[bool, Field(description="every weight over its largest singular value")] = False
    growth: Growth = Growth()


class Model(Section):
    """The two networks."""

    architecture: Literal["dcgan", "dcgan_mnist28", "projected"] = "dcgan"
    conditioning: Annotated[
        Literal["none", "concat", "two_stream"],
        Field(description="how both networks are told the class: beside their input, or through a layer of its own"),
    ] = "none"
    latent_dim: Annotated[int, Field(ge=1, le=4096, description="length of z")] = 100
    feature_maps: FeatureMaps = 64
    channels: Annotated[
        Literal[1, 3] | None,
        Field(description="of the images the networks make and read; default: the data's"),
    ] = None
    generator: Network = Network()
    discriminator: DiscriminatorNetwork = DiscriminatorNetwork()


class NetworkTraining(Section):
    """How one network is trained; what is not given is inherited from `training`."""

    learning_rate: LearningRate | None = None
    beta1: Beta | None = None
    beta2: Beta | None = None
    updates: Annotated[int, Field(ge=1, le=100, description="updates a step")] = 1


class Training(Section):
    """How long and how both networks are trained."""

    steps: Positive | None = None
    epochs: Positive | None = None
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    learning_rate: LearningRate = 2e-4
    beta1: Beta = 0.5
    beta2: Beta = 0.999
    generator: NetworkTraining = NetworkTraining()
    discriminator: NetworkTraining = NetworkTraining()
    loss: Annotated[
        Literal["non_saturating", "saturating", "least_squares", "hinge", "wasserstein_clip", "wasserstein_gp"],
        Field(description="what D and G minimise"),
    ] = "non_saturating"
    clip: Annotated[
        float, Field(gt=0, le=10, description="wasserstein_clip: the critic's weights lie within ± this")
    ] = 0.01
    gradient_penalty: Annotated[float, Field(gt=0, description="wasserstein_gp: its weight")] = 10.0
    label_smoothing: Annotated[
        float, Field(ge=0, lt=0.5, description="D's target for real images is 1 less this (one-sided)")
    ] = 0.0
    instance_noise: Annotated[
        float, Field(ge=0, le=1, description="standard deviation of noise on all that D sees; images lie in [-1, 1]")
    ] = 0.0
    instance_noise_until: Annotated[
        int | None, Field(ge=1, description="it falls to 0 in so many steps; default: it stays")
    ] = None
    ema: Annotated[
        float, Field(ge=0, lt=1, description="decay of G's averaged weights, which samples come from; 0: none")
    ] = 0.0
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="bfloat16: of both networks' forward passes in training (autocast); losses stay float32"),
    ] = "float32"

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs" + ("" if self.steps is None else ", not both"))
        return self

    def of(self, network: Literal["generator", "discriminator"]) -> dict[str, float | int]:
        """Learning rate, betas and updates of one network, inheritance resolved."""
        own: NetworkTraining = getattr(self, network)
        keys = ("learning_rate", "beta1", "beta2")
        inherited = {k: getattr(self, k) if getattr(own, k) is None else getattr(own, k) for k in keys}
        return {**inherited, "updates": own.updates}


class Cadence(Section):
    """How often things are recorded, in steps. The last step is always recorded."""

    metrics: Positive = 10
    samples: Positive = 100
    checkpoints: Positive = 100


class Retention(Section):
    """What a trial's folder keeps."""

    checkpoints: Annotated[int, Field(ge=1, description="the newest so many; two survive a damaged one")] = 2


class Evaluation(Section):
    """Samples against real images, D against fresh fakes: what verdicts are made of."""

    per_run: Annotated[
        int, Field(ge=0, le=1000, description="evaluations a run, beside the one at step 0; 0: none")
    ] = 25
    samples: Annotated[int, Field(ge=2, le=10_000, description="images that G makes for each")] = 256


class Stop(Section):
    """Which verdicts end a trial; `stop: none` records them and no more."""

    on: list[Literal[Failure, Information]] = STOP_ON
    action: Annotated[Literal["stop", "flag"], Field(description="flag: say so, and train on")] = "stop"

    @property
    def rules(self) -> tuple[str, ...]:
        """Kinds of verdicts that end a trial."""
        return tuple(self.on) if self.action == "stop" else ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Kinds of verdicts that are said, and end nothing."""
        return tuple(kind for kind in FAILURES if kind not in self.rules) if self.on else ()


def _none(given: Any) -> Any:
    if given == "none":
        return {"on": []}
    if given is None or isinstance(given, str | bool | int | float):  # null, off, false, …
        what = "nothing" if given is None else f"{given!r}"
        raise ValueError(f"must be a mapping or none, got {what}; `stop: none` records verdicts and ends nothing")
    return given


def _named(given: Any) -> Any:
    if given is None:
        raise ValueError("must be fifo, asha or a mapping with method, got nothing")
    return {"method": given} if isinstance(given, str) else given


def _auto_or_count(given: Any) -> Any:
    """So that one line says what may stand here, not one for each of the two."""
    number = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < math.inf
    if given != "auto" and not number:
        raise ValueError(f"must be a number of at least 0, or auto, got {given!r}")
    return given


class Resources(Section):
    """What one trial takes, and how many may run side by side."""

    cpus: Annotated[int, Field(ge=1, description="threads of one trial")] = 1
    gpus: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0)],
        BeforeValidator(_auto_or_count, json_schema_input_type=Literal["auto"] | Annotated[float, Field(ge=0)]),
        Field(description="GPUs of one trial; .25 packs four on one; auto: as many on one as its memory takes"),
    ] = 0.0
    max_concurrent: Annotated[int | None, Field(ge=1, description="default: as many as fit")] = None

    @model_validator(mode="after")
    def _whole_above_one(self) -> Self:
        if self.gpus != "auto" and self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus above 1 must be whole, got {self.gpus}")
        return self


class TrialConfig(Section):
    """One run, resolved: what a trial's folder holds and a trainable is given."""

    dataset: Dataset = Dataset()
    model: Model = Model()
    training: Training
    evaluation: Evaluation = Evaluation()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Sweep(Section):
    """A sweep file."""

    name: Annotated[str, Field(description="names the sweep's folder and its MLflow experiment")]
    dataset: Dataset = Dataset()
    model: Model = Model()
    training: Training
    evaluation: Evaluation = Evaluation()
    stop: Annotated[Stop, BeforeValidator(_none, json_schema_input_type=Stop | Literal["none"])] = Stop()
    cadence: Cadence = Cadence()
    retention: Retention = Retention()
    search: Search | None = None
    scheduler: Annotated[
        Scheduler, BeforeValidator(_named, json_schema_input_type=Scheduler | Literal["fifo", "asha"])
    ] = Scheduler()
    replicates: Annotated[int, Field(ge=1, le=10_000, description="seeds of each configuration")] = 1
    seed: Annotated[int, Field(ge=0, lt=2**30, description="the first seed")] = 0
    resources: Resources = Resources()

    @property
    def objective(self) -> Objective:
        """What is best."""
        return self.search.objective if self.search else Objective()

    @property
    def rules(self) -> tuple[str, ...]:
        """What ends a trial before its last step: kinds of verdicts, and `asha`."""
        return (*self.stop.rules, *self.scheduler.rules)

    @property
    def needs_objective(self) -> bool:
        """Whether anything hangs on it, or the file asks for it."""
        if self.search is None:
            return False
        asked = "objective" in self.search.model_fields_set
        return asked or isinstance(self.search, OptunaSearch) or self.scheduler.method == "asha"

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name a folder: use up to 64 of A–Z, a–z, 0–9, '.', '_' and '-',"
                " beginning with a letter or digit of these"
            )
        return name
