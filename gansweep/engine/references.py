"""Reference data of evaluations, computed in a process of its own while Ray and the processes of trials start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gansweep.config import FeaturesConfig, to_plain
from gansweep.engine.ending import shielding_children
from gansweep.engine.environment import WORKERS
from gansweep.gan.data import ImageSet
from gansweep.planning.plan import Plan
from gansweep.usercode.code import Code

COMMAND = (sys.executable, "-P", "-m", "gansweep.engine.reference_process")  # -P: installed packages only


@dataclass(frozen=True)
class Wanted:
    """Reference data that trials need: one item for each pair of an image set and an embedding.

    Attributes:
        images: The image set.
        features: The embedding.
        code: The user's code, which may define the embedding.
    """

    images: ImageSet
    features: FeaturesConfig
    code: Code

    @property
    def path(self) -> Path:
        """Path of the file that holds the reference data."""
        return self.images.reference(self.features.key(self.code))


def wanted_by(plan: Plan) -> list[Wanted]:
    """Return the reference data of the trials that remain to be trained and are evaluated, each once."""
    found = (Wanted(p.images, p.features, p.training.code) for p in plan.left if p.evaluation_cadence)
    return [*{one.path: one for one in found}.values()]


@contextmanager
def computing(wanted: Sequence[Wanted], notify: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, compute missing reference data in another process.

    Trials that use these data wait for them. If the process fails, a trial computes the data itself and reports the
    error.

    Args:
        wanted: The reference data that trials need.
        notify: Called with notices for the user, from another thread.
    """
    missing = [one for one in wanted if not one.path.exists()]
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


def _send(process: subprocess.Popen[str], wanted: Sequence[Wanted]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once
        process.stdin.write(json.dumps([to_plain(one) for one in wanted]) + "\n")
        process.stdin.flush()


def _relay(process: subprocess.Popen[str], notify: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        notify(line.rstrip())
