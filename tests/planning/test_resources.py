"""Number of trials that fit in parallel, and the resources of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gansweep.errors import UserError
from gansweep.gan.cores import cores
from gansweep.planning.resources import concurrency, gpus
from gansweep.sweepfile.schema import Resources


@pytest.mark.parametrize(
    ("cpus", "gpus", "most", "available", "expected"),
    [
        (1, 0.0, None, (8, 0), 8),
        (3, 0.0, None, (8, 0), 2),
        (8, 0.0, None, (8, 0), 1),
        (1, 0.0, 3, (8, 0), 3),
        (1, 0.0, 99, (8, 0), 8),
        (1, 0.25, None, (8, 1), 4),
        (1, 0.25, None, (2, 1), 2),
        (1, 0.3, None, (16, 2), 6),  # three on each: a fraction never spans two
        (1, 0.6, None, (16, 2), 2),
        (1, 0.1, None, (16, 1), 10),
        (1, 1.0, None, (16, 4), 4),
        (1, 2.0, None, (16, 5), 2),
        (4, 1.0, None, (16, 8), 4),
    ],
)
def test_concurrency(cpus: int, gpus: float, most: int | None, available: tuple[int, int], expected: int) -> None:
    resources = Resources(cpus=cpus, gpus=gpus, max_concurrent=most)
    assert concurrency(resources, *available) == expected


@pytest.mark.parametrize(
    ("resources", "available", "message"),
    [
        (Resources(cpus=9), (8, 0), "resources.cpus: 9 per trial, but there are 8; lower resources.cpus"),
        (Resources(gpus=0.5), (8, 0), "resources.gpus: 0.5 per trial, but there are 0;"
         " set resources.gpus: 0 to train on the CPU"),
        (Resources(gpus=2), (8, 1), "resources.gpus: 2 per trial, but there are 1;"
         " set resources.gpus: 0 to train on the CPU"),
    ],
)  # fmt: skip
def test_where_not_even_one_fits(resources: Resources, available: tuple[int, int], message: str) -> None:
    with pytest.raises(UserError) as caught:
        concurrency(resources, *available)
    assert str(caught.value) == message


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, 3), ("0,2", 2), ("1", 1), ("0,1,2,3,4", 3), ("", 0), ("-1", 0)]
)
def test_gpus_are_those_that_the_driver_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: int
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\nfor i in 0 1 2; do echo "GPU $i: NVIDIA H200 (UUID: GPU-$i)"; done\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == expected


def test_no_driver_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == 0
