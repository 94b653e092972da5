"""`gansweep best` and `compare`, from trial folders alone: filled by hand, and of a sweep that was really trained."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bad_calls import Call
from bench import STEPS, Bench
from click.testing import CliRunner, Result
from facts import assert_states
from scenes import train, warm_home
from service import Service

from gansweep.cli import results, tables
from gansweep.cli.main import cli
from gansweep.health.verdict import Verdict
from gansweep.records import journal
from gansweep.records.devices import Device, record
from gansweep.records.layout import Home, TrialFolder, read_json, write_json
from gansweep.records.outcome import Outcome

HEALTHY = Outcome("completed", STEPS, verdicts=(Verdict("healthy", 0, "fine"),))
COLLAPSED = Outcome("stopped", 5, "few images", (Verdict("mode_collapse", 5, "few images"),), "mode_collapse")
POOR = Outcome("completed", STEPS, verdicts=(Verdict("poor", 5, "far"),))
ENDED_BY_ASHA = Outcome("stopped", 9, "others were better", (Verdict("undecided", 0, ""),), "asha")
INTERRUPTED = Outcome("interrupted", 3, "asked to end")
HEAVY = {"torch", "ray", "mlflow", "torchvision", "sklearn", "pandas", "numpy"}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


class Folders(Bench):
    """Without a store: none is read, and making its tables takes seconds."""

    def __init__(self, home: Home, name: str) -> None:
        self.home, self.folder = home, home.sweep(name)
        write_json(self.folder.plan, {"trials": []})


@pytest.fixture
def bench(home: Home) -> Bench:
    return Folders(home, "s")


def config(seed: int = 0, rate: float = 1e-4, **training: Any) -> dict[str, Any]:
    return {"seed": seed, "training": {"learning_rate": rate, **training}, "dataset": {"path": None}}


def add(bench: Bench, name: str, fd: float | None, ended: Outcome | None = HEALTHY, **changes: Any) -> TrialFolder:
    """A trial of two records, with this FD ratio at the last one."""
    last = {} if fd is None else {"fd_ratio": fd}
    changes = {"config": config(), **changes}
    return bench.trial(name, [{"loss_d": 1.0, "fd_ratio": 50.0}, {"loss_d": 0.5, **last}], ended, **changes)


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="gansweep")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def best_of(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("best", "s", "--json", *arguments).stdout)
    return found


def compared(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("compare", *arguments, "--json").stdout)
    return found


def test_failed_trials_are_never_best_and_unended_ones_wait(bench: Bench) -> None:
    add(bench, "fair", 8.0)
    add(bench, "collapsed", 1.0, COLLAPSED)
    add(bench, "crashed", 1.0, Outcome("crashed", 5, "an error"))
    add(bench, "open", 1.0, None)
    add(bench, "halfway", 1.0, INTERRUPTED)
    add(bench, "longer", 1.0, Outcome("completed", STEPS - 1, verdicts=HEALTHY.verdicts))  # steps were raised since
    add(bench, "infinite", math.nan)
    bench.trial("blind", [{"loss_d": 1.0}], HEALTHY)
    add(bench, "good", 4.0)
    add(bench, "cut", 6.0, ENDED_BY_ASHA)
    found = best_of()
    assert [(t["rank"], t["id"], t["quality"]) for t in found["trials"]] == [
        (1, "good", 4.0), (2, "cut", 6.0), (3, "fair", 8.0)
    ]  # fmt: skip
    assert found["objective"] == {"metric": "fd_ratio", "mode": "min"}
    counts = {key: found[key] for key in ("ranked", "failed", "without_a_value", "not_ended")}
    assert counts == {"ranked": 3, "failed": 2, "without_a_value": 2, "not_ended": 3}
    result = run("best", "s")
    assert_states(result.stderr, "s: 3 ranked", "fd_ratio", "2 failed", "2 without a value", "3 not")
    rows = [words for line in result.stdout.splitlines() if (words := line.split())[:1] in (["1"], ["2"], ["3"])]
    assert [words[1] for words in rows] == ["good", "cut", "fair"]


def test_who_won_stands_beside_the_verdict_and_runners_up_beside_the_best(bench: Bench) -> None:
    won = Verdict("discriminator_won", 9, "discriminator won since step 9: AUC 0.999", {"figures": {"d_auc": 0.999}})
    add(bench, "good", 4.0)
    add(bench, "fair", 16.8, Outcome("completed", STEPS, verdicts=(*HEALTHY.verdicts, won)))
    add(bench, "collapsed", 1.0, COLLAPSED)  # what failed is not what others are compared with
    trials = {trial["id"]: trial for trial in best_of()["trials"]}
    assert {name: (one["verdict"], one["remark"]) for name, one in trials.items()} == {
        "good": ("healthy", ""), "fair": ("healthy", "4.2 × the best"),
    }  # fmt: skip
    assert [state["kind"] for state in trials["fair"]["states"]] == ["discriminator_won"]
    text = run("best", "s").stdout
    assert [line.split("completed")[1].strip() for line in text.splitlines() if "completed" in line] == [
        "healthy", "healthy · D won",
    ]  # fmt: skip
    assert_states(text, "runners-up", "fair 4.2 × the best")
    assert_states(run("show", "fair").stdout, "completed: healthy", "state", won.reason)
    assert json.loads(run("show", "fair", "--json").stdout)["states"] == trials["fair"]["states"]


def test_the_objective_of_the_sweep_ranks(bench: Bench) -> None:
    add(bench, "a", 8.0)
    add(bench, "b", 4.0)
    write_json(
        bench.folder.plan,
        {**read_json(bench.folder.plan), "objective": {"metric": "fd_ratio", "mode": "max"}, "to_come": 7},
    )
    found = best_of("--count", 1)
    assert [(t["id"], t["quality"]) for t in found["trials"]] == [("a", 8.0)]
    assert (found["ranked"], found["not_ended"]) == (2, 7)  # optuna has not suggested them yet
    assert_states(run("best", "s").stderr, "s: 2 ranked", "7 not")


def test_seeds_are_replicates_of_one_configuration(bench: Bench) -> None:
    add(bench, "a0", 2.0, config=config(0, 1e-3))
    add(bench, "a1", 8.0, config=config(1, 1e-3))
    add(bench, "a2", 1.0, COLLAPSED, config=config(2, 1e-3))
    add(bench, "b0", 3.0, config=config(0, 1e-2))
    add(bench, "b1", 3.0, None, config=config(1, 1e-2))
    over = {t["id"]: (t["seeds"], t["seeds_ranked"], t["seeds_mean"]) for t in best_of()["trials"]}
    mean = pytest.approx((2.0 * 8.0 * 1.0) ** (1 / 3))  # what failed counts as well
    assert over == {"a0": (3, 2, mean), "b0": (2, 1, None), "a1": (3, 2, mean)}
    rows = {
        words[1]: line
        for line in run("best", "s").stdout.splitlines()
        if (words := line.split())[:1] in (["1"], ["2"], ["3"])
    }
    assert "2.52 (2 of 3)" in rows["a0"]
    assert "– (1 of 2)" in rows["b0"]


def test_no_mean_over_seeds_combines_devices_and_this_is_reported(bench: Bench) -> None:
    for seed, (value, device) in enumerate(((2.0, "cpu"), (8.0, "cpu"), (1.0, "H100"), (4.0, "H100"))):
        folder = add(bench, f"t{seed}", value, config=config(seed))
        name = "" if device == "cpu" else device
        record(folder, Device(device if not name else "cuda", name))
    found = {t["id"]: (t["device"], t["seeds"], t["seeds_mean"], t["varied"]["device"]) for t in best_of()["trials"]}
    cpu, gpu = ("CPU", 2, pytest.approx(4.0), "CPU"), ("H100", 2, pytest.approx(2.0), "H100")
    assert found == {"t0": cpu, "t1": cpu, "t2": gpu, "t3": gpu}
    shown = run("best", "s")
    assert_states(shown.stderr, "their devices differ", "H100", "CPU")
    assert "device=" not in shown.stdout.split("rerun")[1], "the command trains on what there is"
    assert compared("t0", "t2")["trials"][1]["settings"]["device"] == "H100"
    assert_states(run("compare", "t0", "t2").stderr, "their devices differ")
    assert "devices" not in run("compare", "t0", "t1").stderr
    assert {t["id"]: t["device"] for t in json.loads(run("status", "s", "--json").stdout)["trials"]}["t3"] == "H100"


def test_numbers_below_zero_have_an_arithmetic_mean(bench: Bench) -> None:
    for seed, value in enumerate((-1.0, 4.0)):
        add(bench, f"t{seed}", value, config=config(seed))
    assert [t["seeds_mean"] for t in best_of()["trials"]] == [1.5, 1.5]


def test_no_best_trial_where_none_ended_well(bench: Bench) -> None:
    assert best_of()["trials"] == []
    add(bench, "collapsed", 1.0, COLLAPSED)
    add(bench, "open", 1.0, None)
    found = best_of()
    assert (found["trials"], found["ranked"], found["failed"], found["not_ended"]) == ([], 0, 1, 1)
    result = run("best", "s")
    assert result.stdout == ""
    assert_states(result.stderr, "s: no trial", "1 failed", "1 not")


def test_poor_trials_are_ranked_where_none_ended_well(bench: Bench) -> None:
    add(bench, "collapsed", 1.0, COLLAPSED)
    for name, value in (("worse", 9.0), ("better", 5.0)):
        add(bench, name, value, POOR)
    found = best_of()
    assert [(t["id"], t["rank"]) for t in found["trials"]] == [("better", 1), ("worse", 2)]
    assert {t["verdict"] for t in found["trials"]} == {"poor"}
    assert (found["ranked"], found["failed"]) == (2, 1)
    assert_states(run("best", "s").stderr, "s: no trial ended without failing", "2 ranked", "poor", "1 failed")
    add(bench, "healthy", 99.0)
    found = best_of()
    assert [t["id"] for t in found["trials"]] == ["healthy"]
    assert (found["ranked"], found["failed"]) == (1, 3)


def test_best_names_what_belongs_to_the_best(bench: Bench) -> None:
    trial = add(bench, "good", 4.0, varied={"training.learning_rate": 1e-4})
    for folder, names in ((trial.samples, ["00000010.png", "00000030.png"]), (trial.checkpoints, ["x.safetensors"])):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    (found,) = best_of()["trials"]
    assert found["samples"] == str(trial.sample(30))
    assert found["checkpoint"] == str(trial.checkpoints / "x.safetensors")
    shown = json.loads(run("show", "good", "--json").stdout)
    assert found["command"] == shown["command"]
    assert (found["outcome"], found["verdict"], found["step"], found["steps_total"]) == (
        "completed", "healthy", STEPS, STEPS
    )  # fmt: skip
    text = run("best", "s").stdout
    assert_states(text, "good  learning_rate=1e-4 seed=0", f"{STEPS} of {STEPS}", trial.sample(30), shown["command"])


def test_best_of_a_sweep_that_is_not_there(home: Home, bench: Bench, call: Call) -> None:
    assert call("best", "x", "--home", home.path) == f"{home.path}: no sweep named 'x'; known: 's'\n"
    assert "Invalid value for '--count'" in call("best", "s", "--count", 0, code=2)


def rows_of(text: str) -> dict[str, list[str]]:
    """First cell → the others, which no blank splits."""
    return {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}


def test_compare_shows_what_differs_and_what_came_of_it(bench: Bench) -> None:
    add(bench, "aaa", 4.0, config=config(0, 1e-3, beta1=0.5), parameters={})
    add(bench, "bbb", 9.0, COLLAPSED, config=config(0, 2e-4, beta1=0.5, generator={"beta1": 0.9}))
    found = compared("aaa", "bbb")
    assert found["same_data"] is True
    a, b = found["trials"]
    assert a["settings"] == {"training.learning_rate": 1e-3, "training.generator.beta1": None}
    assert b["settings"] == {"training.learning_rate": 2e-4, "training.generator.beta1": 0.9}
    assert (a["sweep"], a["id"], a["outcome"], a["verdicts"], a["reason"]) == ("s", "aaa", "completed", ["healthy"], "")
    assert (b["outcome"], b["verdicts"], b["reason"]) == ("stopped", ["mode_collapse"], "few images")
    assert (a["step"], a["steps_total"], a["wall_s"], a["steps_per_s"]) == (STEPS, STEPS, 1.0, None)
    assert (a["metrics"], b["metrics"]) == ({"fd_ratio": 4.0, "loss_d": 0.5}, {"fd_ratio": 9.0, "loss_d": 0.5})
    result = run("compare", "aaa", "bbb")
    rows = rows_of(result.stdout)
    assert rows["training.learning_rate"] == ["1e-3", "2e-4"]
    assert rows["training.generator.beta1"] == ["–", "0.9"]
    assert not {"training.beta1", "seed"} & rows.keys()
    assert rows["fd_ratio"] == ["4", "9"]
    assert rows["loss_d"] == ["0.5", "0.5"]
    assert rows["steps/s"] == ["–", "–"]
    assert result.stderr == ""


def test_the_newest_value_counts_and_speed_is_the_median(bench: Bench) -> None:
    records = [{"steps_per_s": speed, "fd_ratio": 9.0} for speed in (10.0, 1.0, 30.0)]
    bench.trial("aaa", [*records, *[{"loss_d": 1.0}] * 30], None, config=config())
    bench.trial("bbb", config=config(1))
    a, b = compared("aaa", "bbb")["trials"]
    assert (a["steps_per_s"], a["wall_s"], a["metrics"]["fd_ratio"]) == (10.0, 32.0, 9.0)
    assert (b["outcome"], b["wall_s"], b["metrics"]) == ("pending", None, {"fd_ratio": None, "loss_d": None})
    assert rows_of(run("compare", "aaa", "bbb").stdout)["fd_ratio"] == ["9", "–"]


def test_quality_is_not_compared_on_different_data(bench: Bench) -> None:
    records = [{"loss_d": 1.0, "fd_ratio": 3.0, "coverage": 0.5, "d_auc": 0.9}]
    bench.trial("aaa", records, HEALTHY)
    bench.trial("bbb", records, HEALTHY, data={"fingerprint": "other"})
    found = compared("aaa", "bbb")
    assert found["same_data"] is False
    assert [t["data_fingerprint"] for t in found["trials"]] == ["f", "other"]
    assert all(t["metrics"].keys() == {"loss_d", "d_auc"} for t in found["trials"])
    result = run("compare", "aaa", "bbb")
    assert_states(result.stderr, "data differ")
    assert not {"fd_ratio", "coverage"} & rows_of(result.stdout).keys()


def test_only_metrics_with_a_direction_have_a_better_value(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"fd_ratio": 4.0, "coverage": 0.5, "classes_missing": 1.0, "label_kl": math.nan, "density": 0.5}
    bench.trial("aaa", [values], HEALTHY)
    bench.trial("bbb", [{name: value / 2 for name, value in values.items()} | {"label_kl": 0.3}], HEALTHY)
    bench.trial("ccc", [{**values, "coverage": 0.25}], HEALTHY)
    printed: list[Any] = []
    monkeypatch.setattr(tables, "show", lambda table, _: printed.append(table))
    results.compare.main(["aaa", "bbb", "ccc"], standalone_mode=False)
    (table,) = printed
    columns = [list(column.cells) for column in table.columns]
    bold = {
        name: [str(column[i].style) == "bold" for column in columns[1:]]
        for i, name in enumerate(columns[0])
        if name in values
    }
    assert bold == {
        "fd_ratio": [False, True, False],
        "coverage": [True, False, False],
        "classes_missing": [False, True, False],
        "label_kl": [False, True, False],
        "density": [False] * 3,
    }


def test_nothing_is_better_where_all_is_the_same(bench: Bench) -> None:
    assert results._best_of("fd_ratio", [3.0, 3.0]) is None
    assert results._best_of("fd_ratio", [3.0, None]) == 3.0
    assert results._best_of("fd_ratio", [math.nan, None]) is None
    add(bench, "aaa", 3.0)
    add(bench, "bbb", 3.0)
    assert_states(run("compare", "aaa", "bbb").stderr, "no setting")


def test_a_table_that_does_not_fit_keeps_every_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    for i in range(9):
        add(bench, f"{i}{'t' * 11}", 1000.0 + i, config=config(i))
    rows = rows_of(run("compare", *(f"{i}t" for i in range(9))).stdout)
    assert rows["seed"] == [str(i) for i in range(9)]
    assert len(rows["fd_ratio"]) == 9
    best = rows_of(run("best", "s").stdout)
    assert best["1"][:3] == ["0ttttttt", "1e-4", "0"]
    assert best["1"][-5:] == ["(9", "of", "9)", "completed", "healthy"]


def test_trials_of_several_sweeps_are_named_with_theirs(home: Home, bench: Bench) -> None:
    other = Folders(home, "zz")
    add(bench, "aaa", 3.0)
    add(other, "aaa", 3.0, sweep="zz")
    text = run("compare", "s/aaa", "zz/aaa").stdout
    assert text.splitlines()[1].split() == ["s", "zz"]
    assert text.splitlines()[2].split() == ["aaa", "aaa"]


def test_what_cannot_be_compared_is_refused(bench: Bench, home: Home, call: Call) -> None:
    add(bench, "aaa", 3.0)
    add(bench, "aab", 3.0)
    where = ("--home", home.path)
    assert_states(call("compare", "aaa", *where, code=2), "gansweep compare TRIAL TRIAL")
    assert "Missing argument" in call("compare", *where, code=2)
    assert_states(call("compare", "aaa", "aab", "s/aaa", *where), "s/aaa: ", "twice")
    assert_states(call("compare", "aaa", "aa", *where), "'aa'", "2 trials", "s/aaa, s/aab")
    assert call("compare", "aaa", "x", *where).startswith("no trial 'x'; ")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Two learning rates by two seeds, evaluated too seldom for any verdict."""
    service = Service(tmp_path_factory.mktemp("swept"), {})
    train(warm_home(service.home.path), service.write(steps=40, rates="[1e-3, 2e-3]", seeds=2, evaluations=1))
    return service


@pytest.mark.slow
def test_a_real_sweep(swept: Service) -> None:
    home = ("--home", swept.home.path)
    found = json.loads(run("best", "small", "--json", *home).stdout)
    trials = swept.folder().planned()
    last = {t.id: [r.values["fd_ratio"] for r in journal.read(t.journal) if "fd_ratio" in r.values][-1] for t in trials}
    assert found["ranked"] == 4
    assert [(t["id"], t["quality"]) for t in found["trials"]] == sorted(last.items(), key=lambda item: item[1])
    by_rate: dict[float, list[float]] = {}
    for trial in trials:
        by_rate.setdefault(read_json(trial.trial)["varied"]["training.learning_rate"], []).append(last[trial.id])
    for trial in found["trials"]:
        a, b = by_rate[trial["varied"]["training.learning_rate"]]
        assert trial["seeds_mean"] == pytest.approx(math.sqrt(a * b))
        assert Path(trial["samples"]).exists()
        assert Path(trial["checkpoint"]).exists()
    first, *_, worst = (t["id"] for t in found["trials"])
    a, b = json.loads(run("compare", first, worst, "--json", *home).stdout)["trials"]
    assert (a["metrics"]["fd_ratio"], b["metrics"]["fd_ratio"]) == (last[first], last[worst])
    assert a["metrics"].keys() >= {"density", "coverage", "effective_classes", "d_auc", "loss_g", "grad_norm_d"}
    assert not any(name.startswith("class_share/") for name in a["metrics"])


@pytest.mark.slow
def test_the_command_of_the_best_trial_plans_that_very_trial(swept: Service) -> None:
    (first,) = json.loads(run("best", "small", "--json", "--count", 1, "--home", swept.home.path).stdout)["trials"]
    words = shlex.split(first["command"])
    assert words[:2] == ["gansweep", "run"]
    planned, _ = swept.ask("plan", *words[2:], "--no-timing", "--json")
    assert [trial["id"] for trial in json.loads(planned)["trials"]] == [first["id"]]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["best", "compare"])
def test_nothing_heavy_is_loaded(swept: Service, command: str) -> None:
    words = ["small"] if command == "best" else [t.id for t in swept.folder().planned()]
    program = (
        "import sys; from gansweep.cli.main import cli\n"
        f"cli.main({[command, *words, '--json', '--home', str(swept.home.path)]}, standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) & HEAVY == set()


def test_figures_of_a_trial_mean_the_same_everywhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """steps/s is the median, the best value that of all evaluations, a metric's name its newest record."""
    values = [(12.0, 50.0), (4.0, 10.0), (4.0, 10.0), (7.0, 30.0)]
    records = [{"fd_ratio": quality, "steps_per_s": speed} for quality, speed in values]
    trial = bench.trial("aaa", records, HEALTHY, config=config())
    bench.trial("bbb", [{"fd_ratio": math.nan}], HEALTHY, config=config(1))
    expected = {"steps_per_s": 20.0, "quality": 7.0, "quality_step": 4, "best_value": 4.0, "best_step": 2}
    shown = json.loads(run("show", "aaa", "--json").stdout)
    (best,) = best_of()["trials"]
    a, b = compared("aaa", "bbb")["trials"]
    for found in (shown, best, a):
        assert {key: found[key] for key in expected} == expected
    assert (b["best_value"], b["best_step"], b["steps_per_s"]) == (None, None, None)
    assert shown["metrics"]["fd_ratio"] == a["metrics"]["fd_ratio"] == 7.0
    rows = rows_of(run("compare", "aaa", "bbb").stdout)
    assert rows["best"] == ["fd_ratio", "4", "–"]
    assert (rows["at"], rows["steps/s"]) == (["step", "2", "–"], ["20", "–"])
    for text in (run("show", "aaa").stdout, run("best", "s").stdout):
        reached = [line.partition("fd_ratio ")[2] for line in text.splitlines() if " at step " in line]
        assert reached == ["7 at step 4", "4 at step 2"]
    monkeypatch.setenv("COLUMNS", "160")
    status = run("status", "s").stdout
    assert "steps/s" in status
    assert "20" in next(line for line in status.splitlines() if trial.id in line).split()
