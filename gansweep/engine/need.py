"""What a trial needs of a GPU, and how throughput grows with neighbours, measured on a whole one. Does not load Ray."""

from __future__ import annotations

import gc
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gansweep.planning import code
from gansweep.planning.job import Job
from gansweep.planning.packing import Rates, measured_numbers, settled, together
from gansweep.sync.storage import open_storage
from gansweep.sync.workspace import fetched

if TYPE_CHECKING:
    import torch

    from gansweep.gan.data import ImageSet
    from gansweep.gan.training import Trainer

SETTLING_S, SETTLING_CHECKS = 0.5, 20  # on an H200, an ended process held its memory for seconds
# Streams launch through queues of the device. By default there are 8, for clients of MPS fewer, and copies of a
# trainer that share one would wait for each other, as processes do not.
QUEUES = {"CUDA_DEVICE_MAX_CONNECTIONS": "32"}
Memory = dict[str, tuple[int, int]]  # UUID → (used, free), in bytes


@dataclass(frozen=True)
class Need:
    """What a trial needs of a GPU.

    Attributes:
        peak: Memory in bytes that one trial needs, including CUDA context and libraries; None if the GPU has less.
        free: Free memory in bytes before the measurement.
        rates: Number of trials side by side → their steps per second together; empty if it was not measured.
    """

    peak: int | None
    free: int
    rates: Rates = field(default_factory=dict)


def measure(config: dict[str, Any], most: int) -> Need:
    """Return what a job needs of the GPU of this process.

    Call it in a new process that has not used CUDA: the CUDA context counts, and is freed only when the process ends.
    Memory that other processes allocate in the meantime counts as well.

    Args:
        config: A planning.job.Job as plain data.
        most: Largest number of trials side by side whose throughput is measured; none is measured if it is below 2.

    Raises:
        UserError: The GPU cannot be used.
    """
    job, before = Job.from_config(config), settled_memory()
    code.check(job.code)
    os.environ.update(QUEUES)  # read when CUDA starts
    import torch

    from gansweep.gan.gpu import is_out_of_memory, uuid

    device = job.set_up_device()
    job = fetched(open_storage(job.storage), job) if job.storage else job
    images = job.images
    at = uuid(device)
    # Without a report of the driver, all used memory counts as the trial's.
    held, free = before[at] if at in before else (0, torch.cuda.mem_get_info(device)[1])
    try:
        captured = _work(job, images, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Need(None, free)
    most_reserved, reserved = torch.cuda.max_memory_reserved(device), torch.cuda.memory_reserved(device)
    peak = max(_used(device, at) - held + most_reserved - reserved, most_reserved)
    return Need(peak, free, _rates(job, images, device, min(most, together(peak, free))) if captured else {})


def _work(job: Job, images: ImageSet, device: torch.device) -> bool:
    """Run every operation of a run that allocates memory once, and return whether neighbours can be measured.

    The steps of neighbours must be captured: on one process's streams, eager steps would wait for the same Python.
    """
    from gansweep.gan.sampling import sample

    trainer = _trainer(job, images, device)
    trainer.measure().read()  # waits for the device
    sample(trainer.sampler, *trainer.grid())
    if job.run.evaluations:
        job.evaluator(images)(trainer)
    return trainer.captures or device.type == "cpu"


def _trainer(job: Job, images: ImageSet, device: torch.device) -> Trainer:
    """Return a trainer after its capture, which allocates the memory of its graph; later steps allocate nothing new."""
    from gansweep.gan.training import Trainer

    trainer = Trainer.on(images, job.training, device)
    for _ in range(trainer.capture_steps + 1):
        trainer.train_step()
    return trainer


def _rates(job: Job, images: ImageSet, device: torch.device, most: int) -> Rates:
    """Return the rates of up to `most` trials, until more of them gain nothing."""
    from gansweep.gan.gpu import is_out_of_memory
    from gansweep.gan.throughput import SideBySide

    found: dict[int, float] = {}
    if most < 2:
        return found
    gc.freeze()  # garbage is collected before each capture, which takes long with torch's objects
    trainers = SideBySide(lambda: _trainer(job, images, device), device)
    for number in measured_numbers(most):
        try:
            found[number] = trainers.rate(number)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            break
        if settled(found):
            break
    return found


def settled_memory() -> Memory:
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
    """Return (used, free) bytes of every GPU by UUID, from NVML: CUDA would create the context to be measured.

    GPUs that the driver does not report (MIG, WSL, vGPU) are left out.
    """
    found = {}
    with suppress(Exception):  # of pynvml, or of a driver that refuses a request
        import pynvml

        pynvml.nvmlInit()
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found[str(pynvml.nvmlDeviceGetUUID(handle))] = (int(memory.used), int(memory.free))
    return found


def _used(device: torch.device, uuid: str) -> int:
    """Return the used memory of a GPU in bytes, from the same source as that before the measurement."""
    import torch

    now = _memory()
    if uuid in now:
        return now[uuid][0]
    free, total = torch.cuda.mem_get_info(device)
    return total - free
