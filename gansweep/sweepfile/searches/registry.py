"""All search methods by name. To add one, write a subclass of SearchMethod and add it to METHODS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BeforeValidator

from gansweep.section import by_method, check_method
from gansweep.sweepfile.searches.cases import CasesSearch
from gansweep.sweepfile.searches.grid import GridSearch
from gansweep.sweepfile.searches.method import SearchMethod
from gansweep.sweepfile.searches.optuna import OptunaSearch
from gansweep.sweepfile.searches.random import RandomSearch

if TYPE_CHECKING:
    from gansweep.sweepfile.searches.method import Place

METHODS: dict[str, type[SearchMethod]] = {
    name: method
    for method in (GridSearch, RandomSearch, OptunaSearch, CasesSearch)
    for name in get_args(method.model_fields["method"].annotation)
}


def _named(given: Any) -> Any:
    if isinstance(given, dict):
        check_method(given, METHODS)
    return given


if TYPE_CHECKING:
    Search = SearchMethod
else:
    Search = Annotated[by_method(METHODS), BeforeValidator(_named)]


def method_of(raw: Mapping[str, Any]) -> type[SearchMethod] | None:
    """Return the search method of a section that has not been validated yet; None if it names no known method."""
    name = raw.get("method")
    return METHODS.get(name) if isinstance(name, str) else None


def places(raw: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the varied keys of a section `search` that has not been validated yet, as `SearchMethod.places` does.

    If the section does not name a known method, the keys that any of the methods would yield are yielded.
    """
    method = method_of(raw)
    found = {path: values for one in ([method] if method else METHODS.values()) for path, values in one.places(raw)}
    yield from found.items()
