"""The check that a trial's process imports what the driver imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gansweep
from gansweep.errors import UserError
from gansweep.planning import code


def test_accepts_what_the_driver_imports() -> None:
    found = code.origins()
    assert set(found) == set(code.PACKAGES)
    code.check(found)


def test_accepts_equal_content_elsewhere(tmp_path: Path) -> None:
    """As on another node of a cluster, whose environment has another path."""
    shutil.copytree(Path(gansweep.__file__).parent, tmp_path / "gansweep", ignore=shutil.ignore_patterns("*.pyc"))
    there = f"{tmp_path}/gansweep/__init__.py"
    code.check({"gansweep": f"{there} {code._digest(there)}"})
    (tmp_path / "gansweep" / "gan" / "losses.py").write_text("")
    code._digest.cache_clear()
    with pytest.raises(UserError):
        code.check({"gansweep": f"{there} {code._digest(there)}"})


def test_names_both_files_of_a_package_that_differs(tmp_path: Path) -> None:
    (tmp_path / "scipy.py").write_text("")
    there = f"{tmp_path}/scipy.py"
    with pytest.raises(
        UserError, match=r"^scipy: the trial's process on \S+ imports /.+/scipy/__init__\.py, "
    ) as caught:
        code.check({"scipy": f"{there} {code._digest(there)}"})
    assert f"the command imports {there}; " in str(caught.value)


def test_names_a_package_that_is_missing() -> None:
    with pytest.raises(UserError, match="imports none, the command imports /a/absent"):
        code.check({"absent_package": "/a/absent.py 0123"})


def test_refuses_a_checkout_that_is_not_the_installed_one(tmp_path: Path) -> None:
    """Called by `python -m` from there; trials would run the other one."""
    shutil.copytree(Path(gansweep.__file__).parent, tmp_path / "gansweep", ignore=shutil.ignore_patterns("*.pyc"))
    (tmp_path / "s.yaml").write_text("name: s\ndataset: {image_size: 16}\ntraining: {steps: 1}\n")
    done = subprocess.run(
        [sys.executable, "-m", "gansweep.cli", "run", "s.yaml", "--home", tmp_path / "h"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"gansweep: this is {tmp_path}/gansweep/__init__.py, but trials would"
    )
