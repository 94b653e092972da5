"""Where and with what a sweep ran: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from gansweep.words import counted

PACKAGES = ("gansweep", "torch", "torchvision", "ray", "mlflow", "numpy")


def context(folder: Path) -> dict[str, str]:
    """Tags of a sweep's parent run. folder: whose git commit is named, if it lies in a checkout."""
    tags = {f"gansweep.version.{name}": importlib.metadata.version(name) for name in PACKAGES}
    tags["gansweep.version.python"] = platform.python_version()
    cores = counted(os.cpu_count() or 1, "core")
    tags["gansweep.machine"] = f"{platform.system()} {platform.machine()}, {_processor()}, {cores}"
    commit = _git(folder, "rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["gansweep.git_dirty"] = str(bool(_git(folder, "status", "--porcelain"))).lower()
    return tags


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
