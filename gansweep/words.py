"""Counts and names in messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 10  # names per message


def counted(count: int, what: str, more: str = "") -> str:
    """Format a count with its noun, as in "1 trial", "2 trials".

    Args:
        count: The number.
        what: The noun in the singular.
        more: Its plural, if not `what` + "s".
    """
    return f"{count:,} {what if count == 1 else more or what + 's'}"


def names_like(given: str, known: Iterable[str]) -> str:
    """Return a suggestion for an unknown name: the nearest known names, or else a list of at most MOST_NAMES names.

    Names are quoted, since a name may be any word: a sweep may be called six.
    """
    names = list(known)
    matches = (difflib.get_close_matches(given, names, n=3, cutoff=cutoff) for cutoff in (0.7, 0.4))
    if near := next(filter(None, matches), None):
        return f"did you mean {' or '.join(map(repr, near))}?"
    rest = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return f"known: {', '.join([*map(repr, names[:MOST_NAMES]), *rest]) or 'none'}"
