"""Remarks on a data set: what was converted, what was skipped, and which pixels are used."""

from __future__ import annotations

from collections.abc import Sequence

Note = tuple[str, str]  # (kind, text); kind: "used", "converted" or "skipped"
MOST_NAMED = 3


def lines(notes: Sequence[Note]) -> list[str]:
    """One line for each remark."""
    return [f"{kind}: {text}" for kind, text in notes]


def shown(name: str) -> str:
    """A file's name that fits on one line of any terminal: line breaks, and bytes that are no UTF-8, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """At most `most` of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(map(shown, names[:most])) + (f" and {more:,} more" if more > 0 else "")
