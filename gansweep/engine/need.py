"""Measurement of the GPU memory of a trial, and of the throughput of several trials on one GPU. Does not load Ray."""

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
    """GPU memory of a trial, and throughput of several such trials on one GPU.

    Attributes:
        peak: Memory in bytes that one trial needs, including CUDA context and libraries; None if it does not fit.
        free: Free memory in bytes before the measurement.
        rates: Number of simultaneous trials → their total steps per second; empty if throughput was not measured.
    """

    peak: int | None
    free: int
    rates: Rates = field(default_factory=dict)


def measure(config: dict[str, Any], most: int) -> Need:
    """Measure the memory and throughput of a job on the GPU of this process.

    Call this function in a new process that has not used CUDA: the memory of the CUDA context is part of the result,
    and is freed only when the process ends. Memory that other processes allocate meanwhile is counted as well.

    Args:
        config: A planning.job.Job as plain data.
        most: Largest number of simultaneous trials whose throughput is measured. Below 2, throughput is not measured.

    Raises:
        UserError: The GPU cannot be used, or the job's code or images are not available on this machine.
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
    """Run once every operation of a run that allocates memory.

    Returns:
        Whether the throughput of several trials can be measured in this process. On a GPU, their steps must be captured
        as CUDA graphs: eager steps would wait for each other, since one Python interpreter launches them all.
    """
    from gansweep.gan.sampling import sample

    trainer = _trainer(job, images, device)
    trainer.measure().read()  # waits for the device
    sample(trainer.sampler, *trainer.grid())
    if job.run.evaluations:
        job.evaluator(images)(trainer)
    return trainer.captures or device.type == "cpu"


def _trainer(job: Job, images: ImageSet, device: torch.device) -> Trainer:
    """Return a trainer that has run and captured its step, so that later steps allocate no further memory."""
    from gansweep.gan.training import Trainer

    trainer = Trainer.on(images, job.training, device)
    for _ in range(trainer.capture_steps + 1):
        trainer.train_step()
    return trainer


def _rates(job: Job, images: ImageSet, device: torch.device, most: int) -> Rates:
    """Return Need.rates for 1, 2, 4, … and `most` trials; empty if `most` is below 2.

    Larger numbers are left out once they gain too little (packing.settled) or do not fit in memory.
    """
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
    """Return `_memory()` once its values no longer change: the memory of a process is freed a moment after its end.

    The last values are returned if they still change after SETTLING_CHECKS checks.
    """
    before = _memory()
    for _ in range(SETTLING_CHECKS):
        time.sleep(SETTLING_S)
        now = _memory()
        if now == before:
            break
        before = now
    return before


def _memory() -> Memory:
    """Return the UUID of every GPU → its (used, free) memory in bytes.

    The values come from NVML, since a query of CUDA would create the CUDA context whose memory is to be measured. GPUs
    that the driver does not report (MIG, WSL, vGPU) are left out.
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
    """Return the used memory of a GPU in bytes: from NVML, as before the measurement, or from CUDA if NVML lacks it."""
    import torch

    now = _memory()
    if uuid in now:
        return now[uuid][0]
    free, total = torch.cuda.mem_get_info(device)
    return total - free
