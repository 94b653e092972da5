"""A sweep whose file was edited between two runs: every command speaks of the current plan, and of more on request."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from bench import STEPS, Bench, empty_home, sound
from click.testing import CliRunner, Result
from facts import assert_states

from gansweep import read_sweep
from gansweep.cli.main import cli
from gansweep.health.verdict import Verdict
from gansweep.records.layout import Home, write_json
from gansweep.records.outcome import Outcome

RATE, MAPS = "training.learning_rate", "model.feature_maps"
ENDED = Outcome("completed", STEPS, verdicts=(Verdict("healthy", 0, "fine"),))
QUALITY = {4: 100.0, 8: 1.0}  # FD ratio by the number of feature maps: no mean of both is near either


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return empty_home(tmp_path_factory.mktemp("plans") / "home")


def planned(bench: Bench, name: str, *, maps: int = 4, fingerprint: str = "f", steps: int = STEPS) -> None:
    """A plan of two learning rates by two seeds, all trained and published."""
    write_json(bench.folder.plan, {"trials": []})
    for rate in (2e-4, 1e-3):
        for seed in (0, 1):
            config = {
                "seed": seed,
                "dataset": {"name": "image_folder", "path": "pictures"},
                "model": {"feature_maps": maps},
                "training": {"learning_rate": rate},
            }
            bench.trial(
                f"{name}{seed}{rate:g}".replace("0.", ""), sound(STEPS, fd_ratio=QUALITY[maps]), ENDED,
                config=config, varied={RATE: rate}, data={"fingerprint": fingerprint, "images": 30}, steps=steps,
            )  # fmt: skip
    bench.publish()


@pytest.fixture(scope="module")
def widened(shared_home: Home) -> Bench:
    """Feature maps, which the search does not vary, were edited from 4 to 8 between two runs."""
    bench = Bench(shared_home, "widened")
    planned(bench, "old", maps=4)
    planned(bench, "new", maps=8)
    return bench


@pytest.fixture(scope="module")
def grown(shared_home: Home) -> Bench:
    """A picture was added to the image folder between two runs."""
    bench = Bench(shared_home, "grown")
    planned(bench, "old", fingerprint="before")
    planned(bench, "new", fingerprint="after")
    return bench


def call(bench: Bench, *arguments: object, width: int = 160) -> Result:
    environment = {"COLUMNS": str(width), "GANSWEEP_HOME": str(bench.home.path)}
    result = CliRunner().invoke(cli, list(map(str, arguments)), env=environment)
    assert result.exit_code == 0, result.output
    return result


def ids(bench: Bench, command: str, *more: str) -> set[str]:
    found: dict[str, Any] = json.loads(call(bench, command, bench.folder.name, "--json", *more).stdout)
    return {trial["id"][:3] for trial in found["trials"]}


@pytest.mark.parametrize("command", ["status", "best", "diagnose"])
def test_the_current_plan_is_shown_and_earlier_trials_are_counted(widened: Bench, command: str) -> None:
    assert ids(widened, command) == {"new"}
    result = call(widened, command, widened.folder.name)
    assert_states(result.stderr, "4 trials of earlier plans", "--all-plans")
    assert "feature_maps" not in result.stdout


@pytest.mark.parametrize("command", ["status", "best", "diagnose"])
def test_what_the_search_does_not_vary_is_a_column_where_it_differs(widened: Bench, command: str) -> None:
    result = call(widened, command, widened.folder.name, "--all-plans", *(["--count", "9"] * (command == "best")))
    heading, *_ = [line for line in result.stdout.splitlines() if line.strip()]
    assert "feature_maps" in heading
    assert len(set(re.findall(r"\b(?:old|new)[01]\w+", result.stdout))) == 8
    assert "earlier plans" not in result.stderr


def test_a_status_of_all_sweeps_counts_the_current_plans(widened: Bench) -> None:
    rows = {row["sweep"]: row for row in json.loads(call(widened, "status", "--json").stdout)["sweeps"]}
    assert (rows["widened"]["trials"], rows["widened"]["completed"], rows["widened"]["earlier"]) == (4, 4, 4)


def test_tables_are_of_the_current_plan(widened: Bench, tmp_path: Path) -> None:
    result = call(widened, "export", "widened", "--csv", tmp_path)
    for name in ("trials", "histories", "evaluations", "verdicts"):
        with (tmp_path / f"{name}.csv").open() as file:
            assert {row["trial"][:3] for row in csv.DictReader(file)} == {"new"}, name
    assert_states(result.stderr, "4 trials of earlier plans", "--all-plans")


def test_all_plans_have_tables_on_request(widened: Bench) -> None:
    tables = read_sweep("widened", home=widened.home.path, all_plans=True)
    assert tables.settings == (RATE, MAPS)
    assert tables.trials.groupby("planned")[MAPS].unique().map(list).to_dict() == {False: [4], True: [8]}
    assert tables.trials.groupby("configuration")[MAPS].nunique().tolist() == [1, 1, 1, 1], "seeds alone are pooled"
    assert (tables.sweeps["planned"].item(), tables.sweeps["earlier"].item()) == (4, 4)


def test_another_data_set_under_the_same_settings_is_a_column(grown: Bench) -> None:
    tables = read_sweep("grown", home=grown.home.path, all_plans=True)
    assert tables.settings == (RATE, "data_fingerprint")
    assert read_sweep("grown", home=grown.home.path).settings == (RATE,)
    for command in ("status", "best", "diagnose"):
        text = call(grown, command, "grown", "--all-plans").stdout
        assert {"before", "after"} <= set(text.split()), command
    best = json.loads(call(grown, "best", "grown", "--all-plans", "--json").stdout)["trials"]
    assert {trial["seeds"] for trial in best} == {2}, "trials on other images are no further seeds"
    assert "their data differ" in call(grown, "best", "grown", "--all-plans").stderr


def test_a_data_set_that_the_search_varies_needs_no_further_column(shared_home: Home) -> None:
    bench = Bench(shared_home, "sizes")
    for size in (16, 32):
        dataset = {"name": "digits", "image_size": size}
        bench.trial(
            f"t{size}", sound(3), config={"seed": 0, "dataset": dataset}, varied={"dataset.image_size": size},
            data={"fingerprint": f"f{size}"},
        )  # fmt: skip
    bench.publish()
    assert read_sweep("sizes", home=shared_home.path).settings == ("dataset.image_size",)
    assert "data_fingerprint" not in call(bench, "status", "sizes").stdout


def test_other_lengths_are_a_column(shared_home: Home) -> None:
    bench = Bench(shared_home, "longer")
    planned(bench, "old", maps=4, steps=STEPS)
    planned(bench, "new", maps=8, steps=2 * STEPS)
    assert read_sweep("longer", home=shared_home.path, all_plans=True).settings == (RATE, MAPS, "steps")
    assert "steps" in call(bench, "status", "longer", "--all-plans").stdout.split()


def test_mlflow_says_how_many_runs_are_of_earlier_plans(widened: Bench) -> None:
    note = widened.runs()["parent"].data.tags["mlflow.note.content"]
    assert_states(note.splitlines()[0], "**4 trials**: 4 completed", "4 more runs of earlier plans")
    assert "| old" not in note


def test_the_command_of_an_earlier_trial_says_what_has_changed_since(widened: Bench) -> None:
    found = json.loads(call(widened, "show", "widened/old00002", "--json").stdout)["command"]
    given = [word for word in shlex.split(found) if "=" in word]
    assert {f"{MAPS}=4", f"{RATE}=0.0002", "search=null", "seed=0"} <= set(given)
    current = json.loads(call(widened, "show", "widened/new00002", "--json").stdout)["command"]
    assert MAPS not in current


def test_no_value_of_a_map_is_a_mean_over_settings(widened: Bench) -> None:
    from gansweep.report import grid

    trials = read_sweep("widened", home=widened.home.path, all_plans=True).trials
    figure = grid.plane(trials, [RATE], "FD ratio", log=True)
    assert {text.get_text() for text in figure.axes[0].texts} == {"1"}
    assert_states(figure.axes[0].get_title(loc="left"), "best FD ratio", "geometric mean")
    current = grid.plane(trials[trials["planned"]], [RATE], "FD ratio", log=True)
    assert "best" not in current.axes[0].get_title(loc="left")
    most = grid.plane(trials, [RATE], "coverage", log=True, lower=False)
    assert {text.get_text() for text in most.axes[0].texts} == {"100"}


def test_a_failed_setting_gives_a_cell_its_value_only_where_all_failed(widened: Bench) -> None:
    from gansweep.report import grid

    trials = read_sweep("widened", home=widened.home.path, all_plans=True).trials
    failed = trials.assign(failed=trials[MAPS] == 8)
    assert {text.get_text() for text in grid.plane(failed, [RATE], "q", log=True).axes[0].texts} == {"100"}
    nothing = trials.assign(failed=True)
    assert {text.get_text() for text in grid.plane(nothing, [RATE], "q", log=True).axes[0].texts} == {"1"}


@pytest.mark.slow
def test_a_report_is_of_the_current_plan(widened: Bench, tmp_path: Path) -> None:
    import pypdfium2

    result = call(widened, "report", "widened", "-o", tmp_path / "r.pdf")
    assert_states(result.stderr, "4 trials of earlier plans", "--all-plans")
    page = " ".join(pypdfium2.PdfDocument(tmp_path / "r.pdf")[0].get_textpage().get_text_range().split())
    assert_states(page, "2 combinations", "learning rate (2e-4, 1e-3)", "2 seeds")
    assert "4 trials of earlier plans" in page
    call(widened, "report", "widened", "--all-plans", "-o", tmp_path / "all.pdf")
    page = " ".join(pypdfium2.PdfDocument(tmp_path / "all.pdf")[0].get_textpage().get_text_range().split())
    assert_states(page, "4 combinations", "learning rate (2e-4, 1e-3) and feature maps (4, 8)", "2 seeds")
    assert_states(page, "4 trials belong to earlier plans")


def test_records_of_an_older_version_lack_keys_that_have_their_defaults(shared_home: Home) -> None:
    """A key that a later version added makes no column of its own."""
    bench = Bench(shared_home, "older")
    for name, training in (("a", {"learning_rate": 1e-4}), ("b", {"learning_rate": 1e-3, "precision": "float32"})):
        bench.trial(name, sound(3), config={"seed": 0, "training": training}, varied={RATE: training["learning_rate"]})
    bench.publish()
    tables = read_sweep("older", home=shared_home.path)
    assert tables.settings == (RATE,)
    assert "precision" not in call(bench, "status", "older").stdout
