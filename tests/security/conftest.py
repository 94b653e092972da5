from __future__ import annotations

from pathlib import Path

import pytest
from bad_calls import Call, calling


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """See bad_calls.calling."""

    monkeypatch.chdir(tmp_path)
    return calling(monkeypatch, capsys)
