"""`gansweep train`: one configuration, in a folder of its own."""

from __future__ import annotations

import json
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_calls import Call
from click.testing import CliRunner, Result
from facts import assert_states
from limits import file_size_limit
from PIL import Image
from scenes import warm_home
from service import Service, interrupt

from gansweep.cli.main import cli
from gansweep.gan import checkpoint
from gansweep.gan.training import Trainer
from gansweep.health.metrics import MACHINE
from gansweep.records import journal, outcome
from gansweep.records.layout import Home, RunFolder, read_json
from gansweep.report.plots import draw as DRAW

STEPS, MIDDLE = 60, 20
FILE = """
name: one.run
dataset: {name: digits, image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 60, batch_size: 16, learning_rate: 2e-3}
evaluation: {per_run: 6, samples: 64}
cadence: {metrics: 5, samples: 20, checkpoints: 10}
retention: {checkpoints: 9}
stop: {on: [divergence]}
"""
NO_EVALUATION = ("--set", "evaluation.per_run=0")
HEAVY = {"torch", "ray", "mlflow", "torchvision", "sklearn", "pandas", "matplotlib", "rich", "numpy", "pydantic"}


def train(*arguments: object, home: Home, code: int = 0) -> tuple[RunFolder, Result]:
    """A call from the folder that holds one.yaml, and the run's folder."""
    words = [str(word) for word in ("train", *arguments, "--home", home.path)]
    result = CliRunner().invoke(cli, words, prog_name="gansweep", standalone_mode=False)
    assert (result.return_value, result.exception) == (code, None), result.output
    return RunFolder(Path(result.stdout.strip())), result


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Result]:
    """A run of 60 steps, never interrupted."""
    root = tmp_path_factory.mktemp("whole")
    (root / "one.yaml").write_text(FILE)
    return train(root / "one.yaml", home=warm_home(root / "home"))


@pytest.fixture
def warm(whole: tuple[RunFolder, Result], home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose images are decoded and whose classifier is trained; we work beside one.yaml."""
    (tmp_path / "one.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole[0].path.parents[1] / "cache", home.cache)
    return home


@pytest.fixture(autouse=True)
def _without_plots(whole: tuple[RunFolder, Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs in this process draw nothing, which takes longer than they do; `whole` has its plots."""
    monkeypatch.setattr("gansweep.report.plots.draw", lambda *_: None)


def numbers(folder: RunFolder) -> list[tuple[int, dict[str, float]]]:
    """What its journal holds, timings aside."""
    return [(r.step, {k: v for k, v in r.values.items() if k not in MACHINE}) for r in journal.read(folder.journal)]


def assert_same_weights(a: RunFolder, b: RunFolder) -> None:
    (left, here), (right, there) = (checkpoint.load(f.all_checkpoints()[-1]) for f in (a, b))
    assert (here["step"], here["position"]) == (there["step"], there["position"])
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].numpy().tobytes() == right[name].numpy().tobytes(), name


def test_a_run_has_a_folder_stamped_with_the_time_that_holds_everything(whole: tuple[RunFolder, Result]) -> None:
    folder, result = whole
    assert re.fullmatch(r"one\.run-\d{8}-\d{6}", folder.id)
    assert folder.path.parent.name == "runs"
    assert [int(path.stem) for path in folder.all_samples()] == [0, 20, 40, 60]
    assert [int(path.stem) for path in folder.all_checkpoints()] == [10, 20, 30, 40, 50, 60]
    assert read_json(folder.evaluator)["samples"] == 64
    ended = outcome.read(folder)
    assert ended is not None
    assert (ended.kind, ended.step) == ("completed", STEPS)
    document = read_json(folder.trial)
    assert (document["steps"], document["config"]["training"]["learning_rate"]) == (STEPS, 2e-3)
    assert sorted(path.name for path in folder.plots.iterdir()) == ["losses.png", "quality.png", "samples.png"]
    messages = re.sub(r"^\d\d:\d\d:\d\d  ", "", result.stderr, flags=re.MULTILINE)
    assert_states(messages, "60 steps", f"{folder.path}\n", "completed", "60 steps")
    assert f"{ended.verdicts[0].reason}\n" in messages
    stamped = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
    assert re.sub(stamped, "", folder.log.read_text(), flags=re.MULTILINE) == messages


def test_going_on_from_a_checkpoint_gives_the_same_run(whole: tuple[RunFolder, Result], warm: Home) -> None:
    """What was recorded before comes along: verdicts look back."""
    source, _ = whole
    folder, result = train("one.yaml", "--checkpoint", source.checkpoint(MIDDLE), home=warm)
    assert folder.path != source.path
    assert [int(path.stem) for path in folder.all_checkpoints()] == [20, 30, 40, 50, 60]
    assert_same_weights(folder, source)
    assert numbers(folder) == numbers(source)
    ended, expected = outcome.read(folder), outcome.read(source)
    assert ended is not None
    assert expected is not None
    assert ended.verdicts == expected.verdicts
    assert folder.sample(STEPS).read_bytes() == source.sample(STEPS).read_bytes()
    assert read_json(folder.trial)["checkpoint"] == str(source.checkpoint(MIDDLE))
    assert_states(result.stderr, "step 20", source.checkpoint(MIDDLE))
    assert "differ" not in result.stderr


def test_a_checkpoint_alone_is_enough(whole: tuple[RunFolder, Result], warm: Home) -> None:
    """As it is downloaded from MLflow. The records before it are not there."""
    shutil.copy(whole[0].checkpoint(MIDDLE), "last.safetensors")
    folder, _ = train("one.yaml", "--checkpoint", "last.safetensors", home=warm)
    assert_same_weights(folder, whole[0])
    assert numbers(folder) == [(step, values) for step, values in numbers(whole[0]) if step > MIDDLE]


def test_records_of_other_images_stay_behind(whole: tuple[RunFolder, Result], warm: Home) -> None:
    shutil.copytree(whole[0].path, "copied")
    document = read_json(Path("copied/trial.json"))
    document["data"]["fingerprint"] = "0" * 16
    Path("copied/trial.json").write_text(json.dumps(document))
    checkpoint_file = RunFolder(Path("copied")).checkpoint(MIDDLE)
    folder, _ = train("one.yaml", *NO_EVALUATION, "--checkpoint", checkpoint_file, home=warm)
    assert min(step for step, _ in numbers(folder)) > MIDDLE


def test_more_steps_and_another_learning_rate_are_the_users_right(whole: tuple[RunFolder, Result], warm: Home) -> None:
    other = ("--set", "training.steps=70", "--set", "training.discriminator.learning_rate=1e-4")
    source = whole[0].checkpoint(MIDDLE)
    folder, result = train("one.yaml", *NO_EVALUATION, *other, "--checkpoint", source, home=warm)
    assert_states(result.stderr, "checkpoint", "discriminator.learning_rate 1e-4 (was 2e-3)")
    assert folder.checkpoint(70).exists()
    before, after = numbers(whole[0]), numbers(folder)
    assert [one for one in after if one[0] <= MIDDLE] == [one for one in before if one[0] <= MIDDLE]
    assert dict(after)[30]["loss_d"] != dict(before)[30]["loss_d"]


def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    whole: tuple[RunFolder, Result], warm: Home, call: Call
) -> None:
    """Room for records and samples, none for a checkpoint: in training, and before it."""
    with file_size_limit(20_000):
        folder, result = train("one.yaml", *NO_EVALUATION, home=warm, code=1)
    assert_states(result.stderr, "interrupted", f"{folder.checkpoint(10)}: ", "`ulimit -f`")
    assert not list(folder.path.rglob(".*"))
    assert folder.all_checkpoints() == []
    assert folder.journal.read_bytes().endswith(b"}\n")
    assert_states(folder.log.read_text(), f"{folder.checkpoint(10)}: ", "`ulimit -f`")
    shutil.rmtree(folder.path)
    with file_size_limit(20_000):
        err = call("train", "one.yaml", "--checkpoint", whole[0].checkpoint(MIDDLE))
    assert err.count("\n") == 1
    assert_states(err, "/00000020.safetensors: ", "`ulimit -f`")
    assert list(warm.runs.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "was", "option"),
    [
        ("model.latent_dim=9", "8", "model.latent_dim"),
        ("model.feature_maps=5", "4", "model.generator.feature_maps"),
        ("dataset.channels=3", "1", "dataset.channels"),
        ("dataset.image_size=32", "16", "dataset.image_size"),
        ("model.conditioning=concat", "none", "model.conditioning"),
        ("model.discriminator.norm=layer", "null", "model.discriminator.norm"),
        ("training.loss=hinge", "non_saturating", "training.loss"),
        ("training.ema=0.9", "0.0", "training.ema"),
        ("training.augment.policy=[color]", "[]", "training.augment.policy"),
        ("training.steps=60", "60", "training.steps"),
        ("training.steps=50", "60", "training.steps"),
    ],
)
def test_settings_that_the_checkpoint_does_not_fit_are_refused(
    whole: tuple[RunFolder, Result], warm: Home, call: Call, override: str, was: str, option: str
) -> None:
    file = whole[0].checkpoint(STEPS)
    err = call("train", "one.yaml", "--set", "training.steps=70", "--set", override, "--checkpoint", file)
    given = override.partition("=")[2]
    assert_states(err, f"{option}: {given}", file, was)
    assert err.startswith(f"{option}: ")
    assert err.count("\n") == 1
    assert not warm.runs.exists()


def test_d_may_grow_at_another_step_while_it_has_grown_in_neither_run(warm: Home, call: Call) -> None:
    at = "model.discriminator.growth.at={}".format
    first, _ = train("one.yaml", "--set", at(40), *NO_EVALUATION, home=warm)
    second, result = train("one.yaml", "--set", at(30), *NO_EVALUATION, "--checkpoint", first.checkpoint(20), home=warm)
    assert "networks.growth_at 30 (was 40)" in result.stderr
    ends = [outcome.read(folder) for folder in (first, second)]
    assert [(end.kind, end.step) for end in ends if end] == [("completed", STEPS)] * 2
    file = first.checkpoint(50)
    err = call("train", "one.yaml", "--set", at(55), *NO_EVALUATION, "--checkpoint", file)
    assert_states(err, "model.discriminator.growth.at: 55", file, "40")


def test_files_that_are_no_checkpoints_are_refused(whole: tuple[RunFolder, Result], warm: Home, call: Call) -> None:
    Path("pickle.pt").write_bytes(pickle.dumps({}))
    Path("disguised.safetensors").write_bytes(pickle.dumps({}))
    cut = whole[0].checkpoint(MIDDLE).read_bytes()[:-1]
    Path("cut.safetensors").write_bytes(cut)
    checkpoint.save(Path("classifier.safetensors"), {"mean": torch.zeros(2)}, {"accuracy": 0.9})
    tensors, meta = checkpoint.load(whole[0].checkpoint(MIDDLE))
    del tensors["discriminator.weights.0"]
    checkpoint.save(Path("lacking.safetensors"), tensors, meta)
    for name, says in {
        "pickle.pt": "not a checkpoint of gansweep",
        "disguised.safetensors": "damaged (",
        "cut.safetensors": "damaged (",
        "classifier.safetensors": "contains no networks to train",
        "missing.safetensors": "cannot be read (No such file or directory)",
    }.items():
        err = call("train", "one.yaml", "--checkpoint", name)
        assert err.startswith(f"{name}: {says}"), err
        assert err.count("\n") == 1
    assert not warm.runs.exists()
    err = call("train", "one.yaml", *NO_EVALUATION, "--checkpoint", "lacking.safetensors")
    assert_states(err, "lacking.safetensors: ", "settings")
    assert list(warm.runs.iterdir()) == []


def test_several_configurations_are_counted_and_refused(warm: Home, call: Call) -> None:
    grid = "search={method: grid, over: {training.beta1: [0.5, 0.9], training.batch_size: [8, 16, 32]}}"
    mend = ("--set search=null", "--set KEY=VALUE")
    assert_states(call("train", "one.yaml", "--set", grid, "--set", "replicates=2"), "6 configurations", *mend)
    optuna = "search={method: optuna, trials: 1, over: {training.beta1: {uniform: [0.1, 0.9]}}}"
    assert_states(call("train", "one.yaml", "--set", optuna), *mend)
    assert not warm.runs.exists()


def test_a_grid_of_one_is_one_configuration_and_one_seed_is_trained(warm: Home) -> None:
    short = ("--set", "training.steps=5", "--set", "search={method: grid, over: {training.beta1: [0.9]}}")
    folder, result = train("one.yaml", *NO_EVALUATION, *short, "--set", "replicates=3", "--set", "seed=4", home=warm)
    document = read_json(folder.trial)
    assert (document["config"]["training"]["beta1"], document["config"]["seed"]) == (0.9, 4)
    assert_states(result.stderr, "seed 4", "3 replicates")
    assert len(list(warm.runs.iterdir())) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_checkpoints_draws_and_says_how_to_go_on(warm: Home, number: int, code: int) -> None:
    service = Service(warm.path.parent, {})
    endless = ("one.yaml", *NO_EVALUATION, "--set", "training.steps=1000000")
    process = service.start("train", *endless)
    service.wait_for(lambda: any(j.stat().st_size for j in warm.runs.glob("*/journal.jsonl")))
    assert interrupt(process, number) < 9
    out, err = process.communicate()
    assert process.returncode == code, err
    folder = RunFolder(Path(out.strip()))
    ended = outcome.read(folder)
    assert ended is not None
    assert (ended.kind, ended.reason) == ("interrupted", "Ctrl-C" if number == signal.SIGINT else "SIGTERM")
    assert folder.all_checkpoints()[-1] == folder.checkpoint(ended.step)
    assert (folder.plots / "losses.png").exists()
    assert not folder.stop.exists()
    (command,) = re.findall("resume with: (.*)", err)
    words = shlex.split(command)
    assert words == ["gansweep", "train", *endless, "--checkpoint", str(folder.checkpoint(ended.step))]
    length = ("--set", f"training.steps={ended.step + 7}")
    resumed, _ = train(*words[2:], *length, home=warm)
    undisturbed, _ = train("one.yaml", *NO_EVALUATION, *length, home=warm)
    assert_same_weights(resumed, undisturbed)


def test_a_run_that_a_rule_stops_ends_well_and_says_why(warm: Home) -> None:
    wild = ("--set", "training.learning_rate=1e20", "--set", "cadence.metrics=1")
    folder, result = train("one.yaml", *NO_EVALUATION, *wild, home=warm)
    ended = outcome.read(folder)
    assert ended is not None
    assert (ended.kind, ended.rule) == ("stopped", "divergence")
    assert f"stopped after {ended.step} step" in result.stderr
    assert f"{ended.reason}\n" in result.stderr
    assert "resume with" not in result.stderr


def test_what_a_run_flags_is_reported_even_at_its_last_step(warm: Home) -> None:
    wild = ("--set", "training.learning_rate=1e20", "--set", "stop={on: [divergence], action: flag}")
    folder, result = train("one.yaml", *NO_EVALUATION, *wild, "--set", "training.steps=5", home=warm)
    ended = outcome.read(folder)
    assert ended is not None
    assert ended.kind == "completed"
    assert result.stderr.count(f"{ended.verdicts[0].reason}\n") == 2  # when it was found, and at the end


def test_an_error_in_training_is_kept_and_no_traceback_shown(warm: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_step = Trainer.train_step

    def breaks(self: Trainer) -> None:
        if self.step == 12:
            raise RuntimeError("no memory left")
        whole_step(self)

    monkeypatch.setattr(Trainer, "train_step", breaks)
    folder, result = train("one.yaml", *NO_EVALUATION, home=warm, code=4)
    ended = outcome.read(folder)
    assert ended is not None
    assert (ended.kind, ended.step, ended.reason) == ("crashed", 12, "RuntimeError: no memory left")
    assert "crashed after 12 steps" in result.stderr
    assert "Traceback" not in result.stderr
    assert "no memory left" in folder.traceback.read_text()
    assert f"--checkpoint {folder.checkpoint(10)}\n" in result.stderr


def test_plots_that_cannot_be_drawn_do_not_fail_a_trained_run(warm: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("gansweep.report.plots.draw", fails)
    _, result = train("one.yaml", *NO_EVALUATION, "--set", "training.steps=5", home=warm)
    assert "plots could not be drawn (RuntimeError: no fonts)\n" in result.stderr


def test_json_tells_what_came_of_it(warm: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.report.plots.draw", DRAW)
    arguments = ("train", "one.yaml", "--json", *NO_EVALUATION, "--set", "training.steps=10", "--home", str(warm.path))
    result = CliRunner().invoke(cli, arguments)
    found: dict[str, Any] = json.loads(result.stdout)
    folder = RunFolder(Path(found["folder"]))
    assert (found["id"], found["outcome"], found["step"], found["steps_total"]) == (folder.id, "completed", 10, 10)
    assert [v["kind"] for v in found["verdicts"]] == [found["verdict"]] == ["undecided"]
    assert (found["checkpoint"], found["samples"]) == (str(folder.checkpoint(10)), str(folder.sample(10)))
    assert found["plots"] == [str(folder.plots / name) for name in ("losses.png", "samples.png")]
    assert found["metrics"]["loss_d"] == journal.read(folder.journal)[-1].values["loss_d"]


def test_neither_ray_nor_mlflow_is_loaded_and_help_loads_nothing_heavy(warm: Home) -> None:
    program = "import sys; from gansweep.cli.main import cli\ntry: cli({!r})\nfinally: print(*sys.modules)"

    def loaded(*words: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", program.format(words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    assert loaded("train", "--help") & HEAVY == set()
    words = ("train", "one.yaml", *NO_EVALUATION, "--set", "training.steps=2", "--home", str(warm.path))
    assert loaded(*words) & {"ray", "mlflow", "torchvision", "sklearn", "torch._dynamo", "pandas"} == set()


def test_the_plots_are_pictures_that_show_something(whole: tuple[RunFolder, Result]) -> None:
    for path in whole[0].plots.iterdir():
        with Image.open(path) as picture:
            assert picture.width > 300
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
