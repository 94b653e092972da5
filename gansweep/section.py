"""Base class of the sections of a sweep file, and annotations of their keys."""

from __future__ import annotations

import difflib
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from gansweep.usercode.path import PATTERN, ImportPath, is_import_path

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Since:
    """Annotation of a key that version 0.1.0 did not have.

    Such a key is part of the identity of a trial or search only if its value is not the default. Trials and searches
    recorded by version 0.1.0 therefore keep their ids.

    Attributes:
        version: First version that has the key.
    """

    version: str


@dataclass(frozen=True)
class RecordOnly:
    """Annotation of a key that adds records and determines no others: it is not part of any identity."""


class Section(BaseModel):
    """Base of every section of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        """Return the hash of all values, mappings included: pydantic copies a default without one for each instance."""
        return hash(self.model_dump_json())


class NameOf:
    """Annotation of a key whose value names a part in a registry. The registry is read when a file is validated.

    Args:
        registry: Name → part.
        own: Whether the value may also be the import path of a user's part.
    """

    def __init__(self, registry: Mapping[str, Any], *, own: bool = False) -> None:
        self._registry, self.own = registry, own

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        names = {"enum": list(self._registry), "type": "string"}
        return {"anyOf": [names, PATH_SCHEMA]} if self.own else names

    names_own = staticmethod(is_import_path)

    def _known(self, name: Any) -> str:
        if self.own and is_import_path(name):
            return str(ImportPath.parse(name))
        if not isinstance(name, str) or name not in self._registry:
            own = "; a part of your own is given by its import path, as in mypkg.nets:Small" if self.own else ""
            hint = nearest(name, self._registry) or own
            raise ValueError(f"must be {one_of(map(repr, self._registry))}, got {name!r}{hint}")
        return name


class PathOf:
    """Annotation of a key whose value is an import path or None."""

    own = True
    names_own = staticmethod(is_import_path)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [PATH_SCHEMA, {"type": "null"}]}

    def _checked(self, text: Any) -> str | None:
        if not isinstance(text, str | None):
            raise ValueError(f"must be an import path such as mypkg.nets:G, got {text!r}")
        return None if text is None else str(ImportPath.parse(text))


PATH_SCHEMA = {"pattern": f"^{PATTERN}$".replace(r"[^\W\d]", "[A-Za-z_]").replace("(?:", "("), "type": "string"}
PathText = Annotated[str, AfterValidator(lambda text: str(ImportPath.parse(text))), WithJsonSchema(PATH_SCHEMA)]


@dataclass(frozen=True)
class OwnName:
    """Annotation of a key whose value may be an import path.

    Attributes:
        names_own: Function that returns whether a value is an import path.
    """

    names_own: Callable[[object], bool]
    own = True


def import_paths(section: Section, prefix: str = "") -> Iterator[tuple[str, ImportPath]]:
    """Yield (dotted key, import path) of every user's part that a section names.

    The keys are those annotated with `PathOf`, `OwnName`, or a `NameOf` that allows import paths. The value of a key
    may be a list of import paths.

    Args:
        section: The section.
        prefix: Text in front of every dotted key.
    """
    for key, value_of, own in _own_keys(type(section)):
        value = value_of(section)
        texts = value if isinstance(value, list) else [value]
        yield from ((prefix + key, ImportPath.parse(text)) for text in texts if own.names_own(text))


@functools.cache
def _own_keys(section: type[Section]) -> tuple[tuple[str, Callable[[Section], Any], Any], ...]:
    """Return (dotted key, function that returns its value, annotation) of every key that may be an import path."""
    found: list[tuple[str, Callable[[Section], Any], Any]] = []
    for name, key in section.model_fields.items():
        found += [(name, operator.attrgetter(name), one) for one in key.metadata if getattr(one, "own", False)]
        if isinstance(key.annotation, type) and issubclass(key.annotation, Section):
            for inner, _, own in _own_keys(key.annotation):
                found.append((f"{name}.{inner}", operator.attrgetter(f"{name}.{inner}"), own))
    return tuple(found)


def by_method(registry: Mapping[str, type[Section]]) -> Any:
    """Return the pydantic field type of a section whose keys depend on its key `method`.

    Args:
        registry: Value of `method` → class of the section.
    """
    return Annotated[functools.reduce(operator.or_, registry.values()), Discriminator("method")]


def check_method(given: Mapping[str, Any], registry: Mapping[str, Any]) -> None:
    """Raise ValueError unless `method` names an entry of a registry."""
    if "method" not in given:
        raise ValueError(f"needs {one_of(f'`method: {name}`' for name in registry)}")
    method = given["method"]
    if not isinstance(method, str) or method not in registry:
        raise ValueError(f"method must be {one_of(registry)}, got {method!r}{nearest(method, registry)}")


def one_of(names: Iterable[str]) -> str:
    """Join names for a message, as in `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def nearest(name: Any, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the end of a message that suggests the known name nearest to `name`; empty if none is near.

    Args:
        name: The unknown name.
        names: Known names.
        cutoff: Least similarity from 0 to 1, as in difflib.get_close_matches.
    """
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""
