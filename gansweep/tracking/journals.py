"""Copies of journals among the artifacts of runs: a trial that has ended is read from its own in one reply.

A server's ORM takes 26 µs for a point, so what it has of two million takes a minute; a thousand files, seconds. A tag
of the run vouches for the copy. It is empty from the moment that the trial is known to go on until it has ended again
and a new copy lies there. Who reads does not rely on that alone: the copy must end with the metrics that the run has.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from gansweep.health.history import LARGEST
from gansweep.records.journal import Record
from gansweep.sweeps.points import Points, Wanted, of_records
from gansweep.tracking import artifacts
from gansweep.tracking.limits import metric_key

if TYPE_CHECKING:
    from mlflow.entities import Run

NAME = "journal.jsonl.gz"
TAG = "gansweep.journal"  # the digest of what the copy holds; empty where none is to be read
ENDED = ("completed", "stopped", "crashed")  # outcomes that have a copy
THREADS = 4  # two million points of a server with one worker: 14 s with 1 or 2, 12 with 4 or 8, on two cores


def pack(journal: bytes) -> bytes:
    """The copy's content, the same at every try."""
    return gzip.compress(journal, mtime=0)


def digest(journal: bytes) -> str:
    """What a run's tag says of its copy."""
    return hashlib.sha256(journal).hexdigest()


def read(uri: str, runs: Sequence[Run], wanted: Wanted) -> dict[str, dict[str, Points]]:
    """Run id → name → the metrics that are wanted, by name, of those runs whose copy is there and vouched for.

    Just what `bulk.read` finds. Runs are left out where a copy cannot be read, for whatever reason.
    """
    vouched = [run for run in runs if run.data.tags.get(TAG)]
    found: dict[str, dict[str, Points]] = {}
    for run, journal in zip(vouched, _copies(uri, vouched), strict=False):
        if digest(journal) == run.data.tags[TAG]:
            points = points_of(journal, wanted)
            if _ends_with(points, {name: value for name, value in run.data.metrics.items() if wanted(name)}):
                found[run.info.run_id] = points
    return found


def _copies(uri: str, runs: Sequence[Run]) -> Iterator[bytes]:
    """The first error ends it: where artifacts are out of reach, as a cloud's without its keys, all of them are."""
    with ThreadPoolExecutor(THREADS) as pool, suppress(Exception):  # each kind of repository has its own
        yield from pool.map(lambda run: _copy(uri, run), runs)


def _copy(uri: str, run: Run) -> bytes:
    """Empty for one that is missing or damaged."""
    return _unpack(artifacts.content(artifacts.repository(uri, run.info.artifact_uri), NAME))


def is_intact(copy: bytes | None, vouched: str) -> bool:
    """Return whether a copy (None for a missing one) holds what its tag says."""
    return copy is not None and digest(_unpack(copy)) == vouched


def _unpack(copy: bytes | None) -> bytes:
    """Empty for one that is missing or damaged."""
    try:
        return gzip.decompress(copy or b"")
    except (OSError, EOFError, zlib.error):
        return b""


def points_of(journal: bytes, wanted: Wanted) -> dict[str, Points]:
    """Return the metrics of a journal that are wanted, by the key that the store has for them."""
    records = (Record(**json.loads(line)) for line in journal.splitlines())
    found = {metric_key(name): points for name, points in of_records(records, wanted).items()}
    return {key: found[key] for key in sorted(found)}


def _ends_with(found: Mapping[str, Points], latest: Mapping[str, float]) -> bool:
    """Whether these are the last values that the store has of each metric, in digits that every database keeps."""
    names = sorted(latest)
    if names != [*found]:
        return False
    mine = np.array([found[name].values[-1] for name in names])
    there = np.array([latest[name] for name in names])
    there[np.abs(there) >= LARGEST] *= np.inf
    return np.allclose(mine, there, rtol=1e-9, atol=0, equal_nan=True)
