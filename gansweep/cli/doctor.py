"""`gansweep doctor`: check whether sweeps can run on this machine."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from gansweep.cli import options
from gansweep.cli.text import size, to_json
from gansweep.errors import UserError
from gansweep.records.writable import check_writable

LEAST_DISK_BYTES = 2 * 10**9
LEAST_SHARED_MEMORY_BYTES = 64 * 2**20
UI_PORT = 5000
IMPORTED = ("torch",)  # packages that are imported (seconds), because libraries that they need are often missing


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        what: Subject of the check.
        found: Result as text.
        good: Whether a sweep can run with this result.
        mend: How to fix the problem; shown only if `good` is False.
    """

    what: str
    found: str
    good: bool = True
    mend: str = ""


@click.command()
@options.home_option
@options.json_option
def doctor(home_path: Path, as_json: bool) -> None:
    """Check versions, devices, disk, locks, ports and the home folder.

    The exit code is 1 if a check fails that a sweep depends on.
    """
    findings = list(_examine(home_path))
    if as_json:
        click.echo(to_json([asdict(f) for f in findings]))
    else:
        for f in findings:
            click.echo(
                f"{'ok  ' if f.good else 'BAD '} {f.what:<14} {f.found}" + (f" — {f.mend}" if not f.good else "")
            )
    if not all(f.good for f in findings):
        sys.exit(1)


def _examine(home_path: Path) -> Iterator[Finding]:
    from gansweep.engine.loopback import check_loopback
    from gansweep.gan.cores import cores, cpu_quota
    from gansweep.planning.resources import gpus
    from gansweep.records.scratch import SHORT, place

    home = options.home_of(home_path)
    recent = sys.version_info >= (3, 11)
    yield Finding("python", platform.python_version(), recent, "gansweep needs Python 3.11 or newer")
    for package in ("gansweep", "torch", "torchvision", "ray", "mlflow", "numpy", "optuna", "scikit-learn"):
        try:
            yield _imports(package) if package in IMPORTED else Finding(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(package, "missing", False, "install gansweep again: pip install -e .")
    quota = cpu_quota()
    yield Finding("cores", f"{cores()}" + (f" (CPU quota {quota:.3g})" if quota < math.inf else ""))
    yield _gpus(listed := gpus())
    if listed:
        yield _mps()
    writable = _checked("home", str(home.path), lambda: check_writable(home))
    yield writable
    if writable.good:
        free = shutil.disk_usage(home.path).free
        mend = "free some, or name another disk with --home"
        yield Finding("disk", f"{size(free)} free", free > LEAST_DISK_BYTES, mend)
    yield _checked("scratch", "can be written", lambda: place(SHORT))
    yield _checked("loopback", "127.0.0.1 answers", check_loopback)
    if Path("/dev/shm").is_dir():
        shared = shutil.disk_usage("/dev/shm").total
        mend = "give the container more: --shm-size=256m"
        yield Finding("shared memory", size(shared), shared >= LEAST_SHARED_MEMORY_BYTES, mend)
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", UI_PORT)) == 0
    found = f"{UI_PORT} is taken: use `gansweep ui --port`" if taken else f"{UI_PORT} is free for `gansweep ui`"
    yield Finding("port", found)


def _checked(what: str, good: str, check: Callable[[], object]) -> Finding:
    """Return the finding of a check that raises UserError if it fails."""
    try:
        check()
    except UserError as error:
        return Finding(what, "not usable", False, str(error))
    return Finding(what, good)


def _imports(package: str) -> Finding:
    """Check in a separate process that a package can be imported: libraries that it needs may be missing."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", f"import {package}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return Finding(
        package,
        importlib.metadata.version(package),
        done.returncode == 0,
        f"cannot be imported ({lines[-1]}); install it again, for this machine's CPU or CUDA",
    )


def _mps() -> Finding:
    """Try to use NVIDIA's MPS and return the result. It is never a problem, since a sweep can run without MPS."""
    from gansweep.engine.mps import sharing
    from gansweep.records.scratch import SHORT, scratch

    try:
        with scratch(SHORT) as folder, sharing(folder, wanted=True) as settled:
            found = settled()
    except UserError:
        return Finding("MPS", "not tried without a folder for scratch files")
    refused = f"not usable, trials on one GPU take turns: {found.refused}"
    return Finding("MPS", f"usable; control daemon: {found.daemon}" if found.active else refused)


def _gpus(listed: int) -> Finding:
    if not listed:
        return Finding("GPUs", "none; trials train on the CPU")
    import torch

    seen = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(seen))
    return Finding("GPUs", f"{seen}: {names}" if seen else f"{listed}, but torch sees none", seen == listed,
                   "install a torch built for your CUDA driver")  # fmt: skip
