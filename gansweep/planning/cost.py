"""Expected cost of pending trials: real steps are timed in the number of processes that the sweep will use."""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from gansweep.config import StartConfig, TrainingConfig, to_plain
from gansweep.gan.data import ImageSet
from gansweep.gan.network_file import NetworkFile
from gansweep.planning.features import making_s
from gansweep.planning.fid import config_of
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
    with _processes(slots) as pool:
        result = {}
        for key, planned in shapes.items():
            job = (grown(planned.training), planned.images, resources.cpus, gpu)
            times = list(pool.map(_time_steps, *zip(*[job] * slots, strict=True)))
            result[key] = sum(times) / len(times)
    return result


@dataclass(frozen=True)
class FidCost:
    """Cost of `evaluation.fid` in seconds.

    Attributes:
        images_s: Of the real images that are not measured yet, once per data set.
        samples_s: Of the samples, in each trial.
    """

    images_s: float = 0.0
    samples_s: float = 0.0


def features_s(plan: Plan) -> float:
    """Return the seconds until the embeddings that are missing are made, one after the other.

    Trials wait for them. They are made while Ray starts, and known from then on.
    """
    wanted = ((p.images.reference(p.features.key(p.training.code)), p) for p in plan.left if p.evaluation_cadence)
    missing = {path: p for path, p in wanted if not path.exists()}
    return sum(making_s(p.features, p.images) for p in missing.values())


def fid_cost(plan: Plan, slots: int) -> FidCost:
    """Return the cost of `evaluation.fid`, timed in `slots` processes in parallel."""
    config = config_of(plan.sweep)
    if not config.weights or not plan.left:
        return FidCost()
    file, resources = NetworkFile(Path(config.weights), config.sha256), plan.sweep.resources
    job = (file, plan.left[0].images, resources.cpus, uses_gpu(resources))
    with _processes(slots) as pool:
        times = list(pool.map(_time_network, *zip(*[job] * slots, strict=True)))
    an_image = sum(times) / len(times)
    sets = {p.images.file: p.images for p in plan.left}.values()
    images = sum(one.images for one in sets if not file.statistics(one).exists())
    return FidCost(images * an_image, config.samples * an_image)


def wall_s(plan: Plan, slots: int, step_s: dict[str, float], fid: FidCost = FidCost()) -> float:
    """Return the expected duration in seconds.

    It consists of the start, or of what takes longer: making the embeddings; of the longest of `slots` queues in plan
    order; and of `evaluation.fid`, for whose real images all trials wait.
    """
    queues = [0.0] * slots
    for planned in plan.left:
        left = planned.trial.steps - (min(planned.ended.step, planned.trial.steps) if planned.ended else 0)
        shortest = queues.index(min(queues))
        queues[shortest] += left * step_s[shape_of(planned)] + fid.samples_s
    return max(START_S, features_s(plan)) + fid.images_s + max(queues) if plan.left else 0.0


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def _time_network(file: NetworkFile, images: ImageSet, threads: int, gpu: bool) -> float:
    """Return the seconds per image of the network of `evaluation.fid` in this process."""
    import torch

    from gansweep.gan.fid import BATCH
    from gansweep.gan.inception import load

    torch.set_num_threads(threads)
    network = load(file, torch.device("cuda" if gpu else "cpu"))
    batch = torch.from_numpy(images.load()[:BATCH])
    network(batch)  # the first call is slower
    began, batches = time.perf_counter(), 0
    while batches < 1 or time.perf_counter() - began < TIMED_S:
        network(batch)
        batches += 1
    return (time.perf_counter() - began) / (batches * len(batch))


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
