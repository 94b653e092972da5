"""Training of the unfinished trials of a sweep: reading the sweep file, training, and sending the records.

The caller provides a `Presenter`, which shows progress and settles questions that only the user can answer.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gansweep.api import ahead
from gansweep.api.holding import collecting, driving
from gansweep.errors import UserError
from gansweep.gan.notes import lines
from gansweep.records import disk, log
from gansweep.records.layout import Home, SweepFolder, write_atomically
from gansweep.records.writable import check_writable
from gansweep.stopwatch import Stopwatch
from gansweep.words import counted

if TYPE_CHECKING:
    from gansweep.engine.board import Board, View
    from gansweep.engine.ending import Ending
    from gansweep.engine.search import Search
    from gansweep.planning.plan import Plan
    from gansweep.sync.collector import Collector
    from gansweep.sync.storage import Storage
    from gansweep.tracking.background import Background

LAST_RECORDS_S = 60.0  # at the end of a sweep, while the tracking store accepts no records
LAST_RECORDS_IN_A_HURRY_S = 4.0  # in total, after a signal or on a full disk


@dataclass(frozen=True)
class Order:
    """Request to train a sweep, with its options.

    Args:
        text: Content of the sweep file.
        file: Name of the sweep file in messages.
        named: Called with the path of the copy of the sweep file in the sweep's folder. Returns the command to record,
            and the path of the sweep file, both in a form that still works later.
        home: The home folder.
        overrides: Texts KEY=VALUE, each of which replaces a key of the sweep file.
        uri: URI of the tracking store; None for the home's own store.
        max_trials: Maximum number of trials; larger sweeps are refused.
        address: HOST:PORT of a Ray cluster to join; None to start Ray on this machine.
        storage: URI of the storage of the sweep's files, if machines do not share the home; None for no storage.
        time_budget_s: Seconds after which the sweep is stopped gracefully; None for no limit.
        stopwatch: Stopwatch that was started with the command.
    """

    text: str
    file: str
    named: Callable[[Path], tuple[str, str]]
    home: Home
    overrides: Sequence[str] = ()
    uri: str | None = None
    max_trials: int = 10_000
    address: str | None = None
    storage: str | None = None
    time_budget_s: float | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


class Presenter(Protocol):
    """Interface to the user. `tell` may be called in any thread, the other methods in the driver's main thread only."""

    def tell(self, text: str) -> None:
        """Show a message. The caller writes it to the sweep's log."""

    def settle(self, folder: SweepFolder, uri: str, tell: Callable[[str], None]) -> None:
        """Check that a folder may write the records of its sweep. Raises UserError if it may not.

        Args:
            folder: Folder of the sweep.
            uri: URI of the tracking store.
            tell: Function that shows a message and writes it to the sweep's log.
        """

    def starting(self) -> None:
        """Prepare this process for Ray, which is started next."""

    def view(self, board: Board, uri: str, log: Path) -> AbstractContextManager[View]:
        """Return the view that shows the board while trials run.

        Args:
            board: State of all trials.
            uri: URI of the tracking store.
            log: Path of the sweep's log, to which the view writes events.
        """

    def ended(self, ended: Ended, tell: Callable[[str], None]) -> None:
        """Show the result of the sweep. Called before the last records are sent to the tracking store.

        Args:
            ended: The result.
            tell: Function that shows a message and writes it to the sweep's log.
        """


@dataclass(frozen=True)
class Ended:
    """Result of training a sweep.

    Args:
        plan: Plan of the sweep, including the trials that a search has suggested while it ran.
        board: Final state of every trial; None if there was nothing to train.
        ending: Whether and why the sweep was ended early; None if there was nothing to train.
        uri: URI of the tracking store.
    """

    plan: Plan
    board: Board | None
    ending: Ending | None
    uri: str


def train(order: Order, presenter: Presenter) -> Ended:
    """Train the unfinished trials of a sweep, and send its records to the tracking store.

    Raises:
        UserError: The sweep file or the data are invalid, or the machine or a store cannot be used.
    """
    from gansweep.engine.loopback import check_loopback
    from gansweep.engine.search import Search
    from gansweep.gan.cores import cores
    from gansweep.planning.code import check_installed
    from gansweep.planning.devices import check_devices
    from gansweep.planning.packing import Shares
    from gansweep.planning.plan import check_disk, make_plan, write_trials
    from gansweep.planning.resources import concurrency, gpus
    from gansweep.records.scratch import SHORT, place
    from gansweep.sweepfile.loader import sweep_of
    from gansweep.sweeps.provenance import record_provenance
    from gansweep.tracking import store

    home, stopwatch = order.home, order.stopwatch
    stopwatch.lap("imports")
    sweep = sweep_of(order.text, order.file, tuple(order.overrides), order.max_trials)
    uri = order.uri or store.local_uri(home)
    store.check(uri)
    check_writable(home)
    stopwatch.lap("sweep file")
    plan = make_plan(sweep, home)
    stopwatch.lap("plan and images")
    check_disk(plan, home)
    if plan.left and order.address is None:
        there = gpus()
        concurrency(sweep.resources, cores(), there)
        check_devices(plan, Shares.expected(sweep.resources, there))
        check_installed()
        check_loopback()
        place(SHORT)
    shared = _storage(order.storage, plan.folder)
    command, file = order.named(plan.folder.source)
    tell = partial(_tell, presenter, plan.folder)
    with driving(plan.folder, command), ExitStack() as stack:
        presenter.settle(plan.folder, uri, tell)
        collector = stack.enter_context(collecting(shared, plan.folder, tell))
        if collector:
            plan = make_plan(sweep, home)  # again, with the files from the storage
        write_atomically(plan.folder.source, order.text.encode())
        write_trials(plan, command, order.overrides, file)
        record_provenance(plan.folder, Path.cwd())
        search = Search(plan, home)
        search.suggest()
        if collector:
            collector.upload_plan()
        if plan.left:
            for images in plan.image_sets:  # converted and skipped images
                for line in lines(images.notes):
                    tell(f"images {line}")
        stopwatch.lap("checks and documents")
        return _recorded(order, presenter, search, uri, collector, tell)


def _storage(uri: str | None, folder: SweepFolder) -> Storage | None:
    """Open and check the storage at a URI; return None without a URI.

    Raises:
        UserError: The storage cannot be used, or the sweep is in another storage than the given one or none.
    """
    from gansweep.sync.collector import check_belongs
    from gansweep.sync.storage import check, open_storage

    storage = open_storage(uri) if uri else None
    check_belongs(folder, storage.uri if storage else None)
    if storage:
        check(storage)
    return storage


def _recorded(
    order: Order,
    presenter: Presenter,
    search: Search,
    uri: str,
    collector: Collector | None,
    tell: Callable[[str], None],
) -> Ended:
    """Train the trials, while a background thread sends records to the tracking store, and return the result."""
    from gansweep.engine.ending import Ending
    from gansweep.sweeps.provenance import provenance_of
    from gansweep.tracking import store
    from gansweep.tracking.background import Background
    from gansweep.tracking.context import tags
    from gansweep.tracking.publisher import Publisher

    plan, home = search.plan, order.home
    ending = Ending(plan.folder, order.time_budget_s)
    background = Background(Publisher(home, plan.folder, uri, tags(provenance_of(plan.folder)), tell), tell)
    with ending.catching_signals():
        try:  # messages precede the last records, since the log is one of them
            if plan.left:
                with ahead.references(order, plan, tell):
                    board = _train(order, presenter, search, ending, background, uri, collector, tell)
                found = Ended(search.plan, board, ending, uri)
            else:
                found = Ended(plan, None, None, uri)
            presenter.ended(found, tell)
        except Exception as error:
            log.keep(plan.folder.log, f"ended: {error}" if isinstance(error, UserError) else f"ended: {error!r}")
            if disk.lack(error):
                ending.fail()
            raise
        finally:
            hurry = ending.signal is not None or ending.failure
            sent = background.finish(LAST_RECORDS_IN_A_HURRY_S if hurry else LAST_RECORDS_S, hurry=hurry)
        if plan.left and sent and not hurry and any(map(plan.ranking.is_recorded, plan.folder.planned())):
            _show_overview(home, uri, plan.folder, tell)
        if not sent:
            there = ["--tracking-uri", uri] if uri != store.local_uri(home) else []
            again = shlex.join(["gansweep", "sync", plan.sweep.name, *there])
            tell(f"the tracking store is not up to date; `{again}` sends the remaining records")
    return found


def _tell(presenter: Presenter, folder: SweepFolder, text: str) -> None:
    """Show a message and write it to the sweep's log."""
    presenter.tell(text)
    log.keep(folder.log, text)


def _show_overview(home: Home, uri: str, folder: SweepFolder, tell: Callable[[str], None]) -> None:
    """Add the overview picture to the parent run in MLflow. An error is reported and does not fail the sweep."""
    from gansweep.report.make import log_overview

    try:
        log_overview(home, uri, folder.name)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        tell(f"the overview could not be added to MLflow ({what})")


def _train(
    order: Order,
    presenter: Presenter,
    search: Search,
    ending: Ending,
    background: Background,
    uri: str,
    collector: Collector | None,
    tell: Callable[[str], None],
) -> Board:
    from gansweep.engine import environment

    environment.set_up(joining=order.address is not None)
    plan = search.plan
    with ahead.measurements(order, search) as under_way:
        from gansweep.engine import runner

        order.stopwatch.lap("imports of Ray")
        tell(f"{plan.sweep.name}: {len(plan.left)} of {counted(plan.total, 'trial')} to train; starting Ray")
        if plan.repeated:
            tell(f"{plan.repeated:,} left out as duplicates")
        for sentence in plan.sweep.thresholds.sentences:
            tell(sentence)
        presenter.starting()
        background.start()  # after the imports of Ray: both would take turns for one core, and Ray's start mostly waits

        def view_of(board: Board) -> AbstractContextManager[View]:
            ahead.load_overview(board, plan)
            return presenter.view(board, uri, plan.folder.log)

        return runner.run(
            search,
            view_of,
            ending,
            tell,
            order.stopwatch,
            order.address,
            collector,
            under_way,
        )
