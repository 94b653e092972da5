"""`gansweep diagnose`, on a real SQLite store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import stored
from bad_calls import Call
from bench import STEPS, Bench, empty_home, losses, sound
from click.testing import CliRunner, Result
from facts import assert_states

import gansweep
from gansweep.cli.main import cli
from gansweep.cli.text import verdict_colour
from gansweep.health.history import History
from gansweep.health.judge import Judge
from gansweep.health.metrics import NONFINITE_STEP
from gansweep.health.verdict import FAILURES, INFORMATION, STATES
from gansweep.records import lock
from gansweep.records.layout import Home, read_json, write_json
from gansweep.records.outcome import OUT_OF_MEMORY, Outcome

KINDS: Mapping[str, Mapping[str, float]] = {
    "healthy": {},
    "mode_collapse": {"density": 1.2, "coverage": 0.1, "fd_ratio": 200.0, "d_auc": 0.999, "d_fresh": 0.01},
    "divergence": {"loss_d": float("nan"), NONFINITE_STEP: 1.0},
    "undecided": {"fd_ratio": float("inf")},
}
RATES = (1e-3, 0.2, 0.02, 1e-4)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return empty_home(tmp_path_factory.mktemp("diagnose") / "home")


@pytest.fixture
def bench(shared_home: Home, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A sweep of the test's own, in the home that the command is told of."""
    monkeypatch.setenv("GANSWEEP_HOME", str(shared_home.path))
    return Bench(shared_home, request.node.name.replace("[", "-").strip("]")[:60])


@pytest.fixture(scope="module")
def judged(shared_home: Home) -> Bench:
    """A trial a kind, published: completed, stopped, stopped, interrupted. Only to be looked at."""
    bench = Bench(shared_home, "judged")
    ends = (Outcome("completed", STEPS), Outcome("stopped", STEPS), Outcome("stopped", STEPS), None)
    for (kind, values), rate, ended in zip(KINDS.items(), RATES, ends, strict=True):
        varied = {"training.learning_rate": rate, "training.beta1": 0.5}
        bench.trial(f"{kind}-{'0' * 12}", sound(STEPS, **values), ended, varied=varied)
    bench.publish()
    return bench


def diagnose(bench: Bench, *options: object, width: int = 150) -> Result:
    environment = {"COLUMNS": str(width), "GANSWEEP_HOME": str(bench.home.path)}
    result = CliRunner().invoke(cli, ["diagnose", bench.folder.name, *map(str, options)], env=environment)
    assert result.exit_code == 0, result.output
    return result


def rows(text: str) -> list[list[str]]:
    """Cells of every line of a table, beginning with its heading; columns are set apart by two spaces here."""
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip()]
    return [line for line in lines if not line[0].startswith("──")]


def test_a_row_tells_what_is_wrong_since_when_and_why(judged: Bench) -> None:
    result = diagnose(judged)
    heading, *found = rows(result.stdout)
    assert heading == ["trial", "learning_rate", "beta1", "outcome", "verdict", "since", "reason"]
    collapse, healthy = next(r for r in found if r[0] == "mode_col"), next(r for r in found if r[0] == "healthy-")
    assert healthy[:5] == ["healthy-", "1e-3", "0.5", "completed", "healthy"]
    assert "no failure" in healthy[5]
    assert collapse[:5] == ["mode_col", "0.2", "0.5", "stopped", "mode collapse"]
    assert re.fullmatch(r"\d+", collapse[5])
    assert_states(collapse[6], "10", "real images")
    divergence = next(r for r in found if r[0] == "divergen")
    assert divergence[:6] == ["divergen", "0.02", "0.5", "stopped", "divergence", "1"]
    assert_states(divergence[6], "loss_d", "nan")
    assert next(r for r in found if r[0] == "undecide")[3] == "interrupted"
    assert result.stderr == "judged: 1 divergence, 1 mode collapse, 1 healthy, 1 undecided\n"


def test_further_verdicts_stand_below(judged: Bench) -> None:
    _, *found = rows(diagnose(judged, width=250).stdout)
    below = found[[row[0] for row in found].index("mode_col") + 1]
    assert below[:2] == ["discriminator won", "2"]
    assert_states(below[2], "AUC 0.999", "σ(D(G)) 0.01", "loss_d 1", "loss_g 1")


def test_who_won_is_the_same_at_the_end_of_a_trial_and_afterwards(bench: Bench) -> None:
    """`status` and MLflow show what the run found, `diagnose` and tables judge its metrics anew."""
    won = {"d_auc": 0.999, "d_fresh": 0.01}
    records = sound(20) + [values | won for values in sound(STEPS)[20:]]
    verdicts = Judge().conclude(History.of(enumerate(records, 1), STEPS))
    bench.trial("a", records, Outcome("completed", STEPS, verdicts=verdicts))
    bench.publish()
    name = bench.folder.name
    told = CliRunner().invoke(cli, ["status", name, "--json"], env={"GANSWEEP_HOME": str(bench.home.path)})
    (state,) = json.loads(told.stdout)["trials"][0]["states"]
    assert (state["kind"], state["figures"]["d_auc"]) == ("discriminator_won", 0.999)
    assert 20 - 5 < state["since_step"] <= 21, "where the window of medians begins"
    (trial,) = json.loads(diagnose(bench, "--json").stdout)["trials"]
    tag, judged = trial["verdicts"]
    assert tag["kind"] == "healthy"
    assert {**judged, "evidence": None} == {
        "kind": state["kind"], "since_step": state["since_step"], "reason": state["reason"], "evidence": None,
    }  # fmt: skip
    assert judged["evidence"]["figures"] == state["figures"]
    assert [*gansweep.read_sweep(name, home=bench.home.path).trials["states"]] == ["discriminator_won"]
    assert bench.runs()["a"].data.tags["gansweep.states"] == "discriminator_won"


def test_values_are_compared_with_the_best_trial_that_has_not_failed(bench: Bench) -> None:
    """By the objective, which is not among the metrics that verdicts need; below the verdicts, as it is none."""
    for name, mine, fails in (("best", 0.5, {}), ("fair", 1.25, {}), ("failed", 0.1, KINDS["mode_collapse"])):
        bench.trial(name, sound(STEPS, fid=mine, **fails), Outcome("completed", STEPS))
    bench.trial("crashed", sound(STEPS, fid=0.01), Outcome("crashed", STEPS, "ValueError: no"))
    write_json(bench.folder.plan, {**read_json(bench.folder.plan), "objective": {"metric": "fid", "mode": "min"}})
    bench.publish()
    expected = {
        "best": "",
        "fair": "FID 2.5 × the best",
        "failed": "FID 0.2 × the best",
        "crashed": "FID 0.02 × the best",
    }
    for source in ("store", "folder"):
        trials = json.loads(diagnose(bench, "--json", "--from", source).stdout)["trials"]
        assert {trial["id"]: trial["remark"] for trial in trials} == expected
    lines = rows(diagnose(bench, width=250).stdout)
    at = [line[0] for line in lines].index("failed")
    assert [line[0] for line in lines[at + 1 : at + 3]] == ["discriminator won", "remark"]
    assert lines[at + 2] == ["remark", "FID 0.2 × the best"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_narrow_terminals_lose_no_word(judged: Bench, width: int) -> None:
    narrow, wide = diagnose(judged, width=width).stdout, diagnose(judged, width=200).stdout
    assert max(map(len, narrow.splitlines())) <= width
    shown = re.split(r"[\s=()]+", narrow)
    missing = {word for word in re.split(r"[\s()]+", wide) if word not in shown and not word.startswith("──")}
    assert missing == {"outcome", "completed"}
    assert ("learning_rate=0.2" in narrow) == (width == 60)


def test_a_crash_for_want_of_memory_is_told_from_others(bench: Bench) -> None:
    bench.trial("code", sound(STEPS), Outcome("crashed", STEPS, "ValueError: no"))
    bench.trial("memory", sound(STEPS), Outcome("crashed", STEPS, "out of GPU memory: no", rule=OUT_OF_MEMORY))
    bench.publish()
    assert {row[0]: row[2] for row in rows(diagnose(bench, width=200).stdout)[1:]} == {
        "code": "crashed",
        "memory": "out of memory",
    }
    trials = json.loads(diagnose(bench, "--json").stdout)["trials"]
    assert {trial["id"]: trial["rule"] for trial in trials} == {"code": "", "memory": OUT_OF_MEMORY}


def test_seeds_are_shown_where_there_are_several(bench: Bench) -> None:
    for seed in (0, 7):
        bench.trial(f"of-seed-{seed}", sound(STEPS), config={"seed": seed})
    bench.publish()
    heading, *found = rows(diagnose(bench, width=200).stdout)
    assert heading[1:3] == ["learning_rate", "seed"]
    assert [row[2] for row in found] == ["0", "7"]


def test_json(judged: Bench) -> None:
    result = diagnose(judged, "--json")
    document = json.loads(result.stdout)
    assert (document.keys(), result.stderr) == ({"sweep", "earlier", "trials"}, "")
    assert document["sweep"] == "judged"
    assert [trial["id"].rstrip("-0") for trial in document["trials"]] == [*KINDS]
    for trial in document["trials"]:
        kind = trial["id"].rstrip("-0")
        assert trial.keys() == {"id", "varied", "rule", "verdicts", "remark"}
        assert trial["varied"] == {"training.learning_rate": RATES[[*KINDS].index(kind)], "training.beta1": 0.5}
        history = History.of(enumerate(sound(STEPS, **KINDS[kind]), 1), STEPS)
        assert trial["verdicts"] == [verdict.to_json() for verdict in Judge().conclude(history)]
        assert trial["verdicts"][0]["kind"] == kind


def test_critics_are_judged_as_such(bench: Bench) -> None:
    still = sound(STEPS, d_auc=1.0, d_fresh=0.0, fd_ratio=200.0)
    for loss in ("hinge", "wasserstein_gp"):
        varied = {"training.loss": loss}
        config = {"seed": 0, "training": {"loss": loss}}
        bench.trial(f"{loss[:5]}-0", still, Outcome("completed", STEPS), varied=varied, config=config)
    bench.publish()
    document = json.loads(diagnose(bench, "--json").stdout)
    found = {trial["id"]: {verdict["kind"] for verdict in trial["verdicts"]} for trial in document["trials"]}
    told = {*STATES, "critic_stalled"}
    assert {name: kinds & told for name, kinds in found.items()} == {
        "hinge-0": {"discriminator_won"}, "wasse-0": {"critic_stalled"},
    }  # fmt: skip
    assert_states(diagnose(bench, width=250).stdout, "critic", "AUC 1.000")


def test_a_sweep_that_runs(bench: Bench) -> None:
    trial = bench.trial("a", sound(STEPS)[:55])
    with lock.acquire(trial.lock):
        bench.publish(running=True)
        result = diagnose(bench)
    assert rows(result.stdout)[1][:4] == ["a", "1e-4", "running", "healthy"]


def test_other_thresholds(judged: Bench, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.yaml"
    file.write_text("mode_collapse: {coverage: 0.05, duplicates: 0.9}\nmode_dropping: {missing: 3}\n")
    result = diagnose(judged, "--thresholds", file)
    assert result.stderr == "judged: 1 divergence, 2 healthy, 1 undecided\n"


def test_a_sweep_is_judged_by_its_own_thresholds_unless_others_are_given(bench: Bench, tmp_path: Path) -> None:
    covered = sound(STEPS, **KINDS["mode_collapse"])
    bench.trial("a", covered, Outcome("completed", STEPS))
    own = {"mode_collapse": {"coverage": 0.05, "duplicates": 0.9}, "mode_dropping": {"missing": 3}}
    write_json(bench.folder.plan, {**read_json(bench.folder.plan), "thresholds": own})
    bench.publish()
    name = bench.folder.name
    assert diagnose(bench).stderr == f"{name}: 1 healthy\n"
    found = stored.sweep(bench.home, bench.uri, name)
    assert [one.kind for one in found.judge.conclude(found.trials[0].history)] == ["healthy", "discriminator_won"]
    assert [*gansweep.read_sweep(name, home=bench.home.path).trials["verdict"]] == ["healthy"]
    file = tmp_path / "thresholds.yaml"
    file.write_text("mode_collapse: {coverage: 0.5}\n")
    assert diagnose(bench, "--thresholds", file).stderr == f"{name}: 1 mode collapse\n"


@pytest.mark.parametrize(
    ("text", "place", "facts"),
    [
        ("mode_colapse: {coverage: 0.4}", "1:1: mode_colapse", ["did you mean mode_collapse"]),
        ("mode_collapse:\n  coverge: 0.4", "2:3: mode_collapse.coverge", ["did you mean coverage"]),
        ("mode_collapse:\n  zzz: 0.4", "2:3: mode_collapse.zzz", ["unknown key", ", coverage, "]),
        ("mode_collapse: {coverage: 2}", "1:27: mode_collapse.coverage", ["at most 1.0", "got 2"]),
        ("mode_collapse: {coverage: high}", "1:27: mode_collapse.coverage", ["number", "'high'"]),
        ("mode_collapse: {coverage: .nan}", "1:27: mode_collapse.coverage", ["finite number", "got nan"]),
        ("mode_collapse: {window: 1}", "1:16: mode_collapse", ["need", "window", "1", "got 2"]),
        ("mode_collapse: 0.4", "1:16: mode_collapse", ["mapping", "got 0.4"]),
        ("divergence: {need: 2}", "1:1: divergence", ["known here: dead_generator, "]),
        ("mode_collapse: [", "1:17", ["not valid YAML"]),
        ("mode_collapse: {coverage: 0.4, coverage: 0.5}", "1:32: mode_collapse.coverage", ["twice"]),
        ("- 0.4", "1:1", ["mapping", "`gansweep diagnose --help`"]),
        ("", "1:1", ["mapping", "`gansweep diagnose --help`"]),
    ],
)
def test_faults_of_thresholds(call: Call, text: str, place: str, facts: list[str]) -> None:
    Path("t.yaml").write_text(text)
    found = call("diagnose", "any", "--thresholds", "t.yaml")
    assert found.count("\n") == 1
    assert found.startswith(f"t.yaml:{place}: ")
    assert_states(found.removeprefix(f"t.yaml:{place}: "), *facts)


def test_all_faults_of_thresholds_are_reported_at_once(call: Call) -> None:
    Path("t.yaml").write_text("mode_collapse: {coverage: 2}\nimbalance: {kl: -1}")
    assert call("diagnose", "any", "--thresholds", "t.yaml") == (
        "t.yaml:1:27: mode_collapse.coverage: must be at most 1.0, got 2\n"
        "t.yaml:2:17: imbalance.kl: must be at least 0.0, got -1\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("gone.yaml", None, "no such file"),
        ("folder", None, "is a folder"),
        ("t.yaml", b"\xff", "not UTF-8"),
        ("t.yaml", b"#" * 1_000_001, "larger than 1 MB"),
    ],
    ids=["gone", "folder", "bytes", "large"],
)
def test_thresholds_that_cannot_be_read(call: Call, name: str, content: bytes | None, problem: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    elif name == "folder":
        Path(name).mkdir()
    assert call("diagnose", "any", "--thresholds", name).startswith(f"{name}: {problem}")


def test_a_sweep_without_evaluations(bench: Bench, call: Call) -> None:
    bench.trial("a", losses(STEPS), Outcome("completed", STEPS))
    bench.publish()
    name = bench.folder.name
    for options in ((), ("--json",)):
        assert_states(call("diagnose", name, *options), f"{name}: no evaluations", "evaluation.per_run: 25")
    bench.trial("b", [{"loss_d": 1.0}, {"loss_d": float("nan"), NONFINITE_STEP: 2.0}])
    bench.publish()
    assert_states(diagnose(bench).stderr, name, "1 divergence", "1 undecided")


def test_a_sweep_of_which_nothing_began(bench: Bench, call: Call) -> None:
    bench.trial("a")
    bench.publish()
    name = bench.folder.name
    assert_states(call("diagnose", name), f"{name}: no trial", f"`gansweep status {name}`")


def test_where_there_is_nothing(bench: Bench, call: Call, tmp_path: Path) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    name, home = bench.folder.name, bench.home.path
    assert_states(call("diagnose", f"{name}x"), f"{home}: ", f"'{name}x'", "did you mean", f"'{name}'")
    assert_states(call("diagnose", name, "--home", tmp_path / "new"), f"{tmp_path}/new: ", "`gansweep run FILE`")
    assert not (tmp_path / "new").exists()
    given = "--tracking-uri ftp://a"
    assert_states(call("diagnose", name, *given.split()), given, "http://", "https://", "sqlite:///")
    assert_states(call("diagnose", name, "--tracking-uri", "http://127.0.0.1:9"), "http://127.0.0.1:9", "no MLflow")


def test_the_store_that_the_sweep_was_sent_to_is_asked(judged: Bench, call: Call, tmp_path: Path) -> None:
    name, here, uri = judged.folder.name, Home(tmp_path / "other"), f"sqlite:///{tmp_path}/gone.db"
    write_json(here.sweep(name).plan, {"trials": []})
    write_json(here.sweep(name).tracking, {"uri": uri, "experiment_id": "1", "parent_run_id": "p", "sweep_id": "s"})
    assert call("diagnose", name, "--home", here.path).startswith(f"{uri}: ")
    assert diagnose(judged, "--home", here.path, "--tracking-uri", judged.uri).stderr.startswith("judged: 1 ")


def test_each_group_of_verdicts_has_a_colour_of_its_own() -> None:
    groups: tuple[tuple[Any, ...], ...] = (FAILURES, ("healthy",), ("undecided",), STATES, INFORMATION)
    colours = [{verdict_colour(kind) for kind in group} for group in groups]
    assert [len(group) for group in colours] == [1, 1, 1, 1, 1]
    assert len(set.union(*colours)) == 5
