"""Loaded into every process of a sweep under test (as sitecustomize): GPUs are Ray's logical ones, trials train on the
CPU, and a table gives the memory that a trial needs.

CROWDING_LEAST: JSON, feature maps of G → the least share of a GPU with which a trial gets beyond step 15; the others
run out of memory. CROWDING_PROBE: JSON, feature maps of G → bytes that are measured, of 80 GB. CROWDING_LOG: file that
gets a line whenever a trial is opened or closed: which, when, the trial's id, its share of a GPU, its folder for MPS.
CROWDING_WAIT: file with a number; a trial on a GPU trains when this many were opened, or PATIENCE_S are over.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from chaos import Finder

PATIENCE_S = 10  # a process takes half as long to begin
FREE = 80 * 10**9
share = 0.0  # of the trial that this process trains


def _log(what, job):
    with Path(os.environ["CROWDING_LOG"]).open("a") as log:
        pipes = os.environ.get("CUDA_MPS_PIPE_DIRECTORY")
        log.write(json.dumps({"what": what, "at": time.time(), "id": job.id, "gpus": job.gpus, "pipes": pipes}) + "\n")


def _opened():
    return sum('"opened"' in line for line in Path(os.environ["CROWDING_LOG"]).read_text().splitlines())


def _job(module):
    import torch

    original = module.Job.open

    def open_run(self, *arguments):
        global share
        share = self.gpus
        run = original(self, *arguments)
        _log("opened", self)
        deadline, enough = time.monotonic() + PATIENCE_S, int(Path(os.environ["CROWDING_WAIT"]).read_text())
        while self.gpus and _opened() < enough and time.monotonic() < deadline:
            time.sleep(0.05)
        close = run.close

        def closed():
            _log("closed", self)
            close()

        run.close = closed
        return run

    module.Job.open = open_run
    module.Job.set_up_device = lambda job: torch.device("cpu")


def _training(module):
    import torch

    original = module.Trainer.train_step
    least = json.loads(os.environ["CROWDING_LEAST"])

    def train_step(self):
        if self.step == 15 and 0 < share < least.get(str(self.config.generator_maps), 0):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        original(self)

    module.Trainer.train_step = train_step


def _memory(module):
    peaks = json.loads(os.environ["CROWDING_PROBE"])

    def measure(config, most):
        return module.Need(peaks[str(json.loads(config["training"])["generator_maps"])], FREE)

    measure.__module__, measure.__qualname__ = module.__name__, "measure"  # Ray sends it by name
    module.measure = measure


HOOKS = {
    "gansweep.planning.job": _job,
    "gansweep.gan.training": _training,
    "gansweep.engine.need": _memory,
}


if "CROWDING_LOG" in os.environ:
    sys.meta_path.insert(0, Finder(HOOKS))
