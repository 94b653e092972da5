from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bad_calls import Call

from gansweep.cli.main import main


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """stderr of `gansweep ARGUMENTS`, which must exit with `code`, print nothing on stdout and show no traceback."""

    def call(*arguments: object, code: int = 1) -> str:
        monkeypatch.setattr(sys, "argv", ["gansweep", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert (caught.value.code, out) == (code, ""), err
        assert "Traceback" not in err
        return err

    monkeypatch.chdir(tmp_path)
    return call
