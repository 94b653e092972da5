"""Notes on a data set: conversions, skipped files, and which pixels are used."""

from __future__ import annotations

from collections.abc import Sequence

Note = tuple[str, str]  # (kind, text); kind: "used", "converted" or "skipped"
MOST_NAMED = 3


def lines(notes: Sequence[Note]) -> list[str]:
    """Return one line per note."""
    return [f"{kind}: {text}" for kind, text in notes]


def shown(name: str) -> str:
    """Return a file name that fits on one line of any terminal: line breaks and invalid UTF-8 are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Return the first `most` names as a list in one string, with the number of the others, as in "a, b and 7 more"."""
    more = len(names) - most
    return ", ".join(map(shown, names[:most])) + (f" and {more:,} more" if more > 0 else "")
