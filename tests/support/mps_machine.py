"""A machine with GPUs and MPS: stand-ins for NVIDIA's control program, nvidia-smi and CUDA's driver."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from gansweep.engine.mps import CONTROL

SUPPORT = Path(__file__).parent


class Machine:
    """A folder of programs that comes first on the PATH, and what the stand-ins have recorded.

    Args:
        root: Folder for both.
        modules: Modules of support/ that processes load at their start, in addition to CUDA's stand-in.
    """

    def __init__(self, root: Path, *modules: str) -> None:
        self.programs, self.records = root / "bin", root / "records"
        self.programs.mkdir()
        self.records.mkdir()
        # Through the shell: a line with #! takes no path with a space.
        run = f"exec {shlex.quote(sys.executable)} -SE {shlex.quote(str(SUPPORT / 'mps_control.py'))}"
        self._add(CONTROL, f'#!/bin/sh\n{run} "$@"\n')
        self._add("nvidia-smi", "#!/bin/sh\necho GPU 0: stand-in\n")
        loaded = ("mps_cuda", *modules)
        for module in loaded:
            (self.programs / f"{module}.py").symlink_to(SUPPORT / f"{module}.py")
        (self.programs / "sitecustomize.py").write_text("".join(f"import {module}\n" for module in loaded))

    def _add(self, name: str, text: str) -> None:
        program = self.programs / name
        program.write_text(text)
        program.chmod(0o755)

    @property
    def variables(self) -> dict[str, str]:
        """Variables of processes on this machine."""
        path = os.pathsep.join(filter(None, [str(self.programs), os.environ.get("PYTHONPATH")]))
        return {
            "PATH": os.pathsep.join([str(self.programs), os.environ["PATH"]]),
            "PYTHONPATH": path,
            "MPS_RECORDS": str(self.records),
        }

    @property
    def daemon(self) -> dict[str, str]:
        """Environment of the daemon that started last."""
        found: dict[str, str] = json.loads((self.records / "daemon").read_text())
        return found

    @property
    def commands(self) -> list[str]:
        """Commands to all daemons."""
        file = self.records / "commands"
        return file.read_text().split() if file.exists() else []

    def processes(self) -> list[psutil.Process]:
        """Return the processes of MPS that live: watchers, daemons, and their servers."""
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
                if ("mps_" in words or CONTROL in words or "sleep 3600" in words) and self._owns(process):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def _owns(self, process: psutil.Process) -> bool:
        return process.environ().get("MPS_RECORDS") == str(self.records)


def ended(processes: Iterable[psutil.Process], patience_s: float = 10) -> bool:
    """Whether the processes end. Nobody may have waited for them yet."""
    deadline = time.monotonic() + patience_s
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
