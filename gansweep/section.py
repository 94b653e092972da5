"""The base of every section of a sweep file, and what its keys are annotated with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Since:
    """Annotation of a key that version 0.1.0 did not have.

    Such a key belongs to the identity of a search only where it is not at its default, so that searches recorded before
    are recognised.
    """

    version: str


class Section(BaseModel):
    """Base of every section of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
