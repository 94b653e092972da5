"""Conversion of dataclasses to plain data for JSON, and back. Loads nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Return a value as plain data for JSON: dataclasses and mappings become dicts, tuples become lists."""
    if value is None or isinstance(value, str | float | int):  # most values are
        return value
    if is_dataclass(value):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def from_plain(hint: type[T], data: Any) -> T:
    """Return a value of type `hint` from plain data: the inverse of `to_plain`, driven by type hints.

    Missing fields have their defaults.

    Raises:
        TypeError: A field is unknown, or missing without a default; or the data for a dataclass or a tuple are of
            another type.
    """
    if is_dataclass(hint):
        if not isinstance(data, Mapping):
            raise TypeError(f"{hint.__name__}: must be a mapping, got {data!r}")
        hints = get_type_hints(hint)
        return hint(**{name: from_plain(hints.get(name, object), item) for name, item in data.items()})
    if get_origin(hint) is tuple:
        if not isinstance(data, list | tuple):
            raise TypeError(f"must be a list, got {data!r}")
        first, *others = get_args(hint)
        items = [first] * len(data) if others == [...] else [first, *others]
        data = tuple(from_plain(item, one) for item, one in zip(items, data, strict=True))
    return cast(T, data)
