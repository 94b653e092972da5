"""Work that a sweep does in the background, while Ray starts or while trials run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gansweep.api.training import Order
    from gansweep.engine.board import Board
    from gansweep.engine.measuring import Measuring
    from gansweep.engine.search import Search
    from gansweep.planning.plan import Plan

LOOK_S = 0.5  # between two looks whether a trial has ended


def references(order: Order, plan: Plan, tell: Callable[[str], None]) -> AbstractContextManager[None]:
    """Compute missing reference data of evaluations in the background while the block runs.

    Nothing is computed for a sweep on a cluster or with a storage: there the machines that train compute the data. With
    a storage, all machines use the data of the first machine.
    """
    from gansweep.engine.references import computing, wanted_by

    return computing([] if order.address or order.storage else wanted_by(plan), tell)


def measurements(order: Order, search: Search) -> AbstractContextManager[Measuring]:
    """Measure, while the block runs, how much of this machine's GPU a trial needs.

    Nothing is measured if the sweep joins a cluster or its file sets `resources.gpus`.
    """
    from gansweep.engine.measuring import NOTHING, measuring

    if order.address or search.plan.sweep.resources.gpus != "auto":
        return nullcontext(NOTHING)
    return measuring(search.plan, search.bounds(), order.home.cache)


def load_overview(board: Board, plan: Plan) -> None:
    """Start a thread that imports the libraries for the overview picture as soon as a trial has ended.

    The imports take 1 s, which would otherwise delay the end of the sweep. No thread is started if no trial is
    evaluated.
    """
    if any(planned.evaluation_cadence for planned in plan.left):
        threading.Thread(target=_load_overview, args=(board,), daemon=True).start()


def _load_overview(board: Board) -> None:
    while not board.done():
        time.sleep(LOOK_S)
    with suppress(Exception):  # reported when it is drawn
        import matplotlib.backends.backend_agg  # noqa: F401

        import gansweep.report.make  # noqa: F401
