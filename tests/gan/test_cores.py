"""Cores that a process may use, with CPU quotas as files of both versions of control groups say them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gansweep.gan import cores
from gansweep.gan.cores import cpu_quota

Machine = Callable[[str, str, dict[str, str]], Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A process's folder in /proc. Arguments: its cgroup; its mountinfo, with {} for a folder; files of that folder."""

    def machine(cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
        process, mounted = tmp_path / "proc", tmp_path / "a mount"
        process.mkdir()
        (process / "cgroup").write_text(cgroup)
        (process / "mountinfo").write_text(mountinfo.format(str(mounted).replace(" ", r"\040")))
        for name, content in files.items():
            (mounted / name).parent.mkdir(parents=True, exist_ok=True)
            (mounted / name).write_text(content)
        return process

    return machine


V2 = "31 24 0:27 / {} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "33 24 0:29 {root} {{}} rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "files", "expected"),
    [
        ("0::/\n", V2, {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", V2, {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", V2, {}, math.inf),
        (
            "0::/pod/one\n",
            V2,
            {"cpu.max": "max 100000\n", "pod/cpu.max": "200000 100000\n", "pod/one/cpu.max": "max 1\n"},
            2,
        ),
        ("0::/a/b\n", V2, {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/../../elsewhere\n", V2, {"cpu.max": "100000 100000\n"}, 1),
        (
            "5:cpu,cpuacct:/docker/1f\n1:name=systemd:/\n0::/\n",
            V1.format(root="/docker/1f"),
            {"cpu.cfs_quota_us": "300000\n", "cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("5:cpu:/\n", V1.format(root="/"), {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, math.inf),
        (
            "5:cpu:/slurm/job_7\n",
            V1.format(root="/"),
            {"slurm/job_7/cpu.cfs_quota_us": "250000", "slurm/job_7/cpu.cfs_period_us": "50000"},
            5,
        ),
        ("5:memory:/\n", V1.format(root="/").replace("cpu,cpuacct", "memory"), {"cpu.max": "1 1"}, math.inf),
    ],
)
def test_is_the_least_of_the_groups(
    machine: Machine, cgroup: str, mountinfo: str, files: dict[str, str], expected: float
) -> None:
    assert cpu_quota(machine(cgroup, mountinfo, files)) == expected


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 8), (0.2, 1), (1.4, 1), (1.6, 2), (3, 3), (64, 8)])
def test_cores_are_the_nearest_whole_number(monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert cores.cores() == expected
