"""Small things that people stumble over: each message says what is meant, and how to mend it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bad_calls import GOOD
from click.testing import CliRunner, Result

from gansweep.cli.main import cli
from gansweep.records.layout import Home, write_json


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="gansweep")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def refusal(text: str, *options: str) -> str:
    Path("s.yaml").write_text(text)
    return str(CliRunner().invoke(cli, ["validate", "s.yaml", *options]).exception)


@pytest.fixture(autouse=True)
def _work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_package_is_a_program(checkout: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "gansweep", "--version"], capture_output=True, text=True, cwd=checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "version" in done.stdout


@pytest.mark.parametrize("key", ["seed", "training.seed", "seeds"])
def test_seeds_are_replicates(key: str) -> None:
    found = refusal(GOOD + f"search: {{method: grid, over: {{{key}: [1, 2]}}}}\n")
    assert "set replicates" in found
    assert "set replicates" in refusal(GOOD + f"search: {{method: cases, cases: [{{{key}: 1}}, {{{key}: 2}}]}}\n")


@pytest.mark.parametrize("value", ["null", "false", "off", "mode_collapse"])
def test_a_stop_that_is_no_section_hints_at_none(value: str) -> None:
    assert refusal(f"{GOOD}stop: {value}\n").startswith("s.yaml:5:")
    assert "`stop: none` only records verdicts" in refusal(f"{GOOD}stop: {value}\n")


def test_a_scheduler_of_nothing_hints_at_what_it_may_be() -> None:
    assert "scheduler: must be fifo, asha or a mapping with method, got nothing" in refusal(GOOD + "scheduler: null\n")


@pytest.mark.parametrize("name", ["émile", "größe", "名前"])
def test_names_are_of_ascii_characters_and_others_are_refused(name: str) -> None:
    found = refusal(GOOD.replace("name: s", f"name: {name}"))
    assert "up to 64 of A–Z, a–z, 0–9, '.', '_' and '-'" in found


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("training.lr=1", "learning_rate"),
        ("training.LR=1", "learning_rate"),
        ("training.generator.lr=1", "learning_rate"),
        ("lr=1", "training.learning_rate"),
        ("lr_g=1", "training.generator.learning_rate"),
        ("training.batch=1", "batch_size"),
        ("training.batchSize=1", "batch_size"),
        ("training.n_critic=5", "training.discriminator.updates"),
        ("training.num_epochs=1", "epochs"),
        ("model.nz=1", "latent_dim"),
        ("model.z_dim=1", "latent_dim"),
        ("model.ngf=1", "model.generator.feature_maps"),
        ("model.ndf=1", "model.discriminator.feature_maps"),
        ("dataset.img_size=1", "image_size"),
        ("dataset.dataroot=x", "path"),
        ("num_seeds=3", "replicates"),
        ("training.lerning_rate=1", "learning_rate"),
    ],
)
def test_a_key_by_the_name_that_the_field_gives_it(given: str, meant: str) -> None:
    assert refusal(GOOD, "--set", given).endswith(f"unknown key; did you mean {meant}?")


def test_a_varied_key_by_the_name_that_the_field_gives_it() -> None:
    found = refusal(GOOD + "search: {method: grid, over: {training.lr: [1.0e-4, 1.0e-3], nz: [8]}}\n")
    assert "search.over.training.lr: no such key; did you mean training.learning_rate?" in found
    assert "search.over.nz: no such key; did you mean model.latent_dim?" in found


def test_every_alias_leads_to_a_key() -> None:
    from gansweep.sweepfile.loader import known_keys
    from gansweep.sweepfile.messages import ALIASES

    assert set(ALIASES.values()) <= set(known_keys())
    leaves = {key.rpartition(".")[2].replace("_", "") for key in known_keys()}
    assert not leaves & set(ALIASES)


@pytest.mark.parametrize(
    ("typed", "meant"), [("statsu", "'status'"), ("rnu", "'run'"), ("valdate", "'validate'"), ("Report", "'report'")]
)
def test_a_mistyped_command(typed: str, meant: str) -> None:
    found = call(typed, code=2).stderr
    assert f"No such command {typed!r}; did you mean {meant}" in found


def test_one_of_something_is_no_plural() -> None:
    Path("s.yaml").write_text(GOOD)
    assert call("validate", "s.yaml").stderr == "s.yaml: s, 1 trial\n"
    planned = call("plan", "s.yaml", "--no-timing").stdout
    assert "to train  1 of 1 trial, " in planned


def test_a_sweep_may_be_called_by_a_number(home: Home) -> None:
    """So that "there are six" would be read wrongly."""
    write_json(home.sweep("six").plan, {"trials": []})
    found = str(CliRunner().invoke(cli, ["status", "xyzzy"]).exception)
    assert found == f"{home.path}: no sweep named 'xyzzy'; known: 'six'"


@pytest.mark.parametrize("axis", ["[0, 0.0]", "[0.5, 5.0e-1]", "[0.0, 0.5, -0.0]"])
def test_values_that_are_one_number_are_given_once(axis: str) -> None:
    found = refusal(f"{GOOD}search: {{method: grid, over: {{training.beta1: {axis}}}}}\n")
    assert "repeats search.over.training.beta1[0]; give each value once" in found


def test_values_that_mean_the_same_are_given_once() -> None:
    dataset = GOOD.replace("{image_size: 16}", "{name: digits, image_size: 16}")
    found = refusal(f"{dataset}search: {{method: grid, over: {{dataset.classes: [[3, 8], ['3', '8'], 3]}}}}\n")
    assert found.endswith(
        "search.over.dataset.classes[1]: repeats search.over.dataset.classes[0]; give each value once"
    )


def test_settings_that_come_to_the_same_are_counted_once() -> None:
    """A grid in which one combination inherits what another says, and draws from few values."""
    axes = "training.learning_rate: [1.0e-4, 1.0e-3], training.generator.learning_rate: [null, 1.0e-4]"
    Path("s.yaml").write_text(f"{GOOD}search: {{method: grid, over: {{{axes}}}}}\n")
    assert call("validate", "s.yaml").stderr == "s.yaml: s, 3 trials (1 left out as duplicates)\n"
    planned = json.loads(call("plan", "s.yaml", "--no-timing", "--json").stdout)
    assert (len(planned["trials"]), planned["repeated"]) == (3, 1)
    assert "repeats   1 left out as duplicates" in call("plan", "s.yaml", "--no-timing").stdout
    draws = "search: {method: random, trials: 9, over: {training.beta1: {choice: [0.0, 0.5]}}}\n"
    Path("s.yaml").write_text(GOOD + draws)
    assert call("validate", "s.yaml").stderr == "s.yaml: s, 2 trials (7 left out as duplicates)\n"


def test_the_rerun_command_states_nothing_twice() -> None:
    from gansweep.sweepfile.rerun import rerun_command

    given = ("search.trials=3", "search.seed=1", "stop=none", "training={steps: 5}", "seed=4", "name=other")
    command = rerun_command("s.yaml", "s", "abc", 0, {"training.beta1": 0.5}, given)
    assert command == (
        "gansweep run s.yaml --set stop=none --set 'training={steps: 5}' --set name=s-abc --set search=null"
        " --set replicates=1 --set seed=0 --set training.beta1=0.5"
    )
