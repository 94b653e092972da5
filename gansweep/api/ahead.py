"""Work of a sweep that is done while something else is waited for: Ray's start, or the end of the other trials."""

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
    """Compute missing reference data while Ray starts.

    Machines of a cluster do that themselves, and those of a storage use the data of the first one.
    """
    from gansweep.engine.references import computing, wanted_by

    return computing([] if order.address or order.storage else wanted_by(plan), tell)


def measurements(order: Order, search: Search) -> AbstractContextManager[Measuring]:
    """Measure what trials need of this machine's GPU while Ray starts, unless the sweep file sets their share."""
    from gansweep.engine.measuring import NOTHING, measuring

    if order.address or search.plan.sweep.resources.gpus != "auto":
        return nullcontext(NOTHING)
    return measuring(search.plan, search.bounds(), order.home.cache)


def load_overview(board: Board, plan: Plan) -> None:
    """Import what draws the overview, in a thread, when the first trial has ended, instead of after the last one.

    It takes 1 s. A sweep that is interrupted early, or evaluates nothing, is spared it.
    """
    if any(planned.evaluation_cadence for planned in plan.left):
        threading.Thread(target=_load_overview, args=(board,), daemon=True).start()


def _load_overview(board: Board) -> None:
    while not board.done():
        time.sleep(LOOK_S)
    with suppress(Exception):  # reported when it is drawn
        import matplotlib.backends.backend_agg  # noqa: F401

        import gansweep.report.make  # noqa: F401
