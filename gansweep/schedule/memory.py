"""The memory that a trial needs on a GPU, measured there: a few steps and an evaluation's sampling. No Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gansweep.records.storage import open_storage
from gansweep.schedule import code
from gansweep.schedule.job import Job
from gansweep.schedule.workplace import fetch

if TYPE_CHECKING:
    import torch

STEPS = 3  # the first alone has no gradients and moments yet, later ones none that are new


@dataclass(frozen=True)
class Need:
    """peak: bytes of one trial, CUDA context and libraries included; None: more than there is.

    free: bytes of the GPU that nobody held before.
    """

    peak: int | None
    free: int


def measure(config: dict[str, Any]) -> Need:
    """config: a schedule.job.Job as plain data. Call it in a process that has not used CUDA and ends soon: the context
    is counted, and freed by the end alone. What others do on the GPU meanwhile is counted as well."""
    job, before = Job.from_config(config), _memory()
    code.check(job.code)
    import torch

    from gansweep.gan.gpu import is_out_of_memory, uuid

    device = job.device
    at = uuid(device)
    held, free = before[at]
    try:
        _work(job, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Need(None, free)
    given_back = torch.cuda.max_memory_reserved(device) - torch.cuda.memory_reserved(device)
    return Need(_memory()[at][0] - held + given_back, free)


def _work(job: Job, device: torch.device) -> None:
    """What takes memory in a run, once or a few times."""
    import torch

    from gansweep.gan.sampling import sample
    from gansweep.gan.training import Trainer

    config = job.training
    images = fetch(open_storage(job.storage), job.images) if job.storage else job.images
    trainer = Trainer.on(images, config, device)
    for _ in range(STEPS):
        trainer.train_step()
    trainer.read()  # waits for the device
    trainer.validation_losses()
    z = torch.randn(max(job.samples, config.batch_size), config.latent_dim, device=device)
    asked = torch.zeros(len(z), dtype=torch.int64, device=device) if config.networks.classes else None
    sample(trainer.sampler, z, asked)


def _memory() -> dict[str, tuple[int, int]]:
    """(used, free) bytes of every GPU by its UUID, of NVML: CUDA would make the context that is to be counted."""
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    found = {}
    for handle in handles:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        found[str(pynvml.nvmlDeviceGetUUID(handle))] = (int(memory.used), int(memory.free))
    return found
