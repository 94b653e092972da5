"""Share of a GPU of each trial in a sweep: as set in the sweep file, or measured on Ray's GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from gansweep.engine.measuring import NOTHING, Measuring
from gansweep.engine.need import Need, measure, settled_memory
from gansweep.engine.question import Jobs, question_of, staying
from gansweep.errors import UserError
from gansweep.gan import gpu
from gansweep.planning.job import Job
from gansweep.planning.need_cache import KnownNeed, NeedCache
from gansweep.planning.packing import (
    Rates,
    Shares,
    choose,
    covers,
    enough,
    rate_of,
    share,
    together,
)
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.sync.collector import Collector
from gansweep.words import counted

GB = 1e9
AUTO = "resources.gpus: auto:"
ACCELERATOR = "accelerator_type:"  # prefix of Ray's resources that name the kind of a node's GPUs
Needs = Mapping[str, Sequence[Need]]  # shape → its need on each kind of GPU


@dataclass(frozen=True)
class Gpus:
    """GPUs that trials of a sweep share.

    Attributes:
        side_by_side: Whether processes on a GPU run simultaneously (NVIDIA's MPS) instead of taking turns.
        cache: Cache folder for measurements on this machine's GPUs; None if trials train on those of a cluster.
        measuring: Measurements in progress, whose results are added to the cache.
    """

    side_by_side: bool = False
    cache: Path | None = None
    measuring: Measuring = field(default=NOTHING, repr=False)


def may_share(plan: Plan) -> bool:
    """Whether the sweep may put several trials on one GPU."""
    gpus = plan.sweep.resources.gpus
    return (gpus == "auto" or 0 < gpus < 1) and len(plan.left) > 1


def shares_of(
    plan: Plan,
    bounds: Iterable[PlannedTrial],
    available: Mapping[str, float],
    notify: Callable[[str], None],
    gpus: Gpus,
    collector: Collector | None = None,
) -> Shares:
    """Return the share of a GPU of each trial.

    All GPUs of a kind are assumed to be alike. If a cluster has several kinds of GPUs, the number of trials per GPU is
    that of the kind with the smallest number.

    Args:
        plan: The plan of the sweep.
        bounds: Trials that are at least as large as any later suggestion of the search.
        available: Name of each of Ray's resources → its amount.
        notify: Called with messages for the user.
        gpus: How the GPUs are shared.
        collector: Collector of the storage, if Ray's machines do not share the home folder.

    Raises:
        UserError: A trial does not fit on a GPU of some kind, a trial cannot be measured, or no machine has as many
            GPUs as a trial needs.
    """
    resources, count = plan.sweep.resources, int(available.get("GPU", 0))
    if resources.gpus != "auto":
        _check_machines(resources.gpus)
        return Shares.equal(resources.gpus)
    if not count:
        if "gpus" in resources.model_fields_set:
            notify(f"{AUTO} there is no GPU, so trials train on the CPU")
        return Shares.equal(0.0)
    if stay := staying(plan):
        continue_ = "continues" if stay == 1 else "continue"
        notify(f"{AUTO} {counted(stay, 'trial')} that began on the CPU {continue_} there")
    asked = question_of(plan, bounds, available.get("CPU", 0), count, collector)
    if asked is None:
        return Shares.equal(0.0)
    if len(asked.jobs) < len(asked.measured_as):
        whole = f"{len(asked.jobs)} of {len(asked.measured_as)} shapes of networks"
        notify(f"{AUTO} {whole} are measured, each for smaller ones as well")
    most = asked.most
    needs = _needs(asked.jobs, most, notify, gpus)
    free = min(need.free for each in needs.values() for need in each)
    numbers = {shape: _number(each, free, most, gpus.side_by_side) for shape, each in needs.items()}
    for shape, number in numbers.items():
        _check(number, asked.largest[shape], needs[shape], free)
    for line in _decided(needs, numbers, gpus.side_by_side):
        notify(f"{AUTO} {line}")
    by_shape = {shape: share(numbers[of]) for shape, of in asked.measured_as.items()}
    return Shares(by_shape, max(by_shape.values()), cpu_stays=True)


def _needs(jobs: Jobs, most: int, notify: Callable[[str], None], gpus: Gpus) -> Needs:
    """Return the measurements of jobs: from the cache if it has them, otherwise made now and added to the cache."""
    compared = most if gpus.side_by_side else 0
    kinds = _kinds() if gpus.cache is None else [""]
    cards = gpu.visible() if gpus.cache else {}
    names = sorted(set(cards.values()))
    if len(kinds) > 1:
        notify(
            f"{AUTO} GPUs differ ({', '.join(kinds)}): each kind is measured, and the smallest number applies to all"
        )
    if len(names) > 1:
        notify(
            f"{AUTO} GPUs differ ({', '.join(names)}): one of them is measured; set resources.gpus if others have less"
        )
    store = NeedCache(gpus.cache, names[0], gpu.driver()) if gpus.cache and len(names) == 1 else None
    if gpus.measuring.count:
        notify(_measured_now(gpus.measuring.count))
        gpus.measuring.wait()
    found: dict[str, list[Need]] = {}
    if store and (known := _known(store, jobs, compared)):
        memory = settled_memory()
        free = min((memory[uuid][1] for uuid in cards if uuid in memory), default=0)
        found = {shape: [Need(one.peak, free, one.rates)] for shape, one in known.items()} if free else {}
    missing = {shape: job for shape, job in jobs.items() if shape not in found}
    if missing:
        notify(_measured_now(len(missing)))
        measured = [_measured([*missing.values()], compared, kind) for kind in kinds]
        found |= {shape: [*each] for shape, *each in zip(missing, *measured, strict=True)}
    for shape, job in missing.items():
        (need, *_) = found[shape]
        if store and need.peak is not None:
            store.write(job, shape, KnownNeed(need.peak, need.rates))
    return found


def _measured_now(count: int) -> str:
    return f"{AUTO} measuring {counted(count, 'shape')} of networks on a GPU"


def _known(store: NeedCache, jobs: Jobs, compared: int) -> dict[str, KnownNeed]:
    """Return shape → stored measurement, without shapes whose measurement does not suffice.

    It suffices if it has what is needed to compare numbers of up to `compared` simultaneous trials.
    """
    found = {shape: store.read(job, shape) for shape, job in jobs.items()}
    return {shape: one for shape, one in found.items() if one and covers(one.rates, compared)}


def _kinds() -> list[str]:
    """Return the names that Ray gives to the kinds of GPUs of the cluster; [""] if there are fewer than two kinds."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    kinds = {name.removeprefix(ACCELERATOR) for node in nodes for name in node if name.startswith(ACCELERATOR)}
    return sorted(kinds) if len(kinds) > 1 else [""]


def _check_machines(asked: float) -> None:
    """Raise UserError if no machine has as many GPUs as a trial needs. Without this check, Ray would wait for one."""
    if asked > 1 and asked > (most := max(node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"])):
        raise UserError(
            f"resources.gpus: {asked:g} per trial, but no machine of the cluster has more than {most:g};"
            " lower resources.gpus"
        )


def _measured(jobs: Sequence[Job], most: int, kind: str) -> list[Need]:
    """Measure each job on a whole GPU, in a process that then ends, and return the results in the order of the jobs.

    Args:
        jobs: The jobs.
        most: Largest number of simultaneous trials whose throughput is measured.
        kind: Kind of the GPU, as Ray names it; "" for any.

    Raises:
        UserError: A job cannot be measured.
    """
    remote: Any = ray.remote(num_cpus=1, num_gpus=1, max_calls=1, max_retries=0)(measure)
    if kind:
        remote = remote.options(accelerator_type=kind)
    try:
        return list(ray.get([remote.remote(job.to_config(), most) for job in jobs]))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", error)
        if isinstance(cause, UserError):
            raise cause from None
        what = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        raise UserError(
            f"{AUTO} a trial could not be measured ({what}); set a number, as in resources.gpus: 0.25, or"
            " resources.gpus: 0 to train on the CPU"
        ) from None


def _number(needs: Sequence[Need], free: int, most: int, side_by_side: bool) -> int:
    """Return the number of trials per GPU; 0 if not even one fits."""
    return min(
        0 if need.peak is None else choose(need.rates if side_by_side else {}, min(together(need.peak, free), most))
        for need in needs
    )


def _peak(needs: Sequence[Need]) -> int | None:
    """Return the largest peak memory on any kind of GPU, in bytes; None if a kind of GPU has too little memory."""
    peaks = [need.peak for need in needs if need.peak is not None]
    return max(peaks) if len(peaks) == len(needs) else None


def _check(number: int, planned: PlannedTrial, needs: Sequence[Need], free: int) -> None:
    if not number:
        peak = _peak(needs)
        amount = f"more than {free / GB:.1f}" if peak is None else f"{peak / GB:.1f}"
        raise UserError(
            f"{AUTO} trial {planned.trial.id} needs {amount} GB of a GPU's memory, {free / GB:.1f} GB"
            " are free; lower training.batch_size or model.feature_maps, or set resources.gpus: 0 to train on the CPU"
        )


def _decided(needs: Needs, numbers: Mapping[str, int], side_by_side: bool) -> list[str]:
    """Return lines that state how many trials share a GPU, in ascending order of the memory of a trial."""
    rows = sorted({(_peak(each) or 0, numbers[shape]): each for shape, each in needs.items()}.items())
    lines = []
    for (peak, number), (need, *others) in rows:
        trials = f"{counted(number, 'trial')} per GPU ({peak / GB:.1f} GB each)"
        if not side_by_side:
            lines.append(trials + (", which take turns" if number > 1 else ""))
        else:
            lines.append(trials + ("" if others else _rates(need.rates, number)))
    return lines


def _rates(rates: Rates, number: int) -> str:
    """Describe the total steps per second of `number` trials per GPU; "" if they were not measured.

    If more trials were measured and are hardly faster, which is why no more share a GPU, their rate is added.
    """
    if not rates:
        return ""
    rate, largest = rate_of(rates, number), max(rates)
    more = f"; {largest} would make {rates[largest]:,.0f}" if number < largest and enough(rate, rates[largest]) else ""
    return f": {rate:,.0f} steps/s together{more}"
