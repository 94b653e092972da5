"""Line of the live table about GPUs, with a stand-in for NVML."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from gansweep.cli.views import Diary, LiveView
from gansweep.engine.board import Board, Row
from gansweep.gan.gpu_load import LoadReader

GB = 10**9


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A false NVML with two GPUs; the handles that it was asked about."""
    asked: list[Any] = []
    module: Any = ModuleType("pynvml")
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetCount = lambda: 2
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetUUID = lambda handle: f"GPU-{handle}"
    module.nvmlDeviceGetMemoryInfo = lambda gpu: SimpleNamespace(used=(10 + gpu) * GB, total=80 * GB)

    def utilization(gpu: int) -> SimpleNamespace:
        asked.append(gpu)
        return SimpleNamespace(gpu=90 + 6 * gpu)

    module.nvmlDeviceGetUtilizationRates = utilization
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return asked


def drawn(tmp_path: Path, width: int, *, local_gpus: bool = True) -> list[str]:
    """Lines of a table of two running trials and a completed one."""
    rows = {
        name: Row(name * 12, {"training.beta1": 0.5}, 0, 20_000, 1.0, 100, outcome, steps_per_s=speed)
        for name, outcome, speed in (("a", "running", 1170.4), ("b", "running", 1200.0), ("c", "completed", 999.0))
    }
    board = Board("gpus", rows, 2, time.monotonic(), local_gpus)
    console = Console(file=io.StringIO(), width=width, height=30, force_terminal=True, color_system=None)
    view = LiveView(board, "MLflow: here", Diary(tmp_path / "log.txt"), console)
    with console.capture() as captured:
        console.print(view._render())
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_shows_speed_and_load_of_the_gpus_together(readings: list[Any], tmp_path: Path, width: int) -> None:
    lines = drawn(tmp_path, width)
    assert "  2,370 steps/s together, 2 GPUs 93 % busy, 21.0 of 160.0 GB" in map(str.rstrip, lines)
    assert max(map(len, lines)) <= width


def test_only_visible_gpus_count(readings: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    assert any("together, GPU 96 % busy, 11.0 of 80.0 GB" in line for line in drawn(tmp_path, 80))
    assert readings == [1]


def test_without_nvml_only_the_speed_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "  2,370 steps/s together" in map(str.rstrip, drawn(tmp_path, 80))


def test_a_sweep_on_the_cpu_or_a_cluster_has_no_such_line(readings: list[Any], tmp_path: Path) -> None:
    assert not any("together" in line for line in drawn(tmp_path, 80, local_gpus=False))
    assert readings == []


def test_nvml_is_asked_at_most_once_a_second(readings: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    read = LoadReader()
    for at in (10.0, 10.5, 10.9, 11.0, 11.5):
        now[0] = at
        assert read() is not None
    assert readings == [0, 1, 0, 1]
