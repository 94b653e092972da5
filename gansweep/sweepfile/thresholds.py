"""The section `thresholds` of a sweep file: a key for each detector, with its thresholds, ranges and defaults.

The section is generated from the registry of detectors, so a new detector requires no change here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, create_model, model_validator

from gansweep.health.detectors.base import Detector
from gansweep.health.detectors.former import current_thresholds
from gansweep.health.detectors.registry import DETECTORS
from gansweep.section import Section


class DetectorThresholds(Section):
    """Thresholds of one detector."""

    detector: ClassVar[Detector]

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        replace(self.detector, **self.model_dump())  # raises ValueError
        return self


class AllThresholds(Section):
    """Thresholds of all verdicts. They are not part of a trial's identity.

    Names of version 0.1.0 are read as those of today; `sentences` has a message for each.
    """

    _sentences: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _of_today(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping):
            return build(given)
        values, sentences = current_thresholds(given)
        made = build(values)
        made._sentences = tuple(sentences)
        return made

    @property
    def sentences(self) -> tuple[str, ...]:
        """Messages for the user, one for each kind that the file calls by its name of version 0.1.0."""
        return self._sentences

    def changed(self) -> dict[str, dict[str, float]]:
        """Return kind of verdict → threshold → value, for the thresholds that are not at their defaults."""
        return self.model_dump(exclude_defaults=True)


def _section(detector: Detector) -> type[DetectorThresholds]:
    keys: dict[str, Any] = {}
    for one in fields(detector):
        low, high = one.metadata["range"]
        kind = int if isinstance(one.default, int) else float
        keys[one.name] = (Annotated[kind, Field(ge=low, le=high)], one.default)
    name = type(detector).__name__
    made: type[DetectorThresholds] = create_model(
        name, __base__=DetectorThresholds, __doc__=detector.kind.meaning, **keys
    )
    made.detector = detector
    return made


if TYPE_CHECKING:
    Thresholds = AllThresholds
else:
    _sections = {detector.kind.name: _section(detector) for detector in DETECTORS if fields(detector)}
    Thresholds = create_model(
        "Thresholds", __base__=AllThresholds, **{kind: (section, section()) for kind, section in _sections.items()}
    )
