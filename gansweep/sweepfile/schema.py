"""Schema of sweep files. Ranges and defaults are declared here and, for the options of a run, in config.py."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from gansweep.config import Model, Training
from gansweep.features import AUTO, is_own, known_features, names_in_schema
from gansweep.health.fid import LEAST
from gansweep.health.kinds import FORMER, current_kind
from gansweep.health.verdict import FAILURES, INFORMATION, KINDS, STATES
from gansweep.section import OwnName, PathText, Positive, RecordOnly, Section, Since
from gansweep.sweepfile.dataset import Dataset
from gansweep.sweepfile.schedulers import Fifo, Scheduler
from gansweep.sweepfile.searches.method import SearchMethod
from gansweep.sweepfile.searches.objective import Objective
from gansweep.sweepfile.searches.registry import Search
from gansweep.sweepfile.searches.single import NoSearch
from gansweep.sweepfile.thresholds import Thresholds
from gansweep.usercode.path import is_import_path

if TYPE_CHECKING:
    VerdictKind = str
else:
    # Names of version 0.1.0 are accepted, `discriminator_dominance` among them, which users look for.
    VerdictKind = Annotated[
        Literal[(*FAILURES, *STATES, *INFORMATION)],
        BeforeValidator(
            lambda name: current_kind(name) if isinstance(name, str) else name,
            json_schema_input_type=Literal[(*FAILURES, *STATES, *INFORMATION, *FORMER)],
        ),
    ]
STOP_ON: list[VerdictKind] = [name for name, kind in KINDS.items() if kind.stops]  # the default
NO_METRICS: list[PathText] = []
T = TypeVar("T", bound=Section)
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Samples(Section):
    """Interval between sample grids."""

    steps: Annotated[Positive | None, Field(description="steps between two sample grids")] = None
    per_run: Annotated[Positive, Field(description="sample grids per run, in addition to the one at step 0")] = 25

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        return _check_one_way(self)


class Checkpoints(Section):
    """Interval between checkpoints."""

    steps: Annotated[Positive | None, Field(description="steps between two checkpoints")] = None
    seconds: Annotated[
        float,
        Field(gt=0, description="seconds between two checkpoints; further ones are written at the best evaluations"),
    ] = 30.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        return _check_one_way(self)


def _check_one_way(section: T) -> T:
    """Return the section unchanged if it sets at most one of its keys. Raises ValueError if it sets several."""
    if len(given := [name for name, value in section if value is not None and name in section.model_fields_set]) > 1:
        raise ValueError(f"give either {' or '.join(given)}, not both")
    return section


def _steps(given: Any) -> Any:
    """Return a number of steps as a mapping with the key `steps`, and a section or mapping unchanged."""
    if isinstance(given, dict | Section):
        return given
    if not isinstance(given, int) or isinstance(given, bool):
        what = "nothing" if given is None else f"{given!r}"
        raise ValueError(f"must be a number of steps or a mapping, got {what}")
    return {"steps": given}


class Cadence(Section):
    """Intervals between records. The last step is always recorded. A trial keeps the intervals that it began with."""

    metrics: Annotated[
        Positive | None,
        Field(description="steps between two records of metrics; default: 10, or more in runs of over 10,000 steps"),
    ] = None
    samples: Annotated[Samples, BeforeValidator(_steps, json_schema_input_type=Samples | Positive)] = Samples()
    checkpoints: Annotated[Checkpoints, BeforeValidator(_steps, json_schema_input_type=Checkpoints | Positive)] = (
        Checkpoints()
    )


class Retention(Section):
    """Retention of files in a trial's folder."""

    checkpoints: Annotated[
        int, Field(ge=1, description="number of newest checkpoints to keep; with 2, one may be damaged")
    ] = 2


class Fid(Section):
    """FID, KID and the inception score, measured once at the end of each trial that trains all its steps."""

    weights: Annotated[str, Field(min_length=1, description="file of the Inception network: see docs/features.md")]
    samples: Annotated[int, Field(le=1_000_000, description="samples to compare with all real images")] = 10_000

    @field_validator("samples")
    @classmethod
    def _enough(cls, samples: int) -> int:
        if samples < LEAST:
            raise ValueError(
                f"must be at least {LEAST:,}, got {samples:,}: with fewer, the covariance of as many features"
                " is singular"
            )
        return samples


class Evaluation(Section):
    """Settings of evaluation: the comparison of samples with real images on which verdicts are based."""

    per_run: Annotated[
        int, Field(ge=0, le=1000, description="evaluations per run, in addition to the one at step 0; 0: none")
    ] = 25
    samples: Annotated[int, Field(ge=2, le=10_000, description="samples per evaluation")] = 256
    metrics: Annotated[
        list[PathText],
        OwnName(is_import_path),
        Since("0.2.0"),
        Field(description="import paths of own metrics, MODULE:NAME: functions of real images and samples"),
    ] = NO_METRICS
    fid: Annotated[
        Fid | None, Since("0.2.0"), RecordOnly(), Field(description="FID at the end of each trial; default: none")
    ] = None

    features: Annotated[
        str,
        AfterValidator(known_features),
        WithJsonSchema(names_in_schema()),
        OwnName(is_own),
        Since("0.2.0"),
        Field(description="embedding that samples are judged in; auto: the best for the images"),
    ] = AUTO
    weights: Annotated[
        str | None,
        Since("0.2.0"),
        RecordOnly(),
        Field(min_length=1, description="file of weights of an embedding that needs one"),
    ] = None

    @field_validator("metrics")
    @classmethod
    def _once(cls, metrics: list[str]) -> list[str]:
        if repeated := [name for name in metrics if metrics.count(name) > 1]:
            raise ValueError(f"names {repeated[0]} twice; name each metric once")
        return metrics


class Stop(Section):
    """Verdicts that end a trial. `stop: none` only records verdicts."""

    on: list[VerdictKind] = STOP_ON
    action: Annotated[Literal["stop", "flag"], Field(description="flag: report the verdict and continue")] = "stop"

    @property
    def rules(self) -> tuple[str, ...]:
        """Kinds of verdicts that end a trial."""
        return tuple(self.on) if self.action == "stop" else ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Kinds of verdicts that are reported but do not end a trial."""
        return tuple(kind for kind in FAILURES if kind not in self.rules) if self.on else ()


def _none(given: Any) -> Any:
    if given == "none":
        return {"on": []}
    if given is None or isinstance(given, str | bool | int | float):  # null, off, false, …
        what = "nothing" if given is None else f"{given!r}"
        raise ValueError(f"must be a mapping or none, got {what}; `stop: none` only records verdicts")
    return given


def _auto_or_count(given: Any) -> Any:
    """Return the value unchanged if it is `auto` or a number of at least 0. Raises ValueError if it is not.

    Pydantic alone would give an invalid value one message for each type that is allowed.
    """
    number = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < math.inf
    if given != "auto" and not number:
        raise ValueError(f"must be a number of at least 0, or auto, got {given!r}")
    return given


class Resources(Section):
    """Resources of one trial, and the number of trials in parallel."""

    cpus: Annotated[int, Field(ge=1, description="threads of one trial")] = 1
    gpus: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0)],
        BeforeValidator(_auto_or_count, json_schema_input_type=Literal["auto"] | Annotated[float, Field(ge=0)]),
        Field(description="GPUs of one trial; .25: four trials share a GPU; 0: CPU; auto: as many as help, or the CPU"),
    ] = "auto"
    max_concurrent: Annotated[int | None, Field(ge=1, description="default: as many as fit")] = None

    @model_validator(mode="after")
    def _whole_above_one(self) -> Self:
        if self.gpus != "auto" and self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus above 1 must be whole, got {self.gpus}")
        return self


class TrialConfig(Section):
    """Configuration of one trial, as recorded in its folder."""

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
    thresholds: Thresholds = Thresholds()
    cadence: Cadence = Cadence()
    retention: Retention = Retention()
    search: Search | None = None
    scheduler: Scheduler = Fifo()
    replicates: Annotated[int, Field(ge=1, le=10_000, description="seeds of each configuration")] = 1
    seed: Annotated[int, Field(ge=0, lt=2**30, description="the first seed")] = 0
    resources: Resources = Resources()
    _folder: Path = PrivateAttr(default_factory=Path)
    _places: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder in which import paths are looked up first: that of the sweep file."""
        return self._folder

    def place(self, key: str) -> str:
        """Return the position of a key as messages begin with it, "FILE:LINE:COLUMN: KEY"; the key alone if unknown."""
        return f"{self._places[key]}: {key}" if key in self._places else key

    def found_in(self, folder: Path, places: Mapping[str, str]) -> Self:
        """Return the same sweep, read from a file in a folder.

        Args:
            folder: The folder.
            places: Dotted key → its position in the file.
        """
        found = self.model_copy()
        found._folder, found._places = folder, places
        return found

    @property
    def method(self) -> SearchMethod:
        """The search method; without a search, one that trains only the file's own settings."""
        return NoSearch() if self.search is None else self.search

    @property
    def objective(self) -> Objective:
        """The objective that ranks trials."""
        return self.method.objective

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules that end a trial before its last step: kinds of verdicts, and `asha`."""
        return (*self.stop.rules, *self.scheduler.rules)

    @property
    def needs_objective(self) -> bool:
        """Whether anything depends on the objective, or the file sets it."""
        if self.search is None:
            return False
        return "objective" in self.search.model_fields_set or self.search.needs_objective or bool(self.scheduler.rules)

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name a folder: use up to 64 of A–Z, a–z, 0–9, '.', '_' and '-',"
                " beginning with a letter or digit of these"
            )
        return name
