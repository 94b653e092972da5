"""What lies in the working directory is not imported by the command itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("path", "imported"),
    [(None, False), (":", False), (":/nonexistent", False), (".", True)],
    ids=["python -m", "an empty entry", "an empty entry before another", "named on purpose"],
)
def test_a_module_in_the_working_directory(tmp_path: Path, path: str | None, imported: bool) -> None:
    (tmp_path / "ruamel").mkdir()
    (tmp_path / "ruamel" / "__init__.py").write_text("raise SystemExit(77)")
    (tmp_path / "s.yaml").write_text("name: s\ntraining: {steps: 1}\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if os.environ.get("PYTHONPATH"):  # the tests' own
        path = path and f"{path}:{os.environ['PYTHONPATH']}"
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    if path:
        environment["PYTHONPATH"] = path
    done = subprocess.run(
        [sys.executable, "-m", "gansweep.cli", "validate", "s.yaml"], cwd=tmp_path, env=environment, capture_output=True
    )
    assert done.returncode == (77 if imported else 0), done.stderr
