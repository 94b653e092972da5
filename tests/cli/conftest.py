from __future__ import annotations

from pathlib import Path

import pytest
from bad_calls import GOOD, Call, calling


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """See bad_calls.calling."""

    def trains(*_: object) -> int:
        pytest.fail("went on to train")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gansweep.api.training._recorded", trains)
    Path("s.yaml").write_text(GOOD)
    return calling(monkeypatch, capsys)
