"""What the commands say of searches: what is to come, what was best, an objective that nobody recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from facts import assert_states

from gansweep.cli.main import cli
from gansweep.cli.run import _say_best
from gansweep.cli.text import say
from gansweep.gan.version import TRAINING_VERSION
from gansweep.health.verdict import Verdict
from gansweep.planning.plan import Plan, make_plan
from gansweep.records import outcome, suggestions
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.sweepfile.loader import load
from gansweep.sweepfile.trials import search_id

HEAD = """name: s
dataset: {image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 10, batch_size: 16}
"""
OPTUNA = HEAD + "search: {method: optuna, trials: 7, over: {training.beta1: {uniform: [0, 0.9]}}}\n"
GRID = HEAD + "search: {method: grid, over: {training.beta1: [0.1, 0.25, 0.5]}}\n"
FAILED = (Verdict("mode_collapse", 5, "mode collapse"),)
POOR = (Verdict("poor", 5, "poor"),)


@pytest.fixture(autouse=True)
def _work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments), prog_name="gansweep")
    assert result.exit_code == 0, result.output
    return result


def plan_of(text: str, home: Home) -> Plan:
    Path("s.yaml").write_text(text)
    return make_plan(load(Path("s.yaml")), home)


def test_plan_lists_what_was_suggested_and_counts_what_was_not(home: Home) -> None:
    plan = plan_of(OPTUNA, home)
    text = call("plan", "s.yaml", "--no-timing").stdout
    assert_states(text, "7 of 7 trials", "7", "suggested by optuna")
    suggestions.append(plan.folder.suggestions, search_id(plan.sweep, TRAINING_VERSION), 0, {"training.beta1": 0.125})
    document: dict[str, Any] = json.loads(call("plan", "s.yaml", "--no-timing", "--json").stdout)
    assert [trial["varied"] for trial in document["trials"]] == [{"training.beta1": 0.125}]
    assert (document["to_come"], document["cost"]["pending"]) == (6, 7)
    text = call("plan", "s.yaml", "--no-timing").stdout
    assert "0.125" in text
    assert_states(text, "7 of 7 trials", "6", "suggested by optuna")


def test_planning_a_search_writes_nothing_of_it(home: Home) -> None:
    Path("s.yaml").write_text(OPTUNA)
    call("plan", "s.yaml", "--no-timing")
    assert not home.sweep("s").path.exists()


def test_validate_counts_them_all(home: Home) -> None:
    Path("s.yaml").write_text(OPTUNA + "replicates: 2\n")
    assert call("validate", "s.yaml").stderr == "s.yaml: s, 14 trials\n"


def end(plan: Plan, number: int, value: float | None, kind: Any = "completed", **fields: Any) -> str:
    trial = plan.trials[number].trial.id
    folder = plan.folder.trial(trial)
    with Journal(folder.journal) as journal:
        journal.append(Record(10, 0.0, {"loss_g": 1.0} if value is None else {"fd_ratio": value}))
    outcome.write(folder, Outcome(kind, 10, **fields))
    return trial


def test_the_best_is_named(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(GRID, home)
    end(plan, 0, 1.0, verdicts=FAILED)
    best = end(plan, 1, 1.75)
    end(plan, 2, 9.0)
    assert _say_best(plan, say)
    assert_states(capsys.readouterr().err, "best", best, "beta1=0.25 seed=0", "fd_ratio 1.75")
    most = plan_of(GRID.replace("{method", "{objective: {metric: fd_ratio, mode: max}, method"), home)
    assert _say_best(most, say)
    assert_states(capsys.readouterr().err, "best", plan.trials[2].trial.id, "beta1=0.5 seed=0", "fd_ratio 9")


def test_the_best_of_the_poor_ones_is_named_where_none_ended_well(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(GRID, home)
    end(plan, 0, 1.0, verdicts=FAILED)
    end(plan, 1, 3.0, verdicts=POOR)
    best = end(plan, 2, 2.0, verdicts=POOR)
    assert _say_best(plan, say)
    assert_states(capsys.readouterr().err, "best", best, "fd_ratio 2", "poor", "no trial ended without failing")


@pytest.mark.parametrize(("value", "verdicts"), [(None, ()), (float("nan"), ()), (1.0, FAILED)])
def test_where_none_is_any_good_none_is_named(
    home: Home, capsys: pytest.CaptureFixture[str], value: float | None, verdicts: tuple[Verdict, ...]
) -> None:
    plan = plan_of(GRID, home)
    end(plan, 0, value, verdicts=verdicts)
    assert _say_best(plan, say), "nothing depends on the objective of a grid that names none"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text",
    [GRID + "scheduler: asha\n", GRID.replace("{method", "{objective: {metric: fd_ratio}, method")],
    ids=["asha", "asked for"],
)
def test_an_objective_that_no_run_recorded(home: Home, capsys: pytest.CaptureFixture[str], text: str) -> None:
    plan = plan_of(text, home)
    assert _say_best(plan, say), "nothing has ended"
    end(plan, 0, None, "crashed")
    assert _say_best(plan, say), "a crash says nothing"
    trial = end(plan, 1, None)
    assert not _say_best(plan, say)
    assert_states(capsys.readouterr().err, "search.objective.metric: ", "fd_ratio", f"`gansweep show {trial}`")
    end(plan, 2, float("nan"))
    assert _say_best(plan, say), "it was recorded, if not as a number"
