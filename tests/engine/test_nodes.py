"""Packages that a node of a cluster lacks. The answers of nodes are given; tests/usercode checks how they are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gansweep.engine import nodes
from gansweep.errors import UserError
from gansweep.planning.codes import Codes
from gansweep.planning.plan import Plan
from gansweep.usercode.code import write
from gansweep.usercode.find import find
from gansweep.usercode.path import ImportPath


class Known(Codes):
    """Codes with one copy, which imports torch and pytest, and a package that is not installed."""

    def __init__(self, beside: Path) -> None:
        super().__init__(beside, beside / "code")
        (beside / "nets.py").write_text("import os\nfrom torch import nn\nimport pytest\nimport helpers_of_nobody\n")
        self._known["nets"] = write(dict(find(ImportPath.parse("nets:G"), beside, "model")), beside / "code")


def test_a_package_that_one_node_lacks_is_named_before_training(
    plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan: Plan = replace(plan_of(), codes=Known(tmp_path))
    asked = []

    def answers(modules: list[str]) -> list[tuple[str, list[str]]]:
        asked.append(modules)
        return [("one", []), ("two", ["pytest"])]

    monkeypatch.setattr(nodes, "_answers", answers)
    with pytest.raises(UserError) as refused:
        nodes.check_packages(plan)
    assert asked == [["torch", "pytest"]]
    assert str(refused.value) == (
        "nets.py: imports pytest, which is not installed on the node two; install it there, or end the node"
    )


def test_nodes_are_not_asked_without_own_code(plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_answers", lambda _: pytest.fail("asked"))
    nodes.check_packages(plan_of())
