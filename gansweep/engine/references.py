"""Reference data of evaluations, computed in a process of its own while Ray and the processes of trials start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from gansweep.config import to_plain
from gansweep.engine.ending import shielding_children
from gansweep.engine.environment import WORKERS
from gansweep.gan.data import ImageSet
from gansweep.planning.plan import Plan

COMMAND = (sys.executable, "-P", "-m", "gansweep.engine.reference_process")  # -P: installed packages only


def evaluated_on(plan: Plan) -> list[ImageSet]:
    """Return the image sets of the trials that remain to be trained and are evaluated."""
    return [*{p.images.fingerprint: p.images for p in plan.left if p.evaluation_cadence}.values()]


@contextmanager
def computing(sets: Sequence[ImageSet], notify: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, compute the reference data of image sets, if they are missing.

    Trials that need them wait for them. If the process fails, a trial computes them again and reports the error.

    Args:
        sets: The image sets.
        notify: Called with notices for the user, in a thread.
    """
    missing = [images for images in sets if not images.reference.exists()]
    if not missing:
        yield
        return
    with shielding_children():
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **WORKERS, "OMP_NUM_THREADS": "1"},  # as in the process of a trial
        )
    relay = threading.Thread(target=_relay, args=(process, notify), daemon=True)
    relay.start()
    try:
        _send(process, missing)
        yield
    finally:
        process.kill()
        process.wait()
        relay.join()


def _send(process: subprocess.Popen[str], sets: Sequence[ImageSet]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once
        process.stdin.write(json.dumps([to_plain(images) for images in sets]) + "\n")
        process.stdin.flush()


def _relay(process: subprocess.Popen[str], notify: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        notify(line.rstrip())
