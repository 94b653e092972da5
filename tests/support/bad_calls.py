"""Calls of the command line that must be refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from gansweep.cli.main import main
from gansweep.records.layout import Home

GOOD = """name: s
dataset: {image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 10, batch_size: 16}
"""
Call = Callable[..., str]


def calling(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """stderr of `gansweep ARGUMENTS`, which must exit with `code`, print nothing on stdout and show no traceback."""

    def call(*arguments: object, code: int = 1) -> str:
        monkeypatch.setattr(sys, "argv", ["gansweep", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert (caught.value.code, out) == (code, ""), err
        assert "Traceback" not in err
        return err

    return call


def in_subprocess(*arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "gansweep", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is missing")
    assert found is not None
    return found


def assert_nothing_left(home: Home) -> None:
    assert not (home.path / "sweeps").exists()
    assert not home.database.exists()


def without_root_rights() -> tuple[str, ...]:
    """What makes even root obey file permissions."""
    if os.getuid() != 0:
        return ()
    return (tool("setpriv"), "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
