"""Expected cost of the trials that remain. Training steps are timed in as many processes as the sweep will use."""

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
    """Return the shape of a trial: a JSON text of the settings that determine the duration of a step.

    Sizes are among these settings, learning rates are not.
    """
    config = grown(planned.training)
    updates = {name: {"updates": getattr(config, name).updates} for name in ("generator", "discriminator")}
    return json.dumps({**to_plain(config), **updates, "seed": 0}, sort_keys=True)


def grown(config: TrainingConfig) -> TrainingConfig:
    """Return the configuration that is timed and measured for a run: D has its final size and new weights.

    The cost of this configuration is an upper bound on that of a run whose D grows. Runs with and without growth thus
    have the same shape.
    """
    networks = replace(config.networks, growth_at=None, growth_adds="block")
    return replace(config, networks=networks, start=StartConfig())


def seconds_a_step(plan: Plan, slots: int) -> dict[str, float]:
    """Return shape → seconds per step, the mean of `slots` processes.

    The processes train trials of the shape in parallel while steps are timed, since they share caches and memory
    bandwidth.
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
        images_s: Seconds for the real images of all data sets that have not been measured yet.
        samples_s: Seconds for the samples of one trial.
    """

    images_s: float = 0.0
    samples_s: float = 0.0


def features_s(plan: Plan) -> float:
    """Return the seconds for making the embeddings that are missing in the cache, one after the other.

    Embeddings are made while Ray starts, and trials wait for them. Later runs find them in the cache.
    """
    wanted = ((p.images.reference(p.features.key(p.training.code)), p) for p in plan.left if p.evaluation_cadence)
    missing = {path: p for path, p in wanted if not path.exists()}
    return sum(making_s(p.features, p.images) for p in missing.values())


def fid_cost(plan: Plan, slots: int) -> FidCost:
    """Return the cost of `evaluation.fid`, timed in `slots` processes in parallel; zero if it is not used."""
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
    """Return the expected duration of a plan in seconds; 0 if no trial remains.

    It is the sum of three durations: the start of Ray or the making of embeddings, whichever takes longer; the
    measurement of real images for `evaluation.fid`, for which all trials wait; and the longest of `slots` queues, to
    which trials are assigned in plan order.

    Args:
        plan: The plan.
        slots: Number of trials in parallel.
        step_s: Shape → seconds per step.
        fid: Cost of `evaluation.fid`.
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
