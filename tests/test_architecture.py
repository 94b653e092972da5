"""Imports keep to the layers, and every module has a docstring."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "gansweep").rglob("*.py"))


def test_imports_keep_to_the_layers() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--config", "setup.cfg", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_modules_say_what_they_are_for(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    if module.name == "__init__.py":
        assert not text or ast.get_docstring(ast.parse(text))
    else:
        assert ast.get_docstring(ast.parse(text)), "no docstring"
