"""Counts in sentences."""

from __future__ import annotations


def counted(count: int, what: str, more: str = "") -> str:
    """1 trial, 2 trials; more: the plural, where it is not what + s."""
    return f"{count:,} {what if count == 1 else more or what + 's'}"
