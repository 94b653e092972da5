from __future__ import annotations

import importlib
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


def test_the_table_of_parts_is_that_of_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    script = importlib.import_module("analysis.networks.parts_table")
    assert script.written(pd.read_csv(script.CSV)) == script.DOCUMENT.read_text()
