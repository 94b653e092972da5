"""Counts and names in messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 10  # in a message


def counted(count: int, what: str, more: str = "") -> str:
    """1 trial, 2 trials; more: the plural, where it is not what + s."""
    return f"{count:,} {what if count == 1 else more or what + 's'}"


def names_like(given: str, known: Iterable[str]) -> str:
    """What to name instead of what is unknown: the nearest names, else what there is. In quotes, since a name may be
    any word: a sweep may be called six."""
    names = list(known)
    matches = (difflib.get_close_matches(given, names, n=3, cutoff=cutoff) for cutoff in (0.7, 0.4))
    if near := next(filter(None, matches), None):
        return f"did you mean {' or '.join(map(repr, near))}?"
    rest = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return f"known: {', '.join([*map(repr, names[:MOST_NAMES]), *rest]) or 'none'}"
