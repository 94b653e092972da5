"""Number of processor cores available to this process.

It is limited by affinity and by control groups (containers, Kubernetes, Slurm).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cores() -> int:
    """Return the number of cores: those of the affinity, or the rounded CPU quota if that is smaller; at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, round(min(allowed, cpu_quota())))


def cpu_quota(process: Path = Path("/proc/self")) -> float:
    """Return the CPU quota of a process in cores, possibly fractional; inf without a limit.

    The quota is the smallest one of the process's control groups and their parents.

    Args:
        process: Folder of the process in /proc.
    """
    try:
        groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    return min((_quota(folder) for folder in _folders(groups, mounts)), default=math.inf)


def _folders(groups: list[list[str]], mounts: list[str]) -> Iterator[Path]:
    """Yield the folders of a process's control groups and of their parents, as far as they are mounted.

    Args:
        groups: Lines of /proc/…/cgroup, each split at its colons.
        mounts: Lines of /proc/…/mountinfo.
    """
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        root, point = (_unescaped(text) for text in before.split()[3:5])
        kind, _, options = after.split(" ", 2)
        for _, controllers, path in groups:
            version_2 = kind == "cgroup2" and not controllers
            if version_2 or (kind == "cgroup" and "cpu" in set(controllers.split(",")) & set(options.split(","))):
                # In a container the mount may begin at its own group, or the path may not be visible.
                inside = PurePosixPath(path).relative_to(root) if PurePosixPath(path).is_relative_to(root) else ""
                leaf = Path(point, inside)
                yield leaf
                yield from (parent for parent in leaf.parents if parent.is_relative_to(point))


def _quota(folder: Path) -> float:
    """Return the quota of one control group in cores; inf without a limit.

    It is read from cpu.max (version 2), or from cpu.cfs_quota_us and cpu.cfs_period_us (version 1).
    """
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except OSError:
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
