"""What the pending trials will cost: seconds a step, timed on real steps in as many processes as will run."""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

from gansweep.gan.data import ImageSet
from gansweep.schedule.planned import Planned
from gansweep.schedule.prepare import Plan
from gansweep.schedule.resources import gpus

WARM_UP_STEPS = 2
TIMED_S = 1.5
START_S = 12.5  # Ray, the trial processes and their imports, once a sweep (docs/speed.json: many_trials.ten_s)


def shape_of(planned: Planned) -> str:
    """What determines the time of a step, as a key: learning rates and seeds do not."""
    settings = grown_settings(planned)
    for network in ("generator", "discriminator"):
        settings[network] = {"updates": settings[network]["updates"]}
    return json.dumps({**settings, "seed": 0}, sort_keys=True)


def grown_settings(planned: Planned) -> dict[str, Any]:
    """The settings to time and to measure: D as it will have grown, an upper bound that a run without growth shares."""
    settings = planned.settings()
    return {**settings, "networks": {**settings["networks"], "growth_at": None, "growth_adds": "block"}}


def seconds_a_step(plan: Plan, slots: int) -> dict[str, float]:
    """shape → seconds, with `slots` processes training the same side by side (they share caches and memory)."""
    shapes = {shape_of(p): p for p in plan.left}
    resources = plan.sweep.resources
    gpu = gpus() > 0 if resources.gpus == "auto" else resources.gpus > 0
    with ProcessPoolExecutor(slots, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = {}
        for key, planned in shapes.items():
            job = (grown_settings(planned), asdict(planned.images), resources.cpus, gpu)
            times = list(pool.map(_time_steps, [job] * slots))
            result[key] = sum(times) / len(times)
    return result


def wall_s(plan: Plan, slots: int, step_s: dict[str, float]) -> float:
    """The longest of `slots` queues filled in the order of the plan, and the start."""
    queues = [0.0] * slots
    for planned in plan.left:
        left = planned.trial.steps - (min(planned.ended.step, planned.trial.steps) if planned.ended else 0)
        shortest = queues.index(min(queues))
        queues[shortest] += left * step_s[shape_of(planned)]
    return START_S + max(queues) if plan.left else 0.0


def _time_steps(job: tuple[dict[str, Any], dict[str, Any], int, bool]) -> float:
    import torch

    from gansweep.gan.training import Trainer
    from gansweep.schedule.job import settings_of

    settings, images, threads, gpu = job
    torch.set_num_threads(threads)
    image_set = ImageSet(**images)
    device = torch.device("cuda" if gpu else "cpu")
    trainer = Trainer(settings_of(settings), image_set.load(), device, image_set.labels())
    for _ in range(WARM_UP_STEPS):
        trainer.train_step()
    trainer.read()  # waits for the device
    began, steps = time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - began < TIMED_S:
        trainer.train_step()
        steps += 1
    trainer.read()
    return (time.perf_counter() - began) / steps
