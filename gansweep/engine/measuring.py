"""Measurement of the memory and throughput of trials on this machine's GPU, in other processes while Ray starts.

Does not load Ray.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gansweep.engine.ending import shielding_children
from gansweep.engine.mps import CONTROL
from gansweep.engine.question import question_of
from gansweep.gan import gpu
from gansweep.gan.cores import cores
from gansweep.planning.need_cache import NeedCache
from gansweep.planning.packing import covers
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial

COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "gansweep.engine.measure_process")


class Measuring:
    """Measurements in progress. A thread makes one after another.

    Args:
        orders: Arguments of `carry_out`, one for each measurement.

    Attributes:
        count: Number of shapes of networks that are measured.
    """

    def __init__(self, orders: list[dict[str, Any]]) -> None:
        self.count = len(orders)
        self._orders = orders
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._measure, name="measuring", daemon=True)

    def start(self) -> None:
        """Start measuring. The processes that measure do not receive signals that end the sweep."""
        with shielding_children():
            self._thread.start()

    def wait(self) -> None:
        """Wait until all measurements have ended. The result of one that failed is missing in the cache."""
        if self._thread.ident is not None:
            self._thread.join()

    def end(self) -> None:
        """Kill the process of the current measurement, and skip the remaining measurements."""
        with self._lock:
            self._ended = True
            if self._process:
                self._process.kill()
        self.wait()

    def _measure(self) -> None:
        """Measure one job after another, each in a new process, so that the memory of its CUDA context is included."""
        for order in self._orders:
            with self._lock:
                if self._ended:
                    return
                self._process = process = subprocess.Popen(
                    COMMAND, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
                )
            process.communicate(json.dumps(order))


NOTHING = Measuring([])


@contextmanager
def measuring(plan: Plan, bounds: Iterable[PlannedTrial], cache: Path) -> Iterator[Measuring]:
    """While the block runs, measure the trials of a plan whose measurement the cache lacks, and add it to the cache.

    Nothing is measured if this machine's GPUs differ. Nor is anything measured if the GPUs' compute mode admits one
    process only, since that process must first become a client of MPS.

    Args:
        plan: The plan of the sweep.
        bounds: Trials that are at least as large as any later suggestion of the search.
        cache: Cache folder of the home.

    Yields:
        The measurements in progress.
    """
    under_way = Measuring(_orders(plan, bounds, cache))
    if under_way.count:
        under_way.start()
    try:
        yield under_way
    finally:
        under_way.end()


def _orders(plan: Plan, bounds: Iterable[PlannedTrial], cache: Path) -> list[dict[str, Any]]:
    """Return an argument of `carry_out` for each measurement to make; [] if there is none."""
    cards = gpu.visible()
    if len({*cards.values()}) != 1 or not gpu.admits_many():
        return []
    question = question_of(plan, bounds, cores(), len(cards))
    if question is None:
        return []
    most = question.most if shutil.which(CONTROL) else 0  # without MPS trials take turns
    card, driver = next(iter(cards.values())), gpu.driver()
    store = NeedCache(cache, card, driver)
    return [
        {"job": job.to_config(), "shape": shape, "most": most, "cache": str(cache), "card": card, "driver": driver}
        for shape, job in question.jobs.items()
        if (known := store.read(job, shape)) is None or not covers(known.rates, most)
    ]


def carry_out(order: Mapping[str, Any]) -> None:
    """Measure a job and store the result in the cache, unless the GPU is too small for the job.

    Args:
        order: Item of the list that `_orders` returns.
    """
    from gansweep.engine.need import measure
    from gansweep.planning.job import Job
    from gansweep.planning.need_cache import KnownNeed

    need = measure(order["job"], order["most"])
    if need.peak is not None:
        store = NeedCache(Path(order["cache"]), order["card"], order["driver"])
        store.write(Job.from_config(order["job"]), order["shape"], KnownNeed(need.peak, need.rates))
