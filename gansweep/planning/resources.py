"""What this machine offers, and how many trials fit side by side."""

from __future__ import annotations

import os
import shutil
import subprocess

from gansweep.errors import UserError
from gansweep.sweepfile.schema import Resources


def gpus() -> int:
    """NVIDIA GPUs that this process may use, asked of the driver's own tool so that torch is not loaded."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    tool = shutil.which("nvidia-smi")
    if tool is None or visible in ("", "-1"):
        return 0
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    count = sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
    return min(count, len(visible.split(","))) if visible else count


def concurrency(resources: Resources, available_cores: int, available_gpus: float, share: float | None = None) -> int:
    """Trials side by side. Raises UserError where not even one fits.

    share: GPUs of one trial, as `auto` came to; None before that is known: then as many as the cores allow.
    """
    if share is None:
        share = 0.0 if resources.gpus == "auto" else resources.gpus
    if not available_cores:
        raise UserError("the Ray cluster has no cores that train: begin workers (`ray start --address HEAD:PORT`)")
    if resources.cpus > available_cores:
        raise UserError(
            f"resources.cpus: {resources.cpus} a trial, but there are {available_cores}; lower resources.cpus"
        )
    if share > available_gpus:
        raise UserError(
            f"resources.gpus: {share:g} a trial, but there are {available_gpus:g} here;"
            " set resources.gpus: 0 to train on the CPU"
        )
    fit = available_cores // resources.cpus
    if share:
        # floor per GPU: a fraction never spans two
        per_gpu = int(1 / share + 1e-9) if share <= 1 else 1
        fit = min(fit, int(available_gpus * per_gpu if share <= 1 else available_gpus // share))
    return min(fit, resources.max_concurrent or fit)
