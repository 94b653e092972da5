"""Process of a trial, as Ray Tune sees it."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from ray import tune
from ray.tune.execution import tune_controller
from ray.tune.experiment import trial as tune_trial

from gansweep.engine.actor import Actor
from gansweep.engine.trainable import GanTrial

SLOW = ("ray.tune", "ray.train", "pandas", "torch", "mlflow", "sklearn", "scipy")


class Counter(Actor):
    """Actor that counts its steps."""

    def setup(self, config: dict[str, Any]) -> None:
        self.seen, self.steps, self.ended = [config], 0, False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.seen.append(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.steps += 1
        return {"done": self.steps == 2, "step": self.steps}

    def cleanup(self) -> None:
        self.ended = True


def test_a_process_of_a_trial_does_not_import_what_only_the_driver_needs() -> None:
    """Each import costs every process of a sweep up to two seconds; torch is imported when a run is opened."""
    code = f"import sys, gansweep.engine.trainable; print([name for name in {SLOW} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_an_actor_has_every_method_that_this_version_of_tune_calls_in_a_sweep() -> None:
    source = inspect.getsource(tune_controller) + inspect.getsource(tune_trial)
    called = set(re.findall(r'method_name="(\w+)"|method_name = "(\w+)"|tracked_actor, "(\w+)"', source))
    called |= {(name,) for name in re.findall(r"ray_actor\.(\w+)\.remote", source)}
    names = {name for found in called for name in found if name}
    assert names >= {"train", "reset", "stop", "get_auto_filled_metrics"}
    checkpoints = {"save", "restore", "export_model"}  # of Tune, which a sweep does not use
    buffered = {"train_buffered"}  # only if TUNE_RESULT_BUFFER_LENGTH is set
    assert {name for name in names - checkpoints - buffered if not hasattr(GanTrial, name)} == set()


@pytest.mark.parametrize("name", ["__init__", "train", "reset", "stop", "get_auto_filled_metrics"])
def test_its_methods_take_the_arguments_of_a_trainable(name: str) -> None:
    theirs, ours = (inspect.signature(getattr(kind, name)) for kind in (tune.Trainable, Actor))
    never = {"now", "time_this_iter", "timestamp"}  # arguments that Tune does not give
    assert ours.bind(**dict.fromkeys({*theirs.parameters} - never)).arguments


def test_results_have_what_tune_requires_of_them() -> None:
    actor = Counter({"id": "a", "__trial_info__": None, "__stdout_file__": None}, storage=None, logger_creator=None)
    first, second = actor.train(), actor.train()
    assert (first["step"], first["done"], first["training_iteration"]) == (1, False, 1)
    assert (second["step"], second["done"], second["training_iteration"]) == (2, True, 2)
    assert first["pid"] == os.getpid()
    assert first["timestamp"] == pytest.approx(time.time(), abs=5)
    assert 0 <= first["time_this_iter_s"] <= first["time_total_s"] <= second["time_total_s"]
    assert actor.reset({"id": "b", "__trial_info__": None}, storage=None, logger_creator=None) is True
    assert actor.seen == [{"id": "a"}, {"id": "b"}]
    assert actor.train()["training_iteration"] == 1
    actor.stop()
    assert actor.ended
