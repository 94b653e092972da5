"""docs/reliability.md says what the script measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("faults_script", checkout / "tests" / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_table_that_the_script_makes_of_its_records(script: ModuleType) -> None:
    page, records = script.PAGE.read_text(), json.loads(script.RECORDS.read_text())
    assert script.with_table(page, script.table(records)) == page


def test_nothing_was_lost_and_each_fault_was_repeated_often_enough(script: ModuleType) -> None:
    records = json.loads(script.RECORDS.read_text())
    assert len(records) == 6
    for found in records.values():
        assert len(found) >= 20
        assert {(one["lost"], one["doubled"], one["weights"]) for one in found} == {(0, 0, 0)}
        assert all(one["twice"] >= 0 for one in found)


def test_a_table_sums_up_repetitions(script: ModuleType) -> None:
    one = {"fault": "it rains", "lost": 1, "doubled": 0, "weights": 2, "twice": 700}
    made = script.table({"rain": [one, one]})
    assert made.splitlines()[-1] == "| it rains | 2 | 2 | 0 | 4 | 1,400 |"
    page = f"before\n{script.BEGIN}old\n{script.END}after\n"
    assert script.with_table(page, made) == f"before\n{script.BEGIN}{made}{script.END}after\n"
