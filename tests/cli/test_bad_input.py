"""What is wrong in the sweep file or on the command line. Everywhere: one line (where, what, how to mend it), exit
code 1, no traceback, and nothing half-made is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_calls import GOOD, Call, in_subprocess

from gansweep.planning.plan import make_plan, write_trials
from gansweep.records import lock
from gansweep.records.layout import Home
from gansweep.sweepfile.loader import load


@pytest.fixture
def planned(call: Call, home: Home) -> list[str]:
    """Ids of the two trials of the sweep `small`, planned and never run."""
    Path("small.yaml").write_text(GOOD + "search: {method: grid, over: {training.beta1: [0.1, 0.5]}}\nreplicates: 1\n")
    plan = make_plan(load(Path("small.yaml"), ("name=small",)), home)
    plan.folder.lock.parent.mkdir(parents=True)
    write_trials(plan, "gansweep run small.yaml", ())
    return [p.trial.id for p in plan.trials]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD + "modle: {}", "5:1: modle: unknown key; did you mean model?"),
        (GOOD + "replicates: many", "5:13: replicates: must be a whole number, got the text 'many'"),
        (GOOD.replace("steps: 10", "steps: 10, learning_rate: 0"),
         "4:38: training.learning_rate: must be greater than 0.0, got 0"),
        (GOOD.replace("steps: 10", "steps: 10, learning_rate: -1e-3"),
         "4:38: training.learning_rate: must be greater than 0.0, got -0.001"),
        (GOOD.replace("steps: 10", "steps: 10, beta1: 1"), "4:30: training.beta1: must be less than 1.0, got 1"),
        (GOOD + "search: {method: grid, over: {}}", "5:30: search.over: is empty"),
        (GOOD + "search: {method: grid, over: {training.beta1: []}}",
         "5:30: search.over: training.beta1 has no values: an empty grid has no trials"),
        (GOOD + "search: {method: grid, over: {training.lerning_rate: [1e-4]}}",
         "5:31: search.over.training.lerning_rate: no such key; did you mean training.learning_rate?"),
        (GOOD + "search: {method: cases, cases: []}", "5:32: search.cases: is empty"),
        (GOOD + "search: {method: cases, cases: [{}, {training.bata1: 0.9}]}",
         "5:38: search.cases[1].training.bata1: no such key; did you mean training.beta1?"),
        (GOOD + "search: {method: cases, cases: [{}, {training.beta1: 0.5}]}",
         "5:37: search.cases[1]: repeats search.cases[0]"),
        (GOOD.replace("steps: 10", "steps: 10, loss: wasserstein_gp"),
         "3:8: model.discriminator.norm: the gradient penalty treats each image by itself, and batch norm mixes"
         " them; set model.discriminator.norm: layer, or none"),
        (GOOD.replace("4}", "4, discriminator: {growth: {at: 10}}}"),
         "3:70: model.discriminator.growth.at: the run ends at step 10; grow before it"),
        (GOOD.replace("steps: 10", "steps: 10, loss: wasserstein_clip")
         + "search: {method: grid, objective: {metric: d_fresh, mode: max}, over: {training.beta1: [0.5]}}",
         "5:44: search.objective.metric: a critic's outputs are not probabilities: no run records d_fresh with"
         " training.loss wasserstein_clip; choose d_auc or fd_ratio"),
        (GOOD.replace("16}\nm", "48}\nm"), "2:23: dataset.image_size: dcgan makes images of 16, 28, 32, 64, 128"
         " or 256 pixels, not 48; change it, or give two own networks"),
        (GOOD.replace("name: s", "name: ../s"),
         "1:7: name: '../s' cannot name a folder: use up to 64 of A–Z, a–z, 0–9, '.', '_' and '-',"
         " beginning with a letter or digit of these"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "plan", "validate"])
def test_faults_of_the_file(call: Call, home: Home, command: str, text: str, problem: str) -> None:
    Path("s.yaml").write_text(text)
    assert call(command, "s.yaml") == f"s.yaml:{problem}\n"
    assert not home.path.exists()


def test_all_faults_at_once_in_a_process_of_its_own(call: Call, home: Home) -> None:
    Path("s.yaml").write_text(GOOD + "modle: {}\nseed: -1\n")
    done = in_subprocess("run", "s.yaml")
    assert done.stderr == (
        "s.yaml:5:1: modle: unknown key; did you mean model?\ns.yaml:6:7: seed: must be at least 0, got -1\n"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert not home.path.exists()


def test_missing_sweep_file(call: Call, home: Home) -> None:
    expected = "gone.yaml: no such file; `gansweep init gone.yaml` creates one\n"
    assert call("run", "gone.yaml") == expected
    done = in_subprocess("run", "gone.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)
    assert not home.path.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps", "--set training.steps: write it as key=value, as in --set training.steps=1200"),
        ("training.beta1=1", "--set training.beta1: training.beta1: must be less than 1.0, got 1"),
        ("model.latentdim=3", "--set model.latentdim: model.latentdim: unknown key; did you mean latent_dim?"),
        ("name=../s", "--set name: name: '../s' cannot name a folder: use up to 64 of A–Z, a–z, 0–9, '.', '_' and '-',"
                      " beginning with a letter or digit of these"),
    ],
)  # fmt: skip
def test_bad_set(call: Call, home: Home, override: str, message: str) -> None:
    assert call("run", "s.yaml", "--set", override) == f"{message}\n"
    assert not home.path.exists()


def test_too_many_trials(call: Call, home: Home) -> None:
    err = call("run", "s.yaml", "--set", "replicates=3", "--max-trials", 2)
    assert err == "s.yaml:1:1: search: 3 trials exceed the limit of 2; raise it with --max-trials 3\n"
    assert not home.path.exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--time-budget", "soon", "'soon' is not a duration; write 90s, 30m, 2h or 1h30m"),
        ("--time-budget", "", "'' is not a duration; write 90s, 30m, 2h or 1h30m"),
        ("--time-budget", "-5s", "'-5s' is not a duration; write 90s, 30m, 2h or 1h30m"),
        ("--max-trials", "0", "0 is not in the range x>=1."),
    ],
)
def test_bad_values_of_options_are_usage(call: Call, home: Home, option: str, value: str, message: str) -> None:
    err = call("run", "s.yaml", option, value, code=2)
    assert err.splitlines()[-1] == f"Error: Invalid value for '{option}': {message}"
    assert not home.path.exists()


@pytest.mark.parametrize("command", ["status", "stop", "clean", "sync"])
def test_unknown_sweep(call: Call, home: Home, planned: list[str], command: str) -> None:
    assert call(command, "smal") == f"{home.path}: no sweep named 'smal'; did you mean 'small'?\n"
    assert call(command, "xyz") == f"{home.path}: no sweep named 'xyz'; known: 'small'\n"
    assert call(command, "../sweeps/small") == f"{home.path}: no sweep named '../sweeps/small'; did you mean 'small'?\n"
    assert (home.sweep("small").plan).exists()


def test_sweeps_of_an_empty_home(call: Call, home: Home) -> None:
    assert call("status", "small") == f"{home.path}: no sweep named 'small'; known: none\n"
    assert not home.path.exists()


def test_unknown_trial(call: Call, home: Home, planned: list[str]) -> None:
    typo = planned[0][:-1] + ("0" if planned[0][-1] != "0" else "1")
    assert call("show", typo) == f"no trial '{typo}'; did you mean {planned[0]}?\n"
    assert call("show", f"small/{typo}") == f"no trial 'small/{typo}'; did you mean {planned[0]}?\n"
    assert call("show", "zzz") == "no trial 'zzz'; `gansweep status SWEEP` lists their ids\n"
    assert call("show", "small/") == "no trial 'small/'; `gansweep status SWEEP` lists their ids\n"
    assert call("show", "smal/1") == f"{home.path}: no sweep named 'smal'; did you mean 'small'?\n"
    with lock.acquire(home.sweep("small").lock):
        assert call("stop", "small", typo) == f"no trial 'small/{typo}'; did you mean {planned[0]}?\n"
        assert call("stop", "small", planned[1]) == f"small/{planned[1]} is not running\n"


def test_nothing_to_stop_or_to_look_at(call: Call, home: Home, planned: list[str]) -> None:
    assert call("stop", "small") == "small is not running\n"
    assert call("ui") == f"{home.path}: nothing is recorded yet; `gansweep run FILE` comes first\n"
    with lock.acquire(home.sweep("small").lock):
        assert call("clean", "small", "--yes") == "small is running; stop it first with `gansweep stop small`\n"


def test_init_never_overwrites(call: Call) -> None:
    assert call("init", "s.yaml") == "s.yaml: already exists; name another file\n"
    assert Path("s.yaml").read_text() == GOOD
    assert call("init", "gone/s.yaml") == "gone/s.yaml: cannot be written (No such file or directory)\n"
