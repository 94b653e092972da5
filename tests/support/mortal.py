"""Training of a sweep without Ray, in a process that can be killed inside a chosen moment (chaos.py).

Processes are forked by a server that has imported what training needs, which takes seconds, and has trained nothing.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path

import chaos
from scenes import train

from gansweep.records.layout import Home

PATIENCE_S = 120
# What a process does that trains; the other moments are Ray's.
MOMENTS = ("checkpoint", "checkpointed", "journal", "journalled", "published")
HOOKED = [module for module in chaos.HOOKS if not module.startswith("gansweep.engine")]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mortal", *HOOKED, "mlflow.store.tracking.sqlalchemy_store"])


def train_apart(home: Home, file: Path, environment: Mapping[str, str], uri: str | None = None) -> int:
    """Train the unfinished trials of a sweep in a process with variables of chaos.py, and return its exit code.

    `uri`: of the store, the home's own by default.
    """
    process = CONTEXT.Process(target=_train, args=(home.path, file, dict(environment), uri))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode is not None, "does not end"
    return process.exitcode


def _train(home: Path, file: Path, environment: dict[str, str], uri: str | None) -> None:
    os.environ.update(environment)
    for module in HOOKED:
        chaos.HOOKS[module](importlib.import_module(module))
    train(Home(home), file, uri=uri)
