"""Provenance of a sweep: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gansweep.records.layout import SweepFolder, read_json, write_json
from gansweep.words import counted

PACKAGES = ("gansweep", "torch", "torchvision", "ray", "mlflow", "numpy")


@dataclass(frozen=True)
class Provenance:
    """Provenance of the last run of a sweep; fields are empty if unknown.

    Args:
        machine: system, processor and number of cores.
        commit: git commit of the folder in which the command was run.
        dirty: whether that checkout had changes; None outside of a checkout.
        versions: package → version.
    """

    machine: str = ""
    commit: str = ""
    dirty: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def record_provenance(folder: SweepFolder, place: Path) -> None:
    """Write the provenance of this process into a sweep's folder.

    Args:
        folder: folder of the sweep.
        place: folder whose git commit is recorded.
    """
    write_json(folder.environment, asdict(current(place)))


def provenance_of(folder: SweepFolder) -> Provenance:
    """Return the recorded provenance of a sweep; empty if an older version ran it."""
    return Provenance(**read_json(folder.environment))


def current(folder: Path) -> Provenance:
    """Return the provenance of this process.

    Args:
        folder: folder whose git commit is returned; the commit is "" if the folder is not in a checkout.
    """
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    cores = counted(os.cpu_count() or 1, "core")
    commit = _git(folder, "rev-parse", "HEAD")
    return Provenance(
        f"{platform.system()} {platform.machine()}, {_processor()}, {cores}",
        commit,
        bool(_git(folder, "status", "--porcelain")) if commit else None,
        {**versions, "python": platform.python_version()},
    )


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
