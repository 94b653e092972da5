"""What optuna suggested: one JSON line a suggestion, for every search that a sweep's file has ever described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gansweep.records.layout import write_atomically


def read(path: Path, search: str) -> list[dict[str, Any]]:
    """The varied values of each suggestion of one search, by number from 0 on."""
    found: dict[int, dict[str, Any]] = {}
    for line in map(json.loads, _lines(path)):
        if line["search"] == search:
            found.setdefault(line["number"], line["varied"])
    return [found[number] for number in sorted(found)]


def append(path: Path, search: str, number: int, varied: Mapping[str, Any]) -> None:
    """Durably, all of it or nothing: what trains next depends on it. Of one number the first holds."""
    line = json.dumps({"search": search, "number": number, "varied": dict(varied)})
    write_atomically(path, "".join(f"{old}\n" for old in [*_lines(path), line]).encode(), durable=True)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
