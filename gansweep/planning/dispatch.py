"""Jobs for planned trials, and their plain data for Ray Tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gansweep.config import RunConfig
from gansweep.errors import UserError
from gansweep.gan.data import evaluation_samples
from gansweep.planning import code, fid, weights
from gansweep.planning.job import Job
from gansweep.planning.packing import ON_CPU, Shares
from gansweep.planning.plan import Plan
from gansweep.planning.rungs import rungs_of
from gansweep.planning.trial import PlannedTrial


def job_of(
    plan: Plan, planned: PlannedTrial, gpus: float, pauses: Sequence[int] = (), storage: str | None = None
) -> Job:
    """Return the job of a planned trial, with absolute paths.

    Args:
        plan: The plan that the trial belongs to.
        planned: The trial.
        gpus: Share of a GPU, or number of whole GPUs; 0 for the CPU.
        pauses: Steps at which the trial waits for a decision of the scheduler.
        storage: URI of the sweep's storage; None without one.

    Raises:
        UserError: The sweep has a storage, and the trial starts from given weights.
    """
    if storage and planned.training.start.digest:
        raise UserError(
            "training.from: weights are not copied to a --storage; use a home that all machines share, or a copy of the"
            " sweep without training.from"
        )
    sweep, evaluation = plan.sweep, planned.trial.config.evaluation
    run = RunConfig(
        steps=planned.trial.steps,
        **vars(planned.cadence),
        keep=sweep.retention.checkpoints,
        evaluations=planned.evaluation_cadence,
        stop_on=sweep.stop.rules,
        flag=sweep.stop.flags,
        objective=plan.ranking.metric,
        mode=plan.ranking.mode,
        pauses=tuple(pauses),
        thresholds=sweep.thresholds.changed(),
    )
    images = replace(planned.images, file=str(Path(planned.images.file).absolute()), notes=())
    return Job(
        id=planned.trial.id,
        sweep=str(plan.folder.path.absolute()),
        training=planned.training.at(plan.folder.code.absolute()).starting_from(
            weights.file_in(plan.folder.path.absolute(), planned.training.start.digest)
        ),
        run=run,
        images=images,
        samples=evaluation_samples(images.images, evaluation.samples) if evaluation.per_run else 0,
        metrics=tuple(evaluation.metrics),
        fid=fid.config_of(sweep),
        features=planned.features,
        threads=sweep.resources.cpus,
        gpus=gpus,
        code=code.origins(),
        storage=storage,
    )


def jobs_of(
    plan: Plan, shares: Shares = ON_CPU, storage: str | None = None, trials: Sequence[PlannedTrial] | None = None
) -> list[dict[str, Any]]:
    """Return the jobs of trials as plain data.

    Args:
        plan: The plan of the sweep.
        shares: Share of a GPU of each trial.
        storage: URI of the sweep's storage; None without one.
        trials: Trials of the plan; by default the pending ones.
    """
    found = plan.pending if trials is None else trials
    return [job_of(plan, one, shares.of(one), rungs_of(plan, one), storage).to_config() for one in found]
