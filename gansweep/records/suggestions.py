"""Suggestions of optuna: one JSON line per suggestion, for every search that the sweep file has ever described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gansweep.records.layout import write_atomically


def read(path: Path, search: str) -> list[dict[str, Any]]:
    """Return the varied values of each suggestion of one search, in the order of suggestions."""
    found: dict[int, dict[str, Any]] = {}
    for line in map(json.loads, _lines(path)):
        if line["search"] == search:
            found.setdefault(line["number"], line["varied"])
    return [found[number] for number in sorted(found)]


def append(path: Path, search: str, number: int, varied: Mapping[str, Any]) -> None:
    """Append a suggestion atomically and durably, since the trials trained next depend on it.

    If a number is recorded twice, the first record counts.
    """
    line = json.dumps({"search": search, "number": number, "varied": dict(varied)})
    write_atomically(path, "".join(f"{old}\n" for old in [*_lines(path), line]).encode(), durable=True)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
