"""What optuna suggested, on record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gansweep.records import suggestions

FIRST, SECOND = {"training.beta1": 0.1 + 0.2, "dataset.classes": ["a", "b"]}, {"training.beta1": 0.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "suggestions.jsonl"


def test_gives_back_what_was_appended_by_search(path: Path) -> None:
    assert suggestions.read(path, "a") == []
    for search, number, varied in (("a", 0, FIRST), ("b", 0, SECOND), ("a", 1, SECOND)):
        suggestions.append(path, search, number, varied)
    assert suggestions.read(path, "a") == [FIRST, SECOND]
    assert suggestions.read(path, "b") == [SECOND]
    assert suggestions.read(path, "c") == []
    assert len(path.read_text().splitlines()) == 3


def test_of_a_number_the_first_holds(path: Path) -> None:
    """Two runs of a sweep, the second planned while the first still went on."""
    for number, varied in ((0, FIRST), (1, FIRST), (1, SECOND), (2, SECOND)):
        suggestions.append(path, "a", number, varied)
    assert suggestions.read(path, "a") == [FIRST, FIRST, SECOND]


def test_killed_while_it_writes_it_keeps_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suggestions.append(path, "a", 0, FIRST)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        suggestions.append(path, "a", 1, SECOND)
    assert suggestions.read(path, "a") == [FIRST]
    assert [p.name for p in path.parent.iterdir()] == [path.name]
