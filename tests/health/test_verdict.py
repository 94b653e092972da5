from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from gansweep.health.detectors.registry import DETECTORS
from gansweep.health.verdict import CONCLUSIONS, FAILURES, INFORMATION, KINDS, Verdict

DOCS = Path(__file__).parents[2] / "docs" / "verdicts.md"


def test_a_verdict_survives_its_record() -> None:
    verdict = Verdict("divergence", 1, "r", {"figures": {"loss_d": "nan"}})
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    with pytest.raises(TypeError, match="colour"):
        Verdict.from_json({**verdict.to_json(), "colour": "red"})


def test_failures_conclusions_and_information_are_told_apart() -> None:
    assert [Verdict(kind, 0, "").is_failure for kind in (FAILURES[0], *CONCLUSIONS, INFORMATION[0])] == [
        True, False, False, False,
    ]  # fmt: skip


def test_every_kind_explains_itself_and_the_documentation_says_the_same() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| ([^|]+) \|.*\|.*\|", DOCS.read_text(), re.MULTILINE))
    for name, kind in KINDS.items():
        if name not in CONCLUSIONS:
            assert rows[name] == kind.meaning, name


def test_the_documentation_has_every_threshold_with_its_default_and_range() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| (`.*) \|$", DOCS.read_text(), re.MULTILINE))
    expected = {}
    for detector in DETECTORS:
        ranges = [(one.name, *one.metadata["range"]) for one in fields(detector)]
        values = detector.thresholds()
        expected[detector.kind.name] = ", ".join(f"`{n}` {values[n]:g} ({a:g}–{b:g})" for n, a, b in ranges)
    assert rows == {kind: text for kind, text in expected.items() if text}


@pytest.mark.parametrize("module", ["health.verdict", "health.metrics", "sweepfile.loader"])
def test_the_registries_are_read_without_numpy(module: str) -> None:
    """The command line reads them at its start."""
    code = f"import sys, gansweep.{module}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
