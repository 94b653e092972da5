"""The base of every section of a sweep file, and what its keys are annotated with."""

from __future__ import annotations

import difflib
import functools
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

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


class NameOf:
    """Annotation of a text that names a part of a registry. The registry is read when a file is validated."""

    def __init__(self, registry: Mapping[str, Any]) -> None:
        self._registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"enum": list(self._registry), "type": "string"}

    def _known(self, name: Any) -> str:
        if not isinstance(name, str) or name not in self._registry:
            raise ValueError(
                f"must be {one_of(map(repr, self._registry))}, got {name!r}{nearest(name, self._registry)}"
            )
        return name


def by_method(registry: Mapping[str, type[Section]]) -> Any:
    """Return the field type of a section whose keys depend on its key `method`."""
    return Annotated[functools.reduce(operator.or_, registry.values()), Discriminator("method")]


def check_method(given: Mapping[str, Any], registry: Mapping[str, Any]) -> None:
    """Raise ValueError unless `method` names an entry of a registry."""
    if "method" not in given:
        raise ValueError(f"needs {one_of(f'`method: {name}`' for name in registry)}")
    method = given["method"]
    if not isinstance(method, str) or method not in registry:
        raise ValueError(f"method must be {one_of(registry)}, got {method!r}{nearest(method, registry)}")


def one_of(names: Iterable[str]) -> str:
    """Return a list for messages: a, b or c."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def nearest(name: Any, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint at the name that may have been meant; empty where none is near."""
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""
