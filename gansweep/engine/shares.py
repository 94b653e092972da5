"""Share of a GPU of each trial in a sweep: as set in its file, or measured on Ray's GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import ray

from gansweep.engine.memory import Need, measure
from gansweep.errors import UserError
from gansweep.planning.cost import grown, shape_of
from gansweep.planning.dispatch import job_of
from gansweep.planning.packing import MARGIN, Shares, share
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records.devices import CPU
from gansweep.sync.collector import Collector
from gansweep.words import counted

GB = 1e9


def shares_of(
    plan: Plan,
    bounds: Iterable[PlannedTrial],
    available: Mapping[str, float],
    notify: Callable[[str], None],
    collector: Collector | None = None,
) -> Shares:
    """Return the shares of all trials. Measured shares assume that all GPUs are like the smallest one.

    Args:
        plan: The plan of the sweep.
        bounds: Trials that are at least as large as any later suggestion of the search.
        available: Ray's resources.
        notify: Called with messages for the user.
        collector: Collector of the storage, if Ray's machines do not share the home folder.

    Raises:
        UserError: A trial fits on no GPU, or its memory cannot be measured.
    """
    resources = plan.sweep.resources
    if resources.gpus != "auto":
        return Shares.equal(resources.gpus)
    gpus = int(available.get("GPU", 0))
    if not gpus:
        notify("resources.gpus: auto: there is no GPU, so trials train on the CPU")
        return Shares.equal(0.0)
    staying = sum(planned.began_on == CPU for planned in plan.pending)
    if staying:
        continue_ = "continues" if staying == 1 else "continue"
        notify(f"resources.gpus: auto: {counted(staying, 'trial')} that began on the CPU {continue_} there")
    largest = _largest([*(planned for planned in plan.pending if planned.began_on != CPU), *bounds])
    if not largest:
        return Shares.equal(0.0)
    notify(f"resources.gpus: auto: measuring the GPU memory of {counted(len(largest), 'shape')} of networks")
    needs = dict(zip(largest, _measured(plan, largest.values(), collector), strict=True))
    free = min(need.free for need in needs.values())
    by_shape = {}
    for shape, need in needs.items():
        cores = available.get("CPU", 0) / gpus
        peak = free + 1 if need.peak is None else need.peak
        by_shape[shape] = share(peak, free, cores, resources.cpus, len(plan.left) / gpus)
        _check(by_shape[shape], largest[shape], need, free)
    notify(f"resources.gpus: auto: {_decided(needs, by_shape, free)}")
    return Shares(by_shape, max(by_shape.values()), cpu_stays=True)


def _largest(trials: Iterable[PlannedTrial]) -> dict[str, PlannedTrial]:
    """Return, for each shape, the trial with the most images: they are held on the GPU."""
    found: dict[str, PlannedTrial] = {}
    for planned in trials:
        key = shape_of(planned)
        if key not in found or planned.images.images > found[key].images.images:
            found[key] = planned
    return found


def _measured(plan: Plan, trials: Iterable[PlannedTrial], collector: Collector | None) -> list[Need]:
    """Return the GPU memory that each trial needs, measured with a whole GPU in a process that then ends."""
    remote: Any = ray.remote(num_cpus=1, num_gpus=1, max_calls=1, max_retries=0)(measure)
    jobs = []
    for planned in trials:
        job = job_of(plan, planned, 1.0, storage=collector.uri if collector else None)
        jobs.append(replace(job, training=grown(planned.training)))
        if collector:
            collector.upload_images(job.images)
    try:
        return list(ray.get([remote.remote(job.to_config()) for job in jobs]))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", error)
        what = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        raise UserError(
            f"resources.gpus: auto: the memory of a trial could not be measured ({what});"
            " set a number, as in resources.gpus: 0.25"
        ) from None


def _check(gpus: float, planned: PlannedTrial, need: Need, free: int) -> None:
    if not gpus:
        amount = f"more than {free / GB:.1f}" if need.peak is None else f"{need.peak / GB:.1f}"
        raise UserError(
            f"resources.gpus: auto: trial {planned.trial.id} needs {amount} GB of a GPU's memory, {free / GB:.1f} GB"
            " are free; lower training.batch_size or model.feature_maps, or set resources.gpus: 0 to train on the CPU"
        )


def _decided(needs: Mapping[str, Need], by_shape: Mapping[str, float], free: int) -> str:
    """Describe how many trials share a GPU, in the order of their memory."""
    rows = sorted({(need.peak or 0, by_shape[shape]) for shape, need in needs.items()})
    parts = [f"{int(1 / gpus + 1e-9)} of {peak / GB:.1f} GB" for peak, gpus in rows]
    listed = ", ".join(parts) if len(parts) <= 6 else f"{parts[0]} to {parts[-1]}"
    return f"trials on a GPU with {free / GB:.1f} GB free, {MARGIN:.0%} of which stay so: {listed}"
