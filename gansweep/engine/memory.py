"""GPU memory that a trial needs, measured in a few steps and the sampling of an evaluation. Does not load Ray."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gansweep.planning import code
from gansweep.planning.job import Job
from gansweep.sync.storage import open_storage
from gansweep.sync.workspace import fetch

if TYPE_CHECKING:
    import torch

SETTLING_S, SETTLING_CHECKS = 0.5, 20  # on an H200, an ended process held its memory for seconds
Memory = dict[str, tuple[int, int]]  # UUID → (used, free), in bytes


@dataclass(frozen=True)
class Need:
    """Memory of a GPU, in bytes.

    Attributes:
        peak: Memory that one trial needs, including CUDA context and libraries; None if the GPU has less.
        free: Free memory before the measurement.
    """

    peak: int | None
    free: int


def measure(config: dict[str, Any]) -> Need:
    """Return the memory that a job needs on the GPU of this process.

    Call it in a new process that has not used CUDA: the CUDA context counts, and is freed only when the process ends.
    Memory that other processes allocate in the meantime counts as well.

    Args:
        config: A planning.job.Job as plain data.
    """
    job, before = Job.from_config(config), _settled_memory()
    code.check(job.code)
    import torch

    from gansweep.gan.gpu import is_out_of_memory, uuid

    device = job.set_up_device()
    at = uuid(device)
    held, free = before[at]
    try:
        _work(job, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Need(None, free)
    most, reserved = torch.cuda.max_memory_reserved(device), torch.cuda.memory_reserved(device)
    return Need(max(_memory()[at][0] - held + most - reserved, most), free)


def _work(job: Job, device: torch.device) -> None:
    """Run every operation of a run that allocates memory once."""
    import torch

    from gansweep.gan.capture import EAGER_STEPS
    from gansweep.gan.sampling import sample
    from gansweep.gan.training import Trainer

    config = job.training
    images = fetch(open_storage(job.storage), job.images) if job.storage else job.images
    trainer = Trainer.on(images, config, device)
    for _ in range(EAGER_STEPS + 2):  # capture allocates the memory of its graph; later steps allocate nothing new
        trainer.train_step()
    trainer.measure().read()  # waits for the device
    z = torch.randn(max(job.samples, config.batch_size), config.latent_dim, device=device)
    asked = torch.zeros(len(z), dtype=torch.int64, device=device) if config.networks.classes else None
    sample(trainer.sampler, z, asked)


def _settled_memory() -> Memory:
    """Return `_memory()` once it stays the same: that of an ended process is freed a moment after its end."""
    before = _memory()
    for _ in range(SETTLING_CHECKS):
        time.sleep(SETTLING_S)
        now = _memory()
        if now == before:
            break
        before = now
    return before


def _memory() -> Memory:
    """Return (used, free) bytes of every GPU by UUID, from NVML: CUDA would create the context to be measured."""
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    found = {}
    for handle in handles:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        found[str(pynvml.nvmlDeviceGetUUID(handle))] = (int(memory.used), int(memory.free))
    return found
