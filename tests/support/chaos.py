"""Loaded into every process of a sweep under test (as sitecustomize): counts trained steps in a file of the
test's own, and kills the process inside the moments that a test asks for.

CHAOS_STEPS: file that gets one line a trained step, with the name of its sweep. CHAOS_PACE: file with the seconds that
every step takes longer; may be missing. CHAOS_ORDER: file that names a moment, and the process id of the driver where
it is to die as well; the first process to reach the moment takes the file away and dies there. CHAOS_LOG: one line a
death. CHAOS_PUBLISH_S: seconds between two attempts to publish, instead of five; may be missing. CHAOS_LAST: file for
the names of a driver's descendants when it begins to send the last records; may be missing.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

SWEEP = "CHAOS_SWEEP"  # that this process trains now; Ray copies these functions, so a variable would not do


def _ordered(moment: str) -> list[str] | None:
    """The order, if it is for this moment and nobody else took it."""
    order = Path(os.environ["CHAOS_ORDER"])
    try:
        words = order.read_text().split()
        if not words or words[0] != moment:
            return None
        order.unlink()
    except FileNotFoundError:
        return None
    return words


def _die(order: list[str] | None) -> None:
    if order is None:
        return
    with Path(os.environ["CHAOS_LOG"]).open("a") as log:
        log.write(" ".join(order) + "\n")
    for victim in order[1:]:
        os.kill(int(victim), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _training(module):
    original = module.Trainer.train_step

    pace = Path(os.environ.get("CHAOS_PACE", "/no/such/file"))

    def train_step(self):
        original(self)
        with Path(os.environ["CHAOS_STEPS"]).open("a") as steps:
            steps.write(os.environ.get(SWEEP, "") + "\n")
        if pace.exists():
            time.sleep(float(pace.read_text()))

    module.Trainer.train_step = train_step


def _checkpoint(module):
    original = module.write_atomically

    def write(path, content, *, durable=False):
        if path.parent.name != "checkpoints":  # real statistics are stored in the same way
            original(path, content, durable=durable)
            return
        if order := _ordered("checkpoint"):  # half written
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / f".{path.name}.half").write_bytes(content[: len(content) // 2])
            _die(order)
        original(path, content, durable=durable)
        _die(_ordered("checkpointed"))  # in place, older ones not yet deleted

    module.write_atomically = write


def _journal(module):
    original = module.Journal.append

    def append(self, record):
        if order := _ordered("journal"):
            self._file.write(b'{"step": 1, "ti')  # a torn line
            self._file.flush()
            _die(order)
        done = original(self, record)
        _die(_ordered("journalled"))
        return done

    module.Journal.append = append


def _sender(module):
    original = module.Sender._send_metrics

    def send(self, folder, note):
        before = note.offset
        original(self, folder, note)
        if note.offset != before:
            _die(_ordered("published"))  # sent, not yet noted: in the driver

    module.Sender._send_metrics = send


def _background(module):
    if "CHAOS_PUBLISH_S" in os.environ:
        module.PAUSE_S = float(os.environ["CHAOS_PUBLISH_S"])
        module.RETRIES_S = 3 * module.PAUSE_S
    if "CHAOS_LAST" in os.environ:
        _note_descendants(module.Background, Path(os.environ["CHAOS_LAST"]))


def _note_descendants(background, file):
    finish = background.finish

    def noting(self, *args, **options):
        import psutil

        programs = []
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error, IndexError):
                programs.append(Path(child.cmdline()[0]).name)
        file.write_text("\n".join(programs))
        return finish(self, *args, **options)

    background.finish = noting


def _trainable(module):
    original, setup = module.GanTrial.reset_config, module.GanTrial.setup

    def set_up(self, config):
        setup(self, config)
        os.environ[SWEEP] = self._job.sweep_folder.name

    def reset_config(self, config):
        _die(_ordered("handover"))
        done = original(self, config)
        _die(_ordered("handed"))
        return done

    module.GanTrial.reset_config = reset_config
    module.GanTrial.setup = set_up


def environment(root, step_s=0.0):
    """Variables of processes that load this module as sitecustomize, whose files lie in `root`, a folder.

    `step_s`: seconds that every step takes longer. A sweep that only has to be at work leaves the core to the tests.
    """
    site = root / "site"
    site.mkdir()
    (site / "sitecustomize.py").symlink_to(__file__)
    if step_s:
        (root / "pace").write_text(str(step_s))
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    names = {"STEPS": "steps", "PACE": "pace", "ORDER": "order", "LOG": "deaths"}
    return {"PYTHONPATH": path, **{f"CHAOS_{name}": str(root / file) for name, file in names.items()}}


HOOKS = {
    "gansweep.gan.training": _training,
    "gansweep.gan.checkpoint": _checkpoint,
    "gansweep.records.journal": _journal,
    "gansweep.tracking.background": _background,
    "gansweep.tracking.sender": _sender,
    "gansweep.engine.trainable": _trainable,
}


class Finder(importlib.abc.MetaPathFinder):
    """Calls a hook with each module that has one, when it has been loaded."""

    def __init__(self, hooks):
        self._hooks = hooks

    def find_spec(self, name, path=None, target=None):
        if name not in self._hooks:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            self._hooks[name](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "CHAOS_ORDER" in os.environ:
    sys.meta_path.insert(0, Finder(HOOKS))
