"""Choice of the trials that `resources.gpus: auto` measures on a GPU. Does not load Ray."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gansweep.planning.cost import grown, shape_of
from gansweep.planning.dispatch import job_of
from gansweep.planning.job import Job
from gansweep.planning.packing import measured_for, wanted
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records.devices import CPU
from gansweep.sync.collector import Collector

Jobs = Mapping[str, Job]  # shape → job to measure


@dataclass(frozen=True)
class Question:
    """What has to be measured to choose the number of trials per GPU.

    Attributes:
        jobs: Shape → job to measure.
        most: Largest number of trials per GPU that cores and waiting trials allow; memory may allow fewer.
        measured_as: Shape of each trial that remains to be trained on a GPU → shape whose measurement applies to it.
        largest: Shape → the trial of that shape with the most images.
    """

    jobs: Jobs
    most: int
    measured_as: Mapping[str, str]
    largest: Mapping[str, PlannedTrial]


def staying(plan: Plan) -> int:
    """Return the number of unfinished trials that began on the CPU, and so continue there."""
    return sum(planned.began_on == CPU for planned in plan.pending)


def question_of(
    plan: Plan, bounds: Iterable[PlannedTrial], cores: float, gpus: int, collector: Collector | None = None
) -> Question | None:
    """Return what has to be measured for a plan; None if no trial needs a GPU.

    Args:
        plan: The plan of the sweep.
        bounds: Trials that are at least as large as any later suggestion of the search.
        cores: Number of CPU cores.
        gpus: Number of GPUs; at least 1.
        collector: Collector of the storage to which the jobs' images are uploaded; None without a storage.
    """
    bounds, resources = [*bounds], plan.sweep.resources
    shapes = {shape_of(planned) for planned in (*plan.pending, *bounds) if planned.began_on != CPU}
    if not shapes:
        return None
    # Of all trials, also finished ones, so that a sweep that is continued finds the same shapes measured.
    largest = _largest(planned for planned in (*plan.trials, *bounds) if planned.began_on != CPU)
    measured_as = measured_for({shape: planned.step_operations for shape, planned in largest.items()})
    jobs = {of: _job(plan, largest[of], collector) for of in sorted({measured_as[shape] for shape in shapes})}
    waiting = min(len(plan.left) - staying(plan), resources.max_concurrent or math.inf)
    most = wanted(cores / gpus, resources.cpus, waiting / gpus)
    return Question(jobs, most, {shape: measured_as[shape] for shape in shapes}, largest)


def _largest(trials: Iterable[PlannedTrial]) -> dict[str, PlannedTrial]:
    """Return shape → the trial of that shape with the most images, since a trial's images are held in GPU memory."""
    found: dict[str, PlannedTrial] = {}
    for planned in trials:
        key = shape_of(planned)
        if key not in found or planned.images.images > found[key].images.images:
            found[key] = planned
    return found


def _job(plan: Plan, planned: PlannedTrial, collector: Collector | None) -> Job:
    """Return the job to measure for a trial. Its images are uploaded to the storage, if there is one."""
    job = job_of(plan, planned, 1.0, storage=collector.uri if collector else None)
    if collector:
        collector.upload(job.images)
    return replace(job, training=grown(planned.training))
