from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

ANALYSIS = Path(__file__).parents[1] / "analysis"


def test_the_table_of_parts_is_that_of_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ANALYSIS), *sys.path])
    script = importlib.import_module("parts_table")
    assert script.written(pd.read_csv(script.CSV)) == script.DOCUMENT.read_text()
