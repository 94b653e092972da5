"""Runs the pending trials of a plan on Ray Tune. Imported after schedule/environment.py has set Ray's variables."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import ray
from ray import tune
from ray._private import services
from ray.tune.execution import class_cache

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.records import outcome
from gansweep.records.layout import write_atomically
from gansweep.records.outcome import Outcome
from gansweep.schedule.asha import Halving, rungs_of
from gansweep.schedule.board import Board
from gansweep.schedule.collector import Collector
from gansweep.schedule.ending import Ending, kill_descendants, shielding_children
from gansweep.schedule.job import job_of
from gansweep.schedule.packing import ON_CPU, Shares
from gansweep.schedule.planned import Planned
from gansweep.schedule.prepare import Plan
from gansweep.schedule.progress import Progress, View
from gansweep.schedule.resources import concurrency, cores, gpus
from gansweep.schedule.scratch import scratch
from gansweep.schedule.search import Search
from gansweep.schedule.searcher import TrialQueue
from gansweep.schedule.shares import shares_of
from gansweep.schedule.trainable import GanTrial

OBJECT_STORE_BYTES = 80 * 2**20  # nothing of size goes through it; containers have a /dev/shm of 64 MB
KNOCK_S = 5


def run(
    search: Search,
    view_of: Any,
    ending: Ending,
    say: Callable[[str], None],
    address: str | None = None,
    collector: Collector | None = None,
) -> Board:
    """Train what is pending, and what is suggested meanwhile; returns the board when all trials have ended or the end
    was requested.

    view_of: called with the board, a context manager that gives a View. say: takes sentences before there is one.
    address: of a Ray cluster to join; None starts Ray on this machine and ends it again. collector: of the storage,
    where its machines do not share the home folder.
    Raises UserError where a trial asks for more than there is.
    """
    plan, began = search.plan, time.monotonic() - _age_s()
    with scratch() as folder, _cluster(folder, address) as available:
        shares = shares_of(plan, search.bounds(), available, say, collector)
        cpus, gpus = int(available.get("CPU", 0)), available.get("GPU", 0)
        fit = concurrency(plan.sweep.resources, cpus, gpus, shares.least)
        slots = plan.slots(fit)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)
        board = Board.of(plan, slots, began)
        # Again: joining a cluster, Ray puts a handler of its own over ours.
        with ending.catching_signals(), view_of(board) as view:
            _fit(search, shares, board, view, ending, folder, collector)
    return board


def _age_s() -> float:
    """Of this process: what the command took before it came here counts as well."""
    return time.time() - psutil.Process().create_time()


def jobs(plan: Plan, shares: Shares = ON_CPU, storage: str | None = None) -> list[dict[str, Any]]:
    """What crosses to trial processes: schedule.job.Job as Tune takes it. storage: its URI."""
    return [_job(plan, planned, shares, storage) for planned in plan.pending]


def _fit(
    search: Search,
    shares: Shares,
    board: Board,
    view: View,
    ending: Ending,
    folder: Path,
    collector: Collector | None,
) -> None:
    plan = search.plan
    halving = Halving(plan)
    storage = collector.uri if collector else None

    def begun(job: dict[str, Any]) -> None:
        if collector:
            collector.begin(job["id"], ImageSet(**job["images"]))

    def died(job: dict[str, Any], deaths: int) -> None:
        if collector:
            collector.end(job["id"])
        folder = plan.folder.trial(job["id"])
        if folder.stop.exists() and folder.stop.read_text():
            folder.stop.unlink()  # decided anew when it is at the rung again
        outcome.count_death(folder)
        view.notice(f"{job['id']}: its process died ({deaths}×); it continues from its checkpoint")

    def given_up(job: dict[str, Any], deaths: int) -> None:
        folder, row = plan.folder.trial(job["id"]), board.rows[job["id"]]
        ended = Outcome("crashed", row.step, f"its process died {deaths} times")
        outcome.write(folder, ended)
        row.outcome, row.reason = ended.kind, ended.reason
        view.changed(row)

    def ended(job: dict[str, Any]) -> list[dict[str, Any]]:
        if collector:
            collector.end(job["id"])
        new = search.ended(job["id"])
        for planned in new:
            board.add(planned)
            halving.add(planned)
        if new and collector:
            collector.put_on_record()
        return [_job(plan, planned, shares, storage) for planned in new]

    def crowded(job: dict[str, Any]) -> None:
        if collector:
            collector.end(job["id"])
        view.notice(f"{job['id']}: out of GPU memory; it continues with fewer neighbours ({job['gpus']:.2g} of a GPU)")

    queue = TrialQueue(jobs(plan, shares, storage), begun, died, given_up, ended, crowded)

    def on_step(trial_id: str, step: int) -> None:
        if collector and halving.at_rung(trial_id, step):
            collector.bring_records(trial_id)
        if halving.ends(trial_id, step):
            write_atomically(plan.folder.trial(trial_id).stop, b"asha")
            if collector:
                collector.ask_to_stop(trial_id)

    def on_pass() -> None:
        if ending.requested():
            queue.drain()

    on_pass()
    resources = plan.sweep.resources
    tuner = tune.Tuner(
        GanTrial,
        tune_config=tune.TuneConfig(
            search_alg=queue,
            num_samples=-1,  # the queue says when it is empty
            max_concurrent_trials=resources.max_concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            verbose=0,
            callbacks=[Progress(board, view, on_pass, on_step)],
            failure_config=tune.FailureConfig(max_failures=0),  # TrialQueue retries
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    # Tune would hand the driver's S3 keys to its actors, in a form that Ray logs on every node; nodes have their own.
    with patch.object(class_cache, "ENV_VARS_TO_PROPAGATE", (), create=True):
        tuner.fit()


def _job(plan: Plan, planned: Planned, shares: Shares, storage: str | None) -> dict[str, Any]:
    return job_of(plan, planned, shares.of(planned), rungs_of(plan, planned), storage).to_config()


@contextmanager
def _cluster(folder: Path, address: str | None) -> Iterator[dict[str, float]]:
    """Ray, joined or begun; gives the resources that there are."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address:
        try:
            _knock(address)
            ray.init(address=address, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"--address {address}: no Ray cluster answers ({str(error).splitlines()[0]})") from None
        try:
            yield ray.cluster_resources()
        finally:
            ray.shutdown()
        return
    here = {"CPU": float(cores()), "GPU": float(gpus())}
    with shielding_children(), _plain_interpreter(folder), _on_loopback():
        ray.init(
            num_cpus=int(here["CPU"]),
            num_gpus=int(here["GPU"]),
            include_dashboard=False,
            _node_ip_address="127.0.0.1",  # see _on_loopback
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder / "ray"),
            **quiet,
        )
    _end_log_monitor()
    try:
        yield here
    finally:
        # Every trial has ended; ray.shutdown would take 5 s more. The command leaves by leave_at_once, as
        # Ray's own exit handler would wait as well.
        kill_descendants()


@contextmanager
def _plain_interpreter(folder: Path) -> Iterator[None]:
    """Ray begins its workers through a shell and leaves the interpreter's path unquoted: one with a space in it is
    reached through a link to its environment."""
    whole = sys.executable
    if shlex.quote(whole) != whole:
        environment, below = Path(whole).parents[1], Path(whole).parts[-2:]
        (folder / "environment").symlink_to(environment)
        sys.executable = str((folder / "environment").joinpath(*below))
    try:
        yield
    finally:
        sys.executable = whole


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray's ports listen on loopback alone where the node's address is 127.0.0.1, and on all interfaces otherwise; but
    ray.init takes the machine's own address where it is given that one."""
    with patch.object(services, "resolve_ip_for_localhost", lambda host: host, create=True):
        yield


def _end_log_monitor() -> None:
    """Ray's process that sends what trials print to the driver: we asked for none of it, and it polls on."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(word.endswith("log_monitor.py") for word in process.cmdline()):
                process.kill()


def _knock(address: str) -> None:
    """Raises OSError where nothing listens at host:port (Ray itself would try for minutes)."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_S).close()
