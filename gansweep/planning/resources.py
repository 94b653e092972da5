"""Resources of this machine, and the number of trials that fit in parallel."""

from __future__ import annotations

import os
import shutil
import subprocess

from gansweep.errors import UserError
from gansweep.sweepfile.schema import Resources


def gpus() -> int:
    """Return the number of NVIDIA GPUs that this process may use. nvidia-smi is asked, so torch is not loaded."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    tool = shutil.which("nvidia-smi")
    if tool is None or visible in ("", "-1"):
        return 0
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    count = sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
    return min(count, len(visible.split(","))) if visible else count


def uses_gpu(resources: Resources) -> bool:
    """Whether trials with these resources would train on a GPU on this machine."""
    return gpus() > 0 if resources.gpus == "auto" else resources.gpus > 0


def concurrency(resources: Resources, available_cores: int, available_gpus: float, share: float | None = None) -> int:
    """Return the number of trials that fit in parallel.

    Args:
        resources: Resources of one trial.
        available_cores: Number of CPU cores.
        available_gpus: Number of GPUs.
        share: GPUs of one trial as decided for `auto`. If it is None, `resources.gpus` applies, and for `auto` only
            cores limit the number.

    Raises:
        UserError: Not even one trial fits, or there are no CPU cores.
    """
    if share is None:
        share = 0.0 if resources.gpus == "auto" else resources.gpus
    if not available_cores:
        raise UserError("the Ray cluster has no CPU cores; start workers (`ray start --address HEAD:PORT`)")
    if resources.cpus > available_cores:
        raise UserError(
            f"resources.cpus: {resources.cpus} per trial, but there are {available_cores}; lower resources.cpus"
        )
    if share > available_gpus:
        raise UserError(
            f"resources.gpus: {share:g} per trial, but there are {available_gpus:g};"
            " set resources.gpus: 0 to train on the CPU"
        )
    fit = available_cores // resources.cpus
    if share:
        # rounded down per GPU: a trial with a fraction is on one GPU
        per_gpu = int(1 / share + 1e-9) if share <= 1 else 1
        fit = min(fit, int(available_gpus * per_gpu if share <= 1 else available_gpus // share))
    return min(fit, resources.max_concurrent or fit)
