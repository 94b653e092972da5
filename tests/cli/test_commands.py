"""Every command that trains nothing: data on stdout, messages on stderr, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in
from bad_calls import GOOD
from click.testing import CliRunner, Result
from facts import assert_states

from gansweep.cli.main import COMMANDS, cli
from gansweep.planning.cost import START_S
from gansweep.planning.plan import make_plan, write_trials
from gansweep.records import lock, outcome
from gansweep.records.layout import Home, write_json
from gansweep.records.outcome import Outcome
from gansweep.sweepfile.loader import known_keys, load

GRID = GOOD + "search: {method: grid, over: {training.beta1: [0.1, 0.5]}}\nreplicates: 2\n"


@pytest.fixture(autouse=True)
def _work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Path("s.yaml").write_text(GRID)


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="gansweep")
    assert result.exit_code == code, result.output
    return result


def plan_document(*arguments: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(call("plan", "s.yaml", "--no-timing", "--json", *arguments).stdout)
    return document


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "all")
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(command: tuple[str, ...], option: str) -> None:
    result = call(*command, option)
    assert result.stdout.startswith(f"Usage: gansweep {' '.join([*command, '[OPTIONS]'])}")
    assert result.stderr == ""
    if not command:
        assert all(re.search(rf"^  {name} +\S", result.stdout, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_their_options_have_help(command: str) -> None:
    context = cli.make_context("gansweep", [command], resilient_parsing=True)
    loaded = cli.get_command(context, command)
    assert loaded is not None
    assert loaded.name == command
    assert loaded.help
    assert COMMANDS[command][1].endswith(".")
    for parameter in loaded.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), f"{command} {parameter.name} has no help"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "Missing argument 'FILE'."),
        (("show",), "Missing argument 'TRIAL'."),
        (("status", "a", "b"), "Got unexpected extra argument (b)"),
        (("plan", "s.yaml", "--no-such"), "No such option '--no-such'."),
        (("frobnicate",), "No such command 'frobnicate'; "),
        (("ui", "--port", "0"), "Invalid value for '--port': 0 is not in the range 1<=x<=65535."),
    ],
)
def test_usage_errors_exit_with_2(arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith(f"Error: {message[:-1]}")


def test_init_then_validate(home: Home) -> None:
    result = call("init", "new.yaml")
    assert result.stdout == ""
    assert_states(result.stderr, "new.yaml", "`gansweep plan new.yaml`")
    result = call("validate", "new.yaml", "--set", "name=mine")
    assert (result.stdout, result.stderr) == ("", "new.yaml: mine, 6 trials\n")
    assert_states(call("init").stderr, "sweep.yaml", "`gansweep plan sweep.yaml`")
    assert not home.path.exists()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("cats.yaml", "cats"),
        ("wide nets (2).yaml", "wide-nets-2"),
        ("Kätzchen.v2.yml", "Katzchen.v2"),
        ("2024.yaml", "2024"),
        ("1e-3.yaml", "1e-3"),
        ("null.yaml", "null"),
        ("猫.yaml", "my-sweep"),
        (f"{'n' * 90}.yaml", "n" * 64),
        ("faces/sweep.yaml", "faces"),
    ],
)
def test_init_names_the_sweep_after_its_file(file: str, name: str) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    call("init", file)
    assert call("validate", file).stderr == f"{file}: {name}, 6 trials\n"


def test_plan_as_text() -> None:
    result = call("plan", "s.yaml", "--no-timing")
    assert result.stderr == ""
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    # time and state have no column while all their cells are empty, so that there is room for the counts
    assert lines[0] == ["trial", "beta1", "seed", "steps", "params", "G", "params", "D"]
    assert [row[1:3] for row in lines[2:6]] == [["0.1", "0"], ["0.1", "1"], ["0.5", "0"], ["0.5", "1"]]
    tail = result.stdout.split("data ")[1].splitlines()
    assert re.fullmatch(r" +1,797 images of 1×16×16, fingerprint [0-9a-f]{16}", tail[0])
    assert tail[1] == "          10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert tail[2] == "features  samples are judged in classifier (docs/features.md)"
    assert re.fullmatch(r"to train  4 of 4 trials, \d+ at a time", tail[3])
    assert re.fullmatch(r"disk      up to \d+ [kM]B", tail[4])
    larger = call("plan", "s.yaml", "--no-timing", "--set", "dataset.image_size=32").stdout
    assert "made once for these images, before trials begin: about 17 s" in larger, "longer than Ray takes to start"


def test_a_plan_of_many_settings_cuts_nothing_off() -> None:
    """80 characters: what a case changes, and both counts, whole."""
    arms = "{}, {model.generator.separable: true}, {model.discriminator.separable: true, training.beta1: 0.9}"
    lines = call("plan", "s.yaml", "--no-timing", "--set", f"search={{method: cases, cases: [{arms}]}}").stdout
    assert "…" not in lines
    for word in ("generator.separable=true", "discriminator.separable=true", "beta1=0.9", "as most"):
        assert word in re.sub(r"\s+", " ", lines)
    assert "most have generator.separable=false" in lines


def test_plan_says_whether_a_gpu_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "GPUs      trials train on the GPU; `run` measures how many at a time make the most steps per second"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "GPU" not in call("plan", "s.yaml", "--no-timing").stdout
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "GPU 0: NVIDIA H200 (UUID: GPU-a)"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    lines = call("plan", "s.yaml", "--no-timing").stdout.splitlines()
    assert lines[-1] == line
    assert "to train  4 of 4 trials, 1 at a time" in lines
    assert "GPU" not in call("plan", "s.yaml", "--no-timing", "--set", "resources.gpus=0").stdout


def test_plan_as_json() -> None:
    document = plan_document()
    assert document["sweep"] == "s"
    assert document["cost"].keys() == {"wall_s", "features_s", "fid", "disk_bytes", "pending"}
    assert (document["cost"]["wall_s"], document["cost"]["pending"]) == (None, 4)
    ids = [trial["id"] for trial in document["trials"]]
    assert len(set(ids)) == 4
    first = document["trials"][0]
    assert re.fullmatch(r"[0-9a-f]{12}", first.pop("id"))
    assert first.pop("parameters").keys() == {"generator", "discriminator"}
    assert first == {
        "varied": {"training.beta1": 0.1},
        "seed": 0,
        "steps": 10,
        "finished": False,
        "goes_on_from": None,
        "seconds_a_step": None,
    }
    longer = plan_document("--set", "training.steps=20")
    assert [t["id"] for t in longer["trials"]] == ids


def test_a_plan_says_what_is_finished_and_where_the_rest_goes_on(home: Home) -> None:
    plan = make_plan(load(Path("s.yaml")), home)
    for planned, step in zip(plan.trials, (10, 6), strict=False):
        folder = plan.folder.trial(planned.trial.id)
        folder.checkpoints.mkdir(parents=True)
        folder.checkpoint(step).touch()
        outcome.write(folder, Outcome("completed" if step == 10 else "interrupted", step))
    assert [(t["finished"], t["goes_on_from"]) for t in plan_document()["trials"]] == [
        (True, None), (False, 6), (False, None), (False, None)
    ]  # fmt: skip
    heading, _, *lines = call("plan", "s.yaml", "--no-timing").stdout.splitlines()[1:7]
    assert heading.endswith("state")
    states = [re.search(r"\d  ([a-z].*)?$|$", line)[1] for line in lines]
    assert (states[0], states[2:]) == ("finished", [None, None])
    assert re.search(r"\b6$", states[1])
    further = call("plan", "s.yaml", "--no-timing", "--set", "training.steps=20").stdout
    assert re.search(r" [a-z ]+ 10$", further, re.MULTILINE)
    assert "finished" not in further


@pytest.mark.parametrize("width", ["80", "40"])
def test_a_table_cuts_nothing_off_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    out = call("plan", "s.yaml", "--no-timing", "--set", "training.steps=1000").stdout
    assert out.splitlines()[1].split() == ["trial", "beta1", "seed", "steps", "params", "G", "params", "D"]
    assert "…" not in out


def test_what_is_piped_is_as_wide_as_it_must_be_and_ends_without_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    arms = ", ".join(f"{{model.discriminator.separable: true, training.beta1: 0.{i}}}" for i in range(1, 4))
    out = call("plan", "s.yaml", "--no-timing", "--set", f"search={{method: cases, cases: [{arms}]}}").stdout
    assert out.splitlines()[1].split()[1:3] == ["discriminator.separable", "beta1"]
    assert out == "\n".join(line.rstrip() for line in out.split("\n"))


def test_a_long_plan_is_cut_in_text_and_whole_in_json() -> None:
    text = call("plan", "s.yaml", "--no-timing", "--set", "replicates=25").stdout
    assert_states(text, "10 more", "--json")
    assert len(plan_document("--set", "replicates=25")["trials"]) == 50


def test_plan_times_real_steps() -> None:
    options = ("--set", "resources.max_concurrent=1", "--set", "training.steps=1000")
    result = call("plan", "s.yaml", "--json", *options)
    assert result.stderr == ""
    document = json.loads(result.stdout)
    (seconds,) = {trial["seconds_a_step"] for trial in document["trials"]}  # one shape, timed once
    assert 0 < seconds < 1
    start = max(START_S, document["cost"]["features_s"])
    assert document["cost"]["wall_s"] == pytest.approx(start + 4 * 1000 * seconds)


def test_plan_says_what_embeddings_and_fid_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.planning.cost._processes", ThreadPoolExecutor)  # those of the test above take seconds
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "colour.npz", images=rng.integers(0, 200, (2_100, 3, 16, 16), np.uint8))
    stand_in.write(tmp_path / "stand-in.pt2")
    colour = ("--set", f"dataset={{name: arrays, path: {tmp_path}/colour.npz, image_size: 16}}")
    lines = call("plan", "s.yaml", *colour, "--no-timing").stdout.splitlines()
    at = lines.index("features  samples are judged in self_supervised (docs/features.md)")
    assert lines[at + 1] == "          made once for these images, before trials begin: about 1 min 30 s"
    asked = ("--set", f"evaluation.fid={{weights: {tmp_path}/stand-in.pt2, samples: 3000}}")
    untimed = call("plan", "s.yaml", *colour, *asked, "--no-timing").stdout
    assert "\nFID       3,000 samples at the end of each trial\n" in untimed
    timed = call("plan", "s.yaml", *colour, *asked, "--set", "resources.max_concurrent=1").stdout
    once = r"FID       3,000 samples at the end of each trial: about \d+ s, and \d+ s once for the real images"
    assert re.search(once, timed)
    assert plan_document(*colour, *asked)["cost"]["features_s"] == 90


def test_status_of_nothing(home: Home) -> None:
    result = call("status")
    assert result.stdout == ""
    assert_states(result.stderr, "no sweeps", home.path, "`gansweep run FILE`")
    assert json.loads(call("status", "--json").stdout) == {"sweeps": []}
    assert not home.path.exists()


def test_status_and_show_of_what_never_ran(home: Home) -> None:
    plan = make_plan(load(Path("s.yaml")), home)
    write_trials(plan, "gansweep run s.yaml", ())
    trial = plan.trials[3].trial.id
    (sweep,) = json.loads(call("status", "--json").stdout)["sweeps"]
    assert (sweep["sweep"], sweep["trials"], sweep["pending"], sweep["running"]) == ("s", 4, 4, 0)
    assert json.loads(call("status", "s", "--json").stdout)["trials"][3] == {
        "id": trial, "varied": {"training.beta1": 0.5}, "seed": 1, "outcome": "pending", "verdict": None,
        "reason": "", "rule": "", "states": [], "step": 0, "steps_total": 10, "device": None, "run_id": None,
        "metrics": {},
        **dict.fromkeys(("steps_per_s", "quality", "quality_step", "best_value", "best_step")),
    }  # fmt: skip
    assert call("status", "s").stdout.endswith("4 trials: 4 pending\n")
    with lock.acquire(home.sweep("s").lock):
        assert_states(call("status", "s").stdout.splitlines()[-1], "s is running", "4 pending", "4 trials")
    shown = json.loads(call("show", trial[:8], "--json").stdout)
    assert (shown["id"], shown["sweep"], shown["deaths"], shown["checkpoint"]) == (trial, "s", 0, None)
    text = call("show", f"s/{trial}").stdout
    assert re.search(r"^varied +beta1=0\.5 seed=1$", text, re.MULTILINE)
    assert "judged in" not in text
    write_json(home.sweep("s").trial(trial).evaluator, {"features": {"name": "imagenet"}})
    assert re.search(r"^judged in +imagenet$", call("show", f"s/{trial}").stdout, re.MULTILINE)
    assert re.search(r" {2,}gansweep run .*--set training\.beta1=0\.5$", text, re.MULTILINE)


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    found = {f["what"]: f for f in json.loads(result.stdout)}
    assert found.keys() >= {"python", "gansweep", "torch", "ray", "mlflow", "cores", "GPUs", "home", "disk", "port"}
    assert result.exit_code == (0 if all(f["good"] for f in found.values()) else 1)
    monkeypatch.setattr("gansweep.cli.doctor.IMPORTED", ())  # torch was imported above
    broken = CliRunner().invoke(cli, ["doctor", "--home", "s.yaml/home"])
    assert broken.exit_code == 1
    lines = broken.stdout.splitlines()
    assert len(lines) == len(found) - 1, "the disk of a home that cannot be written is not measured"
    assert all(re.match(r"(ok  |BAD ) \S", line) for line in lines)
    assert_states(broken.stdout, "cannot be written (Not a directory)", "--home")


def test_schema_accepts_the_shipped_sweeps_and_refuses_unknown_keys(checkout: Path) -> None:
    import jsonschema
    from ruamel.yaml import YAML

    schema = json.loads(call("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = [checkout / "gansweep/sweepfile/template.yaml", *sorted((checkout / "sweeps").rglob("*.yaml"))]
    assert len(files) > 3
    for file in files:
        assert [e.message for e in validator.iter_errors(YAML(typ="safe").load(file))] == [], file
    bad = YAML(typ="safe").load(files[0]) | {"modle": {}}
    assert [e.message for e in validator.iter_errors(bad)] == [
        "Additional properties are not allowed ('modle' was unexpected)"
    ]
    assert {key for key in known_keys() if "." not in key} == set(schema["properties"])


def completions(*words: str) -> list[str]:
    environment = {**os.environ, "_GANSWEEP_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(("gansweep", *words))}
    script = Path(sys.executable).with_name("gansweep")
    done = subprocess.run([script], env={**environment, "COMP_CWORD": str(len(words))}, capture_output=True, text=True)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_shell_completion() -> None:
    script = Path(sys.executable).with_name("gansweep")
    source = {**os.environ, "_GANSWEEP_COMPLETE": "bash_source"}
    done = subprocess.run([script], env=source, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert completions("s") == ["submit", "status", "show", "sample", "save", "stop", "sync", "schema"]
    assert completions("run", "s.yaml", "--t") == ["--tracking-uri", "--time-budget"]
    if bash := shutil.which("bash"):
        program = f"source completion && complete -p gansweep && cd {Path.cwd()}"
        Path("completion").write_text(done.stdout)
        shown = subprocess.run([bash, "-c", program], capture_output=True, text=True)
        assert "_gansweep_completion gansweep" in shown.stdout, shown.stderr
