"""Assertions on what a text states, not on how it is worded."""

from __future__ import annotations

import re


def assert_states(text: str, *facts: object) -> None:
    """Assert that a text contains each fact, in the given order, whatever words stand between them.

    Case and the kind of white space do not matter. A number matches as a whole: 4 is not found in 14 or 0.4.
    """
    flat, start = re.sub(r"\s+", " ", text), 0
    for fact in map(str, facts):
        found = re.compile(_whole(fact), re.IGNORECASE).search(flat, start)
        assert found is not None, f"{fact!r} is not stated after character {start} of {flat!r}"
        start = found.end()


def numbers(text: str) -> list[str]:
    """Numbers of a text, in order, in the form in which they stand there."""
    return re.findall(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?!\w)", text)


def _whole(fact: str) -> str:
    before = r"(?<![\w.,-])" if fact[:1].isdigit() else ""
    after = r"(?!\w|[.,]\d)" if fact[-1:].isdigit() else ""
    return before + re.escape(re.sub(r"\s+", " ", fact)) + after
