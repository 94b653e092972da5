"""The live table in a real terminal: trials, progress, outcomes, the link and how much is done."""

from __future__ import annotations

import os
import re

import pexpect
import pytest
from scenes import warm_home
from service import COMMAND, Service

pytestmark = pytest.mark.slow

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLUMNS, ROWS = 100, 30


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Everything that a sweep of three trials (the last one diverges) wrote to a terminal, colours and all."""
    service = Service(tmp_path_factory.mktemp("terminal"), {})
    warm_home(service.home.path)
    file = service.write(steps=400, rates="[1e-4, 1e-3, 1e20]")
    options = ("--set", "resources.max_concurrent=2", "--set", "cadence={metrics: 10, samples: 400, checkpoints: 400}")
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "CI")}
    child = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "run", str(file), *options],
        cwd=str(service.root),
        env={**environment, "GANSWEEP_HOME": str(service.home.path), "TERM": "xterm-256color"},
        dimensions=(ROWS, COLUMNS),
        encoding="utf-8",
        timeout=120,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return str(child.before)


@pytest.fixture(scope="module")
def frames(screen: str) -> list[str]:
    """The table as it was drawn each time, without colours: what stands between two cursor jumps."""
    text = ESCAPES.sub(lambda code: "\f" if code.group().endswith("A") else "", screen).replace("\r", "")
    joined = re.split(r"\f+", text)
    return [frame for frame in joined if "MLflow:" in frame and "done" in frame]


def test_shows_each_trial_with_its_settings_and_progress(frames: list[str]) -> None:
    assert len(frames) > 3
    last = frames[-1]
    for title in ("trial", "learning_rate", "progress", "step", "FD", "outcome"):
        assert title in last
    for rate in ("1e-4", "1e-3", "1e20"):
        (row,) = (line for line in last.splitlines() if re.search(rf" {rate} ", line))
        assert re.match(r" [0-9a-f]{8} ", row)
        assert "━" in row
    assert any(re.search(r"1e-4 +\S+ +[1-9]\d* .*running", frame) for frame in frames), "progress while it runs"


def test_shows_how_much_is_done_and_the_link(frames: list[str]) -> None:
    counts = [int(found.group(1)) for frame in frames if (found := re.search(r"small  (\d)/3 done", frame))]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] >= 2
    assert all("2 at a time" in frame and "MLflow: `gansweep ui` in another terminal" in frame for frame in frames)


def test_outcomes_are_told_apart(frames: list[str], screen: str) -> None:
    assert any(re.search(r"1e20 .*divergence", frame) for frame in frames)
    assert any(re.search(r"1e-3 .*pending|1e20 .*pending", frame) for frame in frames)
    end = ESCAPES.sub("", screen.rpartition("MLflow:")[2]).replace("\r", "")
    assert re.search(r"1e-4 .* 400 .*completed", end)
    assert re.search(r"1e-3 .* 400 .*completed", end)
    assert re.search(r"[0-9a-f]{12}: stopped: divergence ", end)


def test_fits_the_terminal(frames: list[str]) -> None:
    for frame in frames:
        lines = frame.strip("\n").splitlines()
        assert len(lines) <= ROWS
        assert max(len(line.rstrip()) for line in lines) <= COLUMNS
