"""Training of a plan's pending trials on Ray Tune.

Import this module after environment.set_up has set Ray's variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.error import TuneError

from gansweep.engine.board import Board, View
from gansweep.engine.cluster import SHARED_MEMORY, cluster
from gansweep.engine.disk_monitor import DiskMonitor
from gansweep.engine.ending import Ending
from gansweep.engine.events import Events
from gansweep.engine.measuring import NOTHING, Measuring
from gansweep.engine.mps import Sharing
from gansweep.engine.nodes import check_packages
from gansweep.engine.progress import Progress
from gansweep.engine.queue import InOrder, TrialQueue
from gansweep.engine.ray_internals import actors_of
from gansweep.engine.search import Search
from gansweep.engine.shares import Gpus, may_share, shares_of
from gansweep.engine.trainable import GanTrial
from gansweep.planning.devices import check_devices
from gansweep.planning.job import Job
from gansweep.planning.resources import concurrency
from gansweep.records.scratch import SHORT, scratch
from gansweep.stopwatch import Stopwatch
from gansweep.sync.collector import Collector


class TrialOfTune(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """Trainable that is passed to Tune, which takes a trial's resources from it. The trial's process is a GanTrial."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return the request for the resources of a job. A process is reused only by jobs with equal requests."""
        code = Job.from_config(config).training.code.digest
        return Request([{"CPU": config["threads"], "GPU": config["gpus"]}], code)


class Request(tune.PlacementGroupFactory):  # type: ignore[misc]  # Ray has no types
    """Request for the resources of a trial, which also names the user's code that its process imports.

    Requests with different code are unequal, so that a process never trains a trial with other code.

    Args:
        bundles: The resources.
        code: Hash of the user's code; empty for none.
    """

    def __init__(self, bundles: list[dict[str, float]], code: str) -> None:
        super().__init__(bundles)
        self._code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self._code == other._code and bool(super().__eq__(other))

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._code))


def run(
    search: Search,
    view_of: Any,
    ending: Ending,
    notify: Callable[[str], None],
    stopwatch: Stopwatch,
    address: str | None = None,
    collector: Collector | None = None,
    under_way: Measuring = NOTHING,
) -> Board:
    """Train the pending trials and those that are suggested in the meantime.

    Args:
        search: The trials of the sweep.
        view_of: Called with the board; returns a context manager that yields a View.
        ending: Request to end the sweep early.
        notify: Called with messages for the user before there is a view.
        stopwatch: Stopwatch that began with the command.
        address: Address of a Ray cluster to join; None starts Ray on this machine, which ends with the command.
        collector: Collector of the storage, if the machines of the cluster do not share the home folder.
        under_way: Measurements of trials on this machine's GPU that are in progress.

    Returns:
        The board, after all trials have ended or the end was requested.

    Raises:
        UserError: A trial needs more resources than are available, or began on another type of device; or a node lacks
            a package that the user's code imports.
    """
    plan = search.plan
    with scratch(SHORT) as folder, cluster(folder, address, shared=may_share(plan) and not collector) as joined:
        if address:
            check_packages(search.plan)
        available = joined.available
        stopwatch.lap("start of Ray")
        if joined.mps.refused:
            notify(f"resources.gpus: trials on one GPU take turns; NVIDIA's MPS cannot be used: {joined.mps.refused}")
        shared = Gpus(joined.mps.active, None if address else search.home.cache, under_way)
        shares = shares_of(plan, search.bounds(), available, notify, shared, collector)
        check_devices(plan, shares)
        cpus, gpus = int(available.get("CPU", 0)), available.get("GPU", 0)
        fit = concurrency(plan.sweep.resources, cpus, gpus, shares.least)
        slots = plan.slots(fit)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)
        local_gpus = address is None and any(map(shares.of, plan.left))
        board = Board.of(plan, slots, stopwatch.began, local_gpus=local_gpus)
        # Called again, since Ray replaces our signal handlers when it joins a cluster.
        with ending.catching_signals(), view_of(board) as view:
            events = Events(search, shares, board, view, collector)
            stopwatch.lap("resources")
            _fit(search, events, board, view, ending, folder, stopwatch, joined.mps)
        if collector:
            collector.end_all()
    return board


def _fit(
    search: Search,
    events: Events,
    board: Board,
    view: View,
    ending: Ending,
    folder: Path,
    stopwatch: Stopwatch,
    mps: Sharing,
) -> None:
    queue = TrialQueue(events.jobs(), events)

    monitor = DiskMonitor((folder, SHARED_MEMORY), search.plan.folder.path, view.notice)

    def on_pass() -> None:
        monitor.check()
        if ending.requested():
            queue.drain()

    def on_lack(sentence: str) -> None:
        if not ending.failure:
            view.notice(sentence)
        ending.fail()

    on_pass()
    tuner = tune.Tuner(
        TrialOfTune,
        tune_config=tune.TuneConfig(
            search_alg=queue,
            scheduler=InOrder(queue),
            num_samples=-1,  # the queue reports when it is empty
            max_concurrent_trials=search.plan.sweep.resources.max_concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            verbose=0,
            callbacks=[
                Progress(
                    board, view, stopwatch, on_pass, events.stepped, on_lack, queue.started if mps.active else None
                )
            ],
            failure_config=tune.FailureConfig(max_failures=0),  # TrialQueue retries
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    with actors_of(GanTrial):
        try:
            tuner.fit()
        except TuneError as error:
            raise _origin(error) from None


def _origin(error: BaseException) -> BaseException:
    """Return the error that Tune has wrapped, such as one raised in a callback; `error` itself if it wraps none."""
    inner = error.__cause__ or error.__context__
    return _origin(inner) if isinstance(error, TuneError) and inner else error
