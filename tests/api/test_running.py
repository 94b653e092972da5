"""Sweeps trained from Python: `run_sweep`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scenes import train, warm_home
from service import Service

import gansweep
from gansweep import SweepFileError, UserError
from gansweep.api import running
from gansweep.cli.main import cli
from gansweep.records import journal, lock, outcome
from gansweep.records.layout import read_json

MINE = {
    "name": "mine",
    "dataset": {"name": "digits", "image_size": 16},
    "model": {"latent_dim": 8, "feature_maps": 4},
    "training": {"steps": 10, "batch_size": 16},
    "evaluation": {"per_run": 0},
    "cadence": {"metrics": 5, "samples": 1000, "checkpoints": 1000},
}
# Takes the sweep as it is, at step 10, then trains on without an end.
SCRIPT = """
import json
import sys
import gansweep

mine = json.loads(sys.argv[2])
for steps in (10, 1_000_000):
    mine["training"]["steps"] = steps
    sweep = gansweep.run_sweep(mine, home=sys.argv[1])
    print(sweep, *sweep.trials["outcome"], next(iter(sweep)).sample(2).shape)
    print(*{"ray", "mlflow"} & {*sys.modules}, flush=True)
"""
DRIVER = """
import json, os, signal, sys, time
given = json.loads(sys.stdin.readline())
if "dies" in given["text"]:
    os.kill(os.getpid(), signal.SIGKILL)
if given["max_trials"] == 1:
    def stop(*_):
        print("ends in good order", file=sys.stderr, flush=True)
        print(json.dumps({"sweep": "small"}), flush=True)
        sys.exit()
    signal.signal(signal.SIGINT, stop)
    print("begun", file=sys.stderr, flush=True)
    time.sleep(60)
print(json.dumps(json.loads(given["text"])), flush=True)
"""


def test_a_finished_sweep_is_opened_from_any_thread(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[gansweep.SweepResult] = []

    def run() -> None:
        found.append(gansweep.run_sweep(str(service.root / "small.yaml"), home=str(service.home.path)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [len(sweep) for sweep in found] == [4]
    assert "small: nothing to train" in capsys.readouterr().err
    assert read_json(service.folder().plan)["command"] == f"gansweep run {service.root / 'small.yaml'}"
    quiet = gansweep.run_sweep(service.root / "small.yaml", home=service.home.path, progress=False)
    assert (repr(quiet), capsys.readouterr().err) == ("<SweepResult small: 4 trials>", "")


def test_problems_of_a_file_are_those_of_the_command(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text((service.root / "small.yaml").read_text().replace("batch_size: 16", "batch_size: -1"))
    refused = CliRunner().invoke(cli, ["validate", str(file)])
    with pytest.raises(SweepFileError) as caught:
        gansweep.run_sweep(file, home=tmp_path / "home")
    assert f"{caught.value}\n" == f"{refused.exception}\n"
    assert caught.value.problems == [str(caught.value)]
    with pytest.raises(UserError, match="no such file"):
        gansweep.run_sweep(tmp_path / "none.yaml", home=tmp_path / "home")


def test_problems_of_a_mapping_name_the_key(tmp_path: Path) -> None:
    sweep = {"name": "s", "dataset": {"path": tmp_path}, "training": {"steps": 10, "learning_rate": -1.0}}
    with pytest.raises(SweepFileError) as caught:
        gansweep.run_sweep(sweep, home=tmp_path / "home", overrides={"training.beta1": 7})
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "--set training.beta1", "dataset", "training.learning_rate"
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"^sweep: <object .* cannot be written in a sweep file"):
        gansweep.run_sweep({"name": object()}, home=tmp_path / "home")


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ({"error": "sweep:3:1: training: is wrong"}, UserError, "^training: is wrong$"),
        ({"error": "disk: full"}, UserError, "^disk: full$"),
        ({"bug": "Traceback"}, RuntimeError, "internal error.*\nTraceback"),
        ({}, UserError, "was killed; call run_sweep again"),
        ({"dies": "at once"}, UserError, "was killed; call run_sweep again"),
    ],
)
def test_what_a_driver_answers_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], error: type[Exception], message: str
) -> None:
    monkeypatch.setattr(running, "COMMAND", [sys.executable, "-c", DRIVER])
    monkeypatch.setattr(running, "_yaml", json.dumps)
    with pytest.raises(error, match=message):
        gansweep.run_sweep(answer, home=tmp_path)


def test_a_driver_that_takes_no_order_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "COMMAND", [sys.executable, "-c", ""])
    with pytest.raises(UserError, match="was killed"):
        gansweep.run_sweep({"name": "s", "note": "x" * 1_000_000}, home=tmp_path)


def test_an_interrupt_is_handed_on_and_raised_when_the_sweep_has_ended(service: Service) -> None:
    """In a process of its own, whose main thread is interrupted once the driver has begun."""
    program = f"""
import os, signal, sys, threading
from gansweep.api import running
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run under nohup
running.COMMAND = [sys.executable, "-c", {DRIVER!r}]
class Interrupting:
    def write(self, text):
        sys.__stderr__.write(text)
        if "begun" in text:
            os.kill(os.getpid(), signal.SIGINT)
    def flush(self): ...
sys.stderr = Interrupting()
try:
    running.run_sweep({{"name": "s"}}, home={str(service.home.path)!r}, max_trials=1)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("interrupted\n", "begun\nends in good order\n")


@pytest.mark.slow
def test_a_script_without_a_main_guard_trains_and_its_death_ends_the_sweep_gracefully(
    service: Service, tmp_path: Path
) -> None:
    """One that trains to the end and returns: tests/integration/test_old_homes.py."""
    home, file, script = warm_home(tmp_path / "home"), tmp_path / "mine.yaml", tmp_path / "script.py"
    file.write_text(json.dumps(MINE))
    train(home, file)
    script.write_text(SCRIPT)
    (tmp_path / "torch.py").write_text("raise SystemExit('shadowed')")  # a file beside the script shadows nothing there
    command = [sys.executable, "-P", str(script), str(home.path), json.dumps(MINE)]
    caller = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert caller.stdout is not None
    first = [caller.stdout.readline(), caller.stdout.readline()]
    assert first == ["<SweepResult mine: 1 trial> completed (2, 1, 16, 16)\n", "\n"]
    folder = home.sweep("mine")
    (trial,) = folder.planned()
    ended = outcome.read(trial)
    assert ended is not None
    assert (ended.kind, ended.step) == ("completed", 10)

    service.wait_for(lambda: journal.read(trial.journal)[-1].step > ended.step, 120)
    caller.send_signal(signal.SIGKILL)
    caller.communicate()
    service.wait_for(lambda: not lock.is_held(folder.lock), 60)
    (trial,) = folder.planned()
    ended = outcome.read(trial)
    assert ended is not None
    assert (ended.kind, ended.step) == ("interrupted", int(trial.all_checkpoints()[-1].stem))
