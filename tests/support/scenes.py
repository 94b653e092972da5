"""Homes that tests look at: images decoded and networks that judge them trained once, sweeps trained without Ray.

What only sets a scene need not start a cluster: `gansweep run` takes ten seconds to begin.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from bench import empty_home

from gansweep.gan import intact
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.features import small_classifier
from gansweep.gan.reader import Source
from gansweep.gan.reference import reference_of
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import make_plan, write_trials
from gansweep.records import lock
from gansweep.records.layout import Home, SweepFolder
from gansweep.report.make import log_overview
from gansweep.sweepfile.loader import load
from gansweep.sweeps.provenance import provenance_of, record_provenance
from gansweep.tracking import store
from gansweep.tracking.context import tags
from gansweep.tracking.publisher import Publisher


@cache
def digits(side: int) -> ImageSet:
    """Return the digits of that many pixels a side, decoded, with what judges samples of them.

    All processes of a test run share the files (tests/conftest.py).
    """
    assert intact.STEPS > 3, "judge_at_once would last for all tests"
    images = prepare(Source("digits", side), Path(os.environ["GANSWEEP_TEST_CACHE"], str(side)))
    reference_of(images)
    return images


def judge_at_once(patch: pytest.MonkeyPatch) -> None:
    """Train the networks that judge samples for a moment only: they know nothing."""
    patch.setattr(small_classifier, "STEPS", 3)
    patch.setattr(small_classifier, "IMAGES_A_STEP", 10**9)
    patch.setattr(intact, "STEPS", 3)


def prepare_digits(home: Home, side: int = 16) -> None:
    """Fill the cache of a home without one."""
    shutil.copytree(Path(digits(side).file).parent, home.cache)


def warm_home(path: Path, side: int = 16) -> Home:
    """A home without sweeps whose store has its tables and whose digits are ready, as after a first run."""
    home = empty_home(path)
    prepare_digits(home, side)
    return home


def train(home: Home, file: Path, *overrides: str, uri: str | None = None) -> SweepFolder:
    """Train a sweep to its end in this process, one trial after the other, and publish it, as `gansweep run` does.

    `uri`: of the store, the home's own by default.
    """
    uri = uri or store.local_uri(home)
    plan = make_plan(load(file, overrides), home)
    plan.folder.lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.acquire(plan.folder.lock):
        plan.folder.source.write_bytes(file.read_bytes())
        write_trials(plan, f"gansweep run {file}", overrides, str(file))
        record_provenance(plan.folder, file.parent)
        publisher = Publisher(home, plan.folder, uri, tags(provenance_of(plan.folder)))
        publisher.publish(running=True)  # the parent run begins before its trials
        for config in jobs_of(plan):
            run = Job.from_config(config).open()
            while run.advance(60) is None:
                pass
            run.close()
            publisher.publish(running=True)
        publisher.publish(running=False)
    log_overview(home, uri, plan.sweep.name)
    return plan.folder
