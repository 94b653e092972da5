from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_calls import Call, calling
from guarded import Guarded, guarded_sweep


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """See bad_calls.calling."""

    monkeypatch.chdir(tmp_path)
    return calling(monkeypatch, capsys)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One run for all tests here, since Ray takes ten seconds to begin: test_ports looks at it while it trains,
    test_secrets ends it."""
    with guarded_sweep(tmp_path_factory.mktemp("guarded")) as started:
        yield started
