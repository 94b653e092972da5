"""`gansweep run`."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.cli.call import Call
from gansweep.cli.settle import answers, settle
from gansweep.cli.streams import outlive_stdout
from gansweep.cli.text import at_step, say, varied
from gansweep.errors import UserError
from gansweep.gan.notes import lines
from gansweep.records import disk, lock, log, outcome
from gansweep.records.figures import figures_of
from gansweep.records.layout import Home, SweepFolder, write_atomically
from gansweep.records.writable import check_writable
from gansweep.report.words import counted, duration

if TYPE_CHECKING:
    from gansweep.records.storage import Storage
    from gansweep.schedule.board import Board, Row
    from gansweep.schedule.collector import Collector
    from gansweep.schedule.ending import Ending
    from gansweep.schedule.prepare import Plan
    from gansweep.schedule.search import Search

LAST_RECORDS_S = 60.0  # at the end of a sweep, of a tracking store that takes nothing
LAST_RECORDS_IN_A_HURRY_S = 4.0  # in all: after a signal, on a full disk
WRONG, CRASHED = 1, 4  # exit codes


@click.command()
@options.file_argument
@options.set_option
@options.home_option
@options.uri_option
@options.max_trials_option
@click.option(
    "--address",
    help="Join the Ray cluster at HOST:PORT (Ray's own port is 6379); it must share the home folder, or a --storage.",
)
@options.storage_option
@options.time_budget_option
@answers
@click.pass_obj
def run(
    call: Call,
    file: Path,
    overrides: tuple[str, ...],
    home_path: Path,
    tracking_uri: str | None,
    max_trials: int,
    address: str | None,
    storage: str | None,
    time_budget: float | None,
    answer: str | None,
) -> int:
    """Train what is missing of the sweep in FILE.

    Finished trials are skipped, interrupted ones continue from their checkpoints, new ones begin. Kill it at
    any moment and run it again.
    """
    from gansweep.gan.cores import cores
    from gansweep.plan.document import read
    from gansweep.plan.loader import sweep_of
    from gansweep.schedule.code import check_installed
    from gansweep.schedule.loopback import check_loopback
    from gansweep.schedule.prepare import check_disk, make_plan, write_trials
    from gansweep.schedule.resources import concurrency, gpus
    from gansweep.schedule.scratch import SHORT, place
    from gansweep.schedule.search import Search
    from gansweep.sweeps.provenance import record_provenance
    from gansweep.tracking import store

    outlive_stdout()
    text = read(file)
    sweep = sweep_of(text, str(file), overrides, max_trials)
    home = options.home_of(home_path)
    uri = tracking_uri or store.local_uri(home)
    store.check(uri)
    check_writable(home)
    plan = make_plan(sweep, home)
    check_disk(plan, home)
    if plan.left and address is None:
        concurrency(sweep.resources, cores(), gpus())
        check_installed()
        check_loopback()
        place(SHORT)
    shared = _storage(storage, plan.folder)
    source = plan.folder.source
    command = options.command_line(file, source)
    try:
        held = lock.acquire(plan.folder.lock, f"process {os.getpid()}: {command}", wait_s=0.5)
    except lock.Locked as other:
        raise UserError(
            f"{sweep.name} is running already ({other}); wait for it, or end it with `gansweep stop {sweep.name}`"
        ) from None
    with held, ExitStack() as stack:
        settle(home, plan.folder, uri, answer, partial(_tell, plan.folder), ask_store=False)
        collector = stack.enter_context(_collecting(shared, plan.folder))
        if collector:
            plan = make_plan(sweep, home)  # once more: now with what the storage has of it
        write_atomically(source, text.encode())
        write_trials(plan, command, overrides, str(options.lasting(file, source)))
        record_provenance(plan.folder, Path.cwd())
        search = Search(plan, home)
        search.suggest()
        if collector:
            collector.put_on_record()
        if plan.left:
            _say_images(plan)
        return _run(call, search, home, uri, address, time_budget, collector)


def _say_images(plan: Plan) -> None:
    """What of the images was converted and skipped."""
    for images in plan.image_sets:
        for line in lines(images.notes):
            _tell(plan.folder, f"images {line}")


def _storage(uri: str | None, folder: SweepFolder) -> Storage | None:
    """Raises UserError where it cannot be used, or the sweep lies in another."""
    from gansweep.records.storage import check, open_storage
    from gansweep.schedule.collector import check_belongs

    storage = open_storage(uri) if uri else None
    check_belongs(folder, storage.uri if storage else None)
    if storage:
        check(storage)
    return storage


@contextmanager
def _collecting(storage: Storage | None, folder: SweepFolder) -> Iterator[Collector | None]:
    """While this driver has the sweep in the storage: what that has of it is here by then, and keeps coming."""
    if storage is None:
        yield None
        return
    from gansweep.records.copies import of_sweep
    from gansweep.records.lease import Lease
    from gansweep.records.storage import StorageError
    from gansweep.schedule.collector import Collector

    collector = Collector(storage, folder, partial(_tell, folder))
    holder = f"{socket.gethostname()}:{folder.path}"
    try:
        with Lease(storage, f"{of_sweep(folder.name)}/driver", holder, on_loss=folder.stop.touch):
            collector.bring()
            with collector:
                yield collector
    except StorageError as error:
        raise UserError(f"--storage {storage.uri}: does not answer ({error}); run the same command again") from None


def _run(
    call: Call,
    search: Search,
    home: Home,
    uri: str,
    address: str | None,
    time_budget: float | None,
    collector: Collector | None,
) -> int:
    from gansweep.schedule.ending import Ending
    from gansweep.sweeps.provenance import provenance_of
    from gansweep.tracking import store
    from gansweep.tracking.background import Background
    from gansweep.tracking.context import tags
    from gansweep.tracking.publisher import Publisher

    plan = search.plan
    ending = Ending(plan.folder, time_budget)
    tell = partial(_tell, plan.folder)
    background = Background(Publisher(home, plan.folder, uri, tags(provenance_of(plan.folder)), tell), tell)
    with ending.catching_signals():
        if plan.left:
            background.start()
        try:  # all that is said comes before the last records, which the log is one of
            if plan.left:
                code = _report(search.plan, _train(call, search, ending, address, uri, collector), ending, uri)
            else:
                code = 0
                tell(_nothing_to_train(plan))
        except Exception as error:
            log.keep(plan.folder.log, f"ended: {error}" if isinstance(error, UserError) else f"ended: {error!r}")
            if disk.lack(error):
                ending.fail()
            raise
        finally:
            hurry = ending.signal is not None or ending.failure
            sent = background.finish(LAST_RECORDS_IN_A_HURRY_S if hurry else LAST_RECORDS_S, hurry=hurry)
        if plan.left and sent and not hurry:
            _show_overview(home, uri, plan.folder)
        if not sent:
            there = ["--tracking-uri", uri] if uri != store.local_uri(home) else []
            again = shlex.join(["gansweep", "sync", plan.sweep.name, *there])
            tell(f"not all is in the tracking store yet; `{again}` sends the rest")
    return code


def _nothing_to_train(plan: Plan) -> str:
    return f"{plan.sweep.name}: nothing to train, {_all_finished(len(plan.trials))}"


def _all_finished(count: int) -> str:
    return "its one trial is finished" if count == 1 else f"all {count:,} trials are finished"


def _tell(folder: SweepFolder, text: str) -> None:
    """On stderr, and in the sweep's log."""
    say(text)
    log.keep(folder.log, text)


def _show_overview(home: Home, uri: str, folder: SweepFolder) -> None:
    """The picture of the whole grid goes to the parent run. A sweep that is trained and sent does not fail over it."""
    from gansweep.report.make import log_overview

    try:
        log_overview(home, uri, folder.name)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        _tell(folder, f"no overview in MLflow ({what})")


def _train(
    call: Call, search: Search, ending: Ending, address: str | None, uri: str, collector: Collector | None
) -> Board:
    from gansweep.cli.views import view
    from gansweep.schedule import environment
    from gansweep.schedule.ending import leave_at_once
    from gansweep.tracking import store

    environment.set_up(joining=address is not None)
    from gansweep.schedule import runner

    link = f"MLflow: {uri}" if store.is_server(uri) else "MLflow: `gansweep ui` in another terminal"
    plan = search.plan
    tell = partial(_tell, plan.folder)
    tell(f"{plan.sweep.name}: {len(plan.left)} of {counted(plan.total, 'trial')} to train; starting Ray")
    if plan.repeated:
        tell(f"left out as repetitions of others: {plan.repeated:,}")
    call.leave = leave_at_once  # the exit handlers of Ray would wait a minute for processes that have ended
    show = partial(view, link=link, file=plan.folder.log)
    return runner.run(search, show, ending, tell, call.began, address, collector)


def _report(plan: Plan, board: Board, ending: Ending, uri: str) -> int:
    """The summary (table on stdout, what to do next on stderr) and the exit code."""
    from gansweep.cli.tables import show_trials
    from gansweep.tracking import store

    rows, tell = list(board.rows.values()), partial(_tell, plan.folder)
    show_trials(rows, plan.sweep.name)
    before = {planned.trial.id for planned in plan.trials if planned.finished}
    for text in _ends([row for row in rows if row.id not in before]):
        tell(text)
    if stopped := sum(row.outcome == "stopped" and row.id in before for row in rows):
        tell(f"{stopped} more {'was' if stopped == 1 else 'were'} stopped before; `gansweep diagnose {board.sweep}`")
    left = sum(row.outcome in ("pending", "running", "interrupted") for row in rows) + len(board.to_come)
    crashed = [row for row in rows if row.outcome == "crashed"]
    if crashed:
        tell(
            f"{counted(len(crashed), 'trial')} crashed; `gansweep show {crashed[0].id}` shows the traceback,"
            " and the same command tries again"
        )
    judged = _say_best(plan)
    if left:
        why = f" because {ending.reason}" if ending.reason else ""
        unfinished = f"{left} of {counted(board.total, 'trial')} {'is' if left == 1 else 'are'} not finished"
        tell(f"ended early{why}; {unfinished}: run the same command to continue")
    if not left and not crashed:
        took = duration(board.elapsed_s())
        shown = uri if store.is_server(uri) else "`gansweep ui`"
        tell(f"{_all_finished(len(rows))} after {took}; {shown} shows {'it' if len(rows) == 1 else 'them'}")
    if ending.signal:
        return 128 + ending.signal
    if ending.failure:
        return WRONG
    return CRASHED if crashed else 0 if judged else WRONG


def _ends(rows: Sequence[Row]) -> list[str]:
    """Why trials were stopped or crashed, each reason once."""
    ids: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reason and row.outcome in ("stopped", "crashed"):
            ids.setdefault((row.outcome, row.reason), []).append(row.id)
    return [
        f"{first}{f' and {len(others)} more' if others else ''}: {outcome}: {reason}"
        for (outcome, reason), (first, *others) in ids.items()
    ]


def _say_best(plan: Plan) -> bool:
    """Name the best trial; False where the objective matters and no run recorded it."""
    ranking, trials = plan.ranking, {plan.folder.trial(p.trial.id): p.trial for p in plan.trials}
    states = {folder: outcome.state(folder, trial.steps) for folder, trial in trials.items()}
    whole = [folder for folder, now in states.items() if now in ("completed", "stopped")]
    if whole and plan.sweep.needs_objective and not any(map(ranking.is_recorded, whole)):
        there = f"`gansweep show {whole[0].id}` lists what they have"
        _tell(plan.folder, f"search.objective.metric: no run recorded {ranking.metric}; {there}")
        return False
    ranked = ranking.ended_well(states)
    if len(trials) > 1 and ranked:
        best = next(iter(ranked))
        settings = varied(trials[best].varied, trials[best].config.seed)
        final = figures_of(best, ranking)
        value = at_step(ranking.metric, final["quality"], final["quality_step"])
        _tell(plan.folder, f"best: {best.id}, {settings}: {value}")
    return True
