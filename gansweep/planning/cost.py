"""Expected cost of pending trials: real steps are timed in the number of processes that the sweep will use."""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from gansweep.config import StartConfig, TrainingConfig, to_plain
from gansweep.gan.data import ImageSet
from gansweep.planning.plan import Plan
from gansweep.planning.resources import uses_gpu
from gansweep.planning.trial import PlannedTrial

TIMED_S = 1.5
START_S = 12.5  # start of Ray and of the trial processes, once per sweep (docs/speed.json: many_trials.ten_s)


def shape_of(planned: PlannedTrial) -> str:
    """Return a key of the settings that determine the duration of a step, such as sizes but not learning rates."""
    config = grown(planned.training)
    updates = {name: {"updates": getattr(config, name).updates} for name in ("generator", "discriminator")}
    return json.dumps({**to_plain(config), **updates, "seed": 0}, sort_keys=True)


def grown(config: TrainingConfig) -> TrainingConfig:
    """Return the configuration with D at its final size and new weights, which is timed and measured.

    It is an upper bound of the cost, and shared with runs whose D does not grow.
    """
    networks = replace(config.networks, growth_at=None, growth_adds="block")
    return replace(config, networks=networks, start=StartConfig())


def seconds_a_step(plan: Plan, slots: int) -> dict[str, float]:
    """Return shape → seconds per step.

    They are measured while `slots` processes train trials of the shape in parallel, since processes share caches and
    memory bandwidth.
    """
    shapes = {shape_of(p): p for p in plan.left}
    resources = plan.sweep.resources
    gpu = uses_gpu(resources)
    with ProcessPoolExecutor(slots, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = {}
        for key, planned in shapes.items():
            job = (grown(planned.training), planned.images, resources.cpus, gpu)
            times = list(pool.map(_time_steps, *zip(*[job] * slots, strict=True)))
            result[key] = sum(times) / len(times)
    return result


def wall_s(plan: Plan, slots: int, step_s: dict[str, float]) -> float:
    """Return the expected duration in seconds: that of the start and of the longest of `slots` queues in plan order."""
    queues = [0.0] * slots
    for planned in plan.left:
        left = planned.trial.steps - (min(planned.ended.step, planned.trial.steps) if planned.ended else 0)
        shortest = queues.index(min(queues))
        queues[shortest] += left * step_s[shape_of(planned)]
    return START_S + max(queues) if plan.left else 0.0


def _time_steps(config: TrainingConfig, images: ImageSet, threads: int, gpu: bool) -> float:
    """Return the seconds per step of a trial in this process. Raises UserError if the GPU cannot be used."""
    import torch

    from gansweep.gan.device import set_up
    from gansweep.gan.training import Trainer

    torch.set_num_threads(threads)
    trainer = Trainer.on(images, config, set_up(gpu, config.precision))
    began = time.perf_counter()
    for _ in range(trainer.capture_steps if gpu else 2):  # capture is not part of a step
        trainer.train_step()
        if time.perf_counter() - began > TIMED_S and not gpu:
            break  # the first steps of a process are slower, which does not matter if a step takes seconds
    trainer.read()  # waits for the device
    began, steps = time.perf_counter(), 0
    while steps < 1 or time.perf_counter() - began < TIMED_S:
        trainer.train_step()
        steps += 1
    trainer.read()
    return (time.perf_counter() - began) / steps
