"""Analysis scripts stand on the public names alone, and flag_failures.py tells what became of real trials."""

from __future__ import annotations

import ast
import importlib
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import stored
from bench import STEPS, Bench, sound
from PIL import Image
from scenes import train, warm_home

import gansweep
from gansweep.health.judge import Judge
from gansweep.health.verdict import FAILURES, Verdict
from gansweep.records.layout import Home
from gansweep.sweeps.summary import Summary
from gansweep.sweeps.sweep import RecordedTrial
from gansweep.tracking import store

ANALYSIS = Path(__file__).parents[1] / "analysis"
SCRIPTS = sorted(ANALYSIS.rglob("*.py"))
HEAVY = ("torch", "ray", "mlflow", "numpy", "pandas")
SWEEP = """
name: {name}
dataset: {dataset}
model: {{latent_dim: 8, feature_maps: 4}}
training: {{steps: 60, batch_size: 16}}
evaluation: {{features: {features}, per_run: 20, samples: 64}}
stop: none
cadence: {{metrics: 5, samples: 20, checkpoints: 60}}
search: {{method: grid, over: {{training.learning_rate: {rates}}}}}
resources: {{cpus: 1, gpus: 0}}
"""
Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_public_names_only(script: Path) -> None:
    text = script.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert [name.name for name in node.names if name.name.split(".")[0] == "gansweep"] == []
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            if node.module.split(".")[0] == "gansweep":
                assert node.module == "gansweep"
                assert {name.name for name in node.names} <= set(gansweep.__all__)


def test_the_scripts_are_no_package_and_stand_in_their_readme() -> None:
    assert SCRIPTS
    assert not (ANALYSIS / "__init__.py").exists()
    text = (ANALYSIS / "README.md").read_text()
    assert [str(s) for s in SCRIPTS if f"({s.relative_to(ANALYSIS)})" not in text] == []
    assert [link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if not (ANALYSIS / link).exists()] == []


@pytest.mark.parametrize("name", gansweep.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(gansweep, name) is not None
    assert name in dir(gansweep)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'gansweep' has no attribute 'nothing'"):
        _ = gansweep.nothing


def test_importing_gansweep_alone_loads_nothing_heavy() -> None:
    code = f"import json, sys, gansweep; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Sweep `digits`, one trial with a learning rate that breaks it and one without; `plain`, images of one class."""
    root = tmp_path_factory.mktemp("analysis")
    home = warm_home(root / "home")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    for number in range(400):
        Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(root / "images" / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gansweep.gan.features.small_classifier.STEPS", 300)  # a second
        for name, dataset, rates, features in (
            ("digits", "{name: digits, image_size: 16}", "[0.2, 1e-3]", "classifier"),
            (
                "plain",
                f"{{name: image_folder, path: {root / 'images'}, image_size: 16}}",
                "[0.2]",
                "principal_components",
            ),
        ):
            file = root / f"{name}.yaml"
            file.write_text(SWEEP.format(name=name, dataset=dataset, rates=rates, features=features))
            train(home, file)
    return home


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """flag_failures.py with these arguments, as `python` runs it: exit status, stdout, stderr."""
    monkeypatch.syspath_prepend(ANALYSIS.parent)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["flag_failures.py", *map(str, arguments)])
        code = 0
        try:
            runpy.run_module("analysis.failures.flag_failures", run_name="__main__")
        except SystemExit as exit_:
            code = 1 if isinstance(exit_.code, str) else int(exit_.code or 0)
            print(exit_.code, file=sys.stderr)
        return (code, *capsys.readouterr())

    yield call
    plt.close("all")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The module of that name below analysis/."""
    monkeypatch.syspath_prepend(ANALYSIS.parent)
    return lambda name: importlib.import_module(f"analysis.{name}")


@pytest.mark.slow
def test_a_real_sweep(swept: Home, call: Call, tmp_path: Path) -> None:
    code, out, err = call("digits", "--home", swept.path, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    rows = pd.read_csv(tmp_path / "out" / "failures.csv").set_index(["setting", "value"])
    assert [*rows.index] == [("sweep", "digits"), ("training.learning_rate", "1e-3"), ("training.learning_rate", "0.2")]
    assert [*rows["trials"]] == [2, 1, 1]
    broken, whole = rows.loc[("training.learning_rate", "0.2")], rows.loc[("sweep", "digits")]
    assert broken["failing"] == 1
    assert broken["failing_low"] == pytest.approx(0.2065, abs=1e-4)
    trials = stored.trials(swept, store.local_uri(swept), "digits")
    kinds = [{verdict.kind for verdict in Judge().conclude(trial.history)} for trial in trials]
    for kind in FAILURES:
        assert whole[kind] == sum(kind in found for found in kinds), kind
    lines = {words[0]: words for line in out.splitlines() if (words := line.split())}
    assert lines["0.2"][1:4] == ["1", "1", "100"]
    failing = int(whole["failing"])
    assert lines["digits"][1:3] == ["2", str(failing)]

    counts = pd.read_csv(tmp_path / "out" / "classes.csv")
    assert [*counts.groupby("trial")["samples"].sum()] == [1_000] * failing
    assert [*counts.groupby("trial")["real"].sum()] == [1_797] * failing
    assert set(counts["verdict"]) <= set(FAILURES)
    for figure in ("losses", "classes", "strips"):
        assert "</svg>" in (tmp_path / "out" / f"{figure}.svg").read_text()
    assert (tmp_path / "out" / "strips.svg").read_text().count("image-rendering:pixelated") == 2 * failing


@pytest.mark.slow
def test_images_without_classes_have_no_histogram(swept: Home, call: Call, tmp_path: Path) -> None:
    code, _, err = call("plain", "--home", swept.path, "--out", tmp_path)
    assert code == 0
    assert re.fullmatch(r"no histogram: plain/\w+: its images have no classes\n", err)
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["failures.csv", "losses.svg", "strips.svg"]


@pytest.mark.slow
def test_trials_that_are_not_in_the_home_folder_have_losses_alone(swept: Home, call: Call, tmp_path: Path) -> None:
    bench = Bench(swept, "elsewhere")
    bench.trial("sound", sound(STEPS))
    bench.trial("broken", sound(STEPS, spread_across=0.01))
    bench.trial("short", sound(3))
    bench.publish()
    code, out, err = call("elsewhere", "--home", swept.path, "--out", tmp_path)
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines() if "(" in line] == [
        ["elsewhere", "2", "1"],
        ["1e-4", "2", "1"],
    ]
    assert err.splitlines() == [
        "left out: 1 of 3 trials, undecided: too few evaluations",
        f"only losses of 1 of 1 trials: their samples are not in {swept.path}",
    ]
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["failures.csv", "losses.svg"]


def test_no_failing_trials(swept: Home, call: Call, tmp_path: Path) -> None:
    bench = Bench(swept, "fine")
    bench.trial("a", sound(STEPS))
    bench.publish()
    code, out, err = call("fine", "--home", swept.path, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "no failing trials among 1 of fine"
    assert not [*tmp_path.glob("*.svg")]


def test_an_unknown_sweep(swept: Home, call: Call, tmp_path: Path) -> None:
    code, out, err = call("digit", "--home", swept.path, "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert err == f"{swept.path}: no sweep named 'digit'; did you mean 'digits'?\n"
    assert not (tmp_path / "out").exists()


def trial(name: str, **varied: Any) -> RecordedTrial:
    return RecordedTrial("run", Summary(name, varied, 0, 100, "completed"), {}, {}, {}, 0, "")


def test_drawn_numbers_share_a_row_a_decade(scripts: Callable[[str], Any]) -> None:
    grouped = scripts("failures.lib.table").grouped
    drawn = grouped([(value, set()) for value in (0.0123456, 0.1, 1.5e-4, 9.99e-3, 1e-3)])
    assert {name: len(kinds) for name, kinds in drawn.items()} == {
        "1e-4 … 1e-3": 1, "1e-3 … 1e-2": 2, "1e-2 … 1e-1": 1, "1e-1 … 1e0": 1
    }  # fmt: skip
    assert [*grouped([(width, set()) for width in (100, 8, 16, 8)])] == ["8", "16", "100"]
    assert [*grouped([(width, set()) for width in range(5, 15)])] == ["1e0 … 1e1", "1e1 … 1e2"]
    assert [*grouped([(value, set()) for value in (0.9, 0.0, 2e-4)])] == ["0", "2e-4", "0.9"]
    assert [*grouped([(value, set()) for value in ("mnist", "digits")])] == ["digits", "mnist"]
    assert [*grouped([(value, set()) for value in (True, False)])] == ["False", "True"]


def test_trials_count_for_every_failure_of_theirs_and_where_a_setting_was_varied(scripts: Callable[[str], Any]) -> None:
    both = (Verdict("mode_collapse", 5, ""), Verdict("discriminator_won", 5, ""))
    trials = [("a", trial("1", beta1=0.5), both), ("a", trial("2", beta1=0.9), (Verdict("healthy", 0, ""),))]
    won = (Verdict("healthy", 0, ""), Verdict("discriminator_won", 5, ""))  # a state is no failure
    trials += [("b", trial("3"), (Verdict("imbalance", 5, ""),)) for _ in range(7)] + [("b", trial("4"), won)]
    rows = scripts("failures.lib.table").table(trials).set_index(["setting", "value"])
    assert rows["trials"].to_dict() == {("sweep", "a"): 2, ("sweep", "b"): 8, ("beta1", "0.5"): 1, ("beta1", "0.9"): 1}
    assert [*rows["failing"]] == [1, 0, 1, 0]
    assert [*rows["mode_collapse"]] == [1, 0, 1, 0]
    assert [*rows["discriminator_won"]] == [1, 1, 1, 0]
    known = {"failing_share": 0.5, "failing_low": 0.0945, "failing_high": 0.9055}  # Wilson, 1 of 2
    assert rows.loc[("sweep", "a"), [*known]].to_dict() == pytest.approx(known, abs=1e-4)


def test_figures_show_nine_trials_of_all_kinds_each_once(scripts: Callable[[str], Any]) -> None:
    kinds = ("mode_collapse", "never_took_off", "mode_dropping", "discriminator_won")  # the last is a state
    verdicts = [tuple(Verdict(kind, 5, "") for kind in kinds)] * 12 + [(Verdict("divergence", 5, ""),)] * 2
    failing = [("s", trial(str(number)), found) for number, found in enumerate(verdicts)]
    chosen = scripts("failures.flag_failures").examples(failing)
    assert len({one.id for _, one, _ in chosen}) == len(chosen) == 9
    assert [verdict.kind for *_, verdict in chosen] == [
        *["mode_collapse"] * 3, *["divergence"] * 2, *["never_took_off"] * 2, *["mode_dropping"] * 2
    ]  # fmt: skip


REPORTED = "gansweep/report/accuracy.csv"


@pytest.mark.slow
def test_the_accuracy_table_is_what_the_records_give(checkout: Path, tmp_path: Path) -> None:
    """--from-records writes the CSV and the table of docs/verdicts.md anew: both must be as they are committed."""
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(checkout / "analysis", copy / "analysis")
    (copy / "docs").mkdir()
    shutil.copy(checkout / "docs" / "verdicts.md", copy / "docs")
    shutil.copytree(checkout / "gansweep", copy / "gansweep")
    (copy / REPORTED).unlink()
    scripts = ["detectors.calibrate_detectors", "detectors.replay_stops", "verdicts.measure_tags"]
    program = f"import runpy\nfor script in {scripts}: runpy.run_module('analysis.' + script, run_name='__main__')"
    subprocess.run([sys.executable, "-c", program], cwd=copy, check=True, capture_output=True)
    for file in (
        "docs/verdicts.md",
        "analysis/detectors/results/detector_accuracy.csv",
        "analysis/detectors/results/stops.csv",
        "analysis/verdicts/results/tags.csv",
        REPORTED,
    ):
        assert (copy / file).read_text() == (checkout / file).read_text(), file
