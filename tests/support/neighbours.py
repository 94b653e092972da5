"""Loaded into every process of a sweep under test (as sitecustomize): trials train on the CPU, and share a false GPU of
this machine under a false MPS.

NEIGHBOURS: folder. `opened` gets a line whenever a trial is opened: its id, share of a GPU, step, process and the time.
Trials train when as many were opened as TRIALS. `spoil` names a process that adds an error to its weights and takes the
file away.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from chaos import Finder

TRIALS = 3
PACE_S = 0.03  # added to each step: a few steps last as long as a doubt
PATIENCE_S = 20
PUBLISH_S = 0.2  # instead of 5 s: wrong records are in MLflow before they are withdrawn


def _resources(module):
    module.gpus = lambda: 1


def _cores(module):
    module.cores = lambda: TRIALS


def _cluster(module):
    @contextmanager
    def sharing(folder, wanted):
        yield lambda: module.Sharing(daemon="a stand-in" if wanted else "")

    module.sharing = sharing


def _job(module):
    import torch

    original = module.Job.open

    def open_run(self, *arguments):
        run = original(self, *arguments)
        line = {"id": self.id, "gpus": self.gpus, "step": run.step, "pid": os.getpid(), "at": time.time()}
        log = Path(os.environ["NEIGHBOURS"], "opened")
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        deadline = time.monotonic() + PATIENCE_S
        while len(log.read_text().splitlines()) < TRIALS and time.monotonic() < deadline:
            time.sleep(0.05)
        return run

    module.Job.open = open_run
    module.Job.set_up_device = lambda job: torch.device("cpu")


def _training(module):
    original = module.Trainer.train_step
    order = Path(os.environ["NEIGHBOURS"], "spoil")

    def train_step(self):
        original(self)
        time.sleep(PACE_S)
        if order.exists() and order.read_text() == str(os.getpid()):
            for weights in self.generator.parameters():
                weights.data += 1
            order.unlink()

    module.Trainer.train_step = train_step


def _background(module):
    module.PAUSE_S = PUBLISH_S


HOOKS = {
    "gansweep.tracking.background": _background,
    "gansweep.planning.resources": _resources,
    "gansweep.gan.cores": _cores,
    "gansweep.engine.cluster": _cluster,
    "gansweep.planning.job": _job,
    "gansweep.gan.training": _training,
}


if "NEIGHBOURS" in os.environ:
    sys.meta_path.insert(0, Finder(HOOKS))
