"""A sweep of more trials than cores by far, as tests/benchmarks/many_trials.py measures it."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest
from service import Service, assert_tracked_once, cpu_s

from gansweep.planning.plan import make_plan, write_trials
from gansweep.records.devices import CPU, Device
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import write_json
from gansweep.records.outcome import Outcome
from gansweep.sweepfile.loader import load

pytestmark = pytest.mark.slow
TRIALS = 20


@pytest.fixture(scope="module")
def many_trials() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "many_trials.py"
    spec = importlib.util.spec_from_file_location("many_trials", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["many_trials"] = importlib.util.module_from_spec(spec)  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_each_is_the_difference_of_two_marks_over_the_trials_between(many_trials: ModuleType) -> None:
    first = many_trials.Mark(trials=200, at_s=20.0, bytes=400_000_000, main_s=2.0, other_s=5.0, ray_s=1.0)
    last = many_trials.Mark(trials=500, at_s=50.0, bytes=415_000_000, main_s=3.5, other_s=17.0, ray_s=1.9)
    assert many_trials.each(first, last) == pytest.approx(
        {"at_s": 0.1, "bytes": 50_000, "main_s": 0.005, "other_s": 0.04, "ray_s": 0.003}
    )


def test_a_sweep_of_many_trials_is_scheduled_within_the_target_and_published_whole(
    many_trials: ModuleType, service: Service
) -> None:
    marks, whole_s = many_trials.run(many_trials.sweep_file(service.root, TRIALS), service.home.path, [5, TRIALS])
    assert [mark.trials for mark in marks] == [5, TRIALS]
    assert 0 < marks[0].at_s < marks[1].at_s < whole_s
    trials = service.status(many_trials.SWEEP)
    assert [(t["outcome"], t["step"]) for t in trials] == [("completed", 1)] * TRIALS
    assert_tracked_once(service, many_trials.SWEEP)
    per_trial = many_trials.each(*marks)
    # CPU seconds here and below, not those of the clock: other work on the machine does not count.
    assert 0 < per_trial["main_s"] < 0.1


def test_commands_answer_in_two_seconds_on_two_thousand_trials(many_trials: ModuleType, service: Service) -> None:
    file = many_trials.sweep_file(service.root, 2_000)
    plan = make_plan(load(file, (), 2_000), service.home)
    write_trials(plan, "gansweep run", ())
    for planned in plan.trials:  # as if they had been trained
        folder = plan.folder.trial(planned.trial.id)
        with Journal(folder.journal) as journal:
            journal.append(Record(1, 1.7e9, {"loss_d": 1.0, "loss_g": 0.5}))
        write_json(folder.devices, {"devices": [asdict(Device(CPU, torch="2.14.1"))]})
        ended = Outcome("crashed" if planned is plan.trials[-1] else "completed", 1)
        write_json(folder.outcome, asdict(ended))
    table, every, planned_out = (
        answer(service, *words) for words in (["status", "many"], ["status", "many", "--json"], ["plan", file])
    )
    assert table.count(" completed\n") == 199
    assert plan.trials[-1].trial.id[:8] in table, "a trial that crashed is shown wherever it stands"
    assert table.endswith(
        "and 1,800 more (all with `gansweep status many --json`)\n2,000 trials: 1,999 completed, 1 crashed\n"
    )
    assert len(json.loads(every)["trials"]) == 2_000
    assert "to train  1 of 2,000 trials" in planned_out


def answer(service: Service, *words: object) -> str:
    """What a command prints, within two seconds of CPU time: one that shares its core with another test takes up to
    half as long again, so that the fastest of three calls counts."""
    for _ in range(3):
        before = cpu_s()
        out, _err = replace(service, fresh=True).call(*words, *(["--no-timing"] if words[0] == "plan" else []))
        if cpu_s() - before < 2:
            return out
    pytest.fail(f"{words}: more than two seconds in each of three calls")
