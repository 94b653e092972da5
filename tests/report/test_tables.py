"""Trial folders → a real SQLite store → tables: every number is that of the journals."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench import BEGAN, STEPS, Bench, append, empty_home, losses, sound

from gansweep import Judge, UserError, read_sweep
from gansweep.gan.sampling import grid_png
from gansweep.health.history import History
from gansweep.health.metrics import GPU_MEMORY, NONFINITE_STEP
from gansweep.health.verdict import Verdict
from gansweep.records import lock
from gansweep.records.devices import CPU, GPU, Device
from gansweep.records.layout import Home, TrialFolder, read_json, write_atomically, write_json
from gansweep.records.outcome import OUT_OF_MEMORY, Outcome
from gansweep.report.tables import Tables
from gansweep.sweeps.provenance import Provenance
from gansweep.tracking.context import tags
from gansweep.tracking.publisher import Publisher

NAN, INF = math.nan, math.inf
ROOT = Path(__file__).parents[2]
SOURCED = ["tracking_uri", "artifact"]  # columns that say where a sweep was read from
FRAMES = ("sweeps", "trials", "histories", "evaluations", "verdicts", "samples")


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return empty_home(tmp_path_factory.mktemp("tables") / "home")


@pytest.fixture
def bench(shared_home: Home, request: pytest.FixtureRequest) -> Bench:
    return Bench(shared_home, request.node.name.replace("[", "-").strip("]")[:60])


def read(bench: Bench) -> Tables:
    return read_sweep(bench.folder.name, home=bench.home.path)


def test_a_sweep_reads_the_same_from_its_folder_as_from_the_store(bench: Bench) -> None:
    provenance = Provenance("a bench", "c0ffee", False, {"torch": "2.0", "python": "3.11"})
    write_json(bench.folder.environment, asdict(provenance))
    ended = Outcome("completed", STEPS, verdicts=(Verdict("healthy", 0, "fine"),))
    for name, seed, rate in (("b", 0, 0.1), ("a", 1, 0.1), ("c", 0, 1e-05)):
        told = config(seed, learning_rate=rate, betas=[0.5, 0.9], name="1_000")
        trial = bench.trial(name, sound(9), ended, config=told, varied={"training.learning_rate": rate, "none": None})
        write_atomically(trial.sample(3), grid_png(np.full((4, 1, 8, 8), seed, np.uint8)))
        write_json(trial.evaluator, {"accuracy": 0.98765, "real_shares": {"10": 0.25, "9": 0.75}})
    append(trial, [{"loss_d": NAN, "class_share/9": INF, "steps_per_s": 3.0}])
    bench.trial("open", losses(4))
    bench.trial("crashed", losses(2), Outcome("crashed", 2, "ValueError: no"))
    bench.trial("pending")
    bench.trial("earlier", losses(2))
    plan = read_json(bench.folder.plan)
    Publisher(bench.home, bench.folder, bench.uri, tags(provenance)).publish(running=False)
    write_json(bench.folder.plan, {**plan, "command": "gansweep run x", "trials": plan["trials"][:-1]})
    Publisher(bench.home, bench.folder, bench.uri, tags(provenance)).publish(running=False)
    for all_plans in (False, True):
        here, there = (
            read_sweep(bench.folder.name, home=bench.home.path, source=source, all_plans=all_plans)
            for source in ("folder", "store")
        )
        assert here.settings == there.settings
        assert len(here.trials) == 5 + all_plans
        for name in FRAMES:
            left, right = (getattr(tables, name) for tables in (here, there))
            pd.testing.assert_frame_equal(
                left.drop(columns=SOURCED, errors="ignore"), right.drop(columns=SOURCED, errors="ignore")
            )
        for left, right in zip(here.samples.itertuples(), there.samples.itertuples(), strict=True):
            grid = here.content((left.sweep, left.trial), left.artifact)
            assert grid is not None
            assert grid == there.content((right.sweep, right.trial), right.artifact)
        assert here.content((bench.folder.name, "a"), "samples/gone.png") is None
    assert set(here.sweeps["tracking_uri"]) == {""}


def on(trial: TrialFolder, *cards: str) -> None:
    """Record the devices of a trial: the CPU, or cards by name."""
    found = [Device(GPU, card, "580.1", "2.11") if card else Device(CPU, torch="2.11") for card in cards]
    write_json(trial.devices, {"devices": [*map(asdict, found)]})


def test_replicates_on_different_devices_are_different_configurations(bench: Bench) -> None:
    """Whether they are read from the folder or from the store, and whether 0.1.0 or this version trained them."""
    told: dict[str, tuple[str, ...] | None] = {
        "a": ("",), "b": ("H100",), "c": ("H100", "H200"), "d": ("H100",),
        "old": None, "old on a gpu": None, "new": None,
    }  # fmt: skip
    for seed, (name, cards) in enumerate(told.items()):
        records = losses(2) if name != "new" else []
        trial = bench.trial(name.replace(" ", "-"), records, config=config(seed), varied={})
        if cards:
            on(trial, *cards)
        if name == "old on a gpu":
            append(trial, [{GPU_MEMORY: 1e9}])
    bench.publish()
    expected = ["CPU", "H100", "H100 + H200", "H100", "CPU", "GPU", ""]
    for source in ("folder", "store"):
        tables = read_sweep(bench.folder.name, home=bench.home.path, source=source)
        rows = {row["trial"]: row for row in tables.trials.to_dict("records")}
        names = [name.replace(" ", "-") for name in told]
        assert [rows[name]["device"] for name in names] == expected
        same: dict[int, list[str]] = {}
        for name in names:
            same.setdefault(rows[name]["configuration"], []).append(name)
        assert sorted(same.values()) == [["a", "old"], ["b", "d"], ["c"], ["new"], ["old-on-a-gpu"]]
        assert tables.settings == ("device",)
    sent = {name: run.data.tags for name, run in bench.runs().items()}
    assert [sent["c"][f"gansweep.{key}"] for key in ("device", "driver", "torch")] == ["H100 + H200", "580.1", "2.11"]
    assert (sent["a"]["gansweep.device"], sent["a"]["gansweep.torch"]) == ("CPU", "2.11")


def test_where_the_store_names_no_device_the_recorded_metrics_tell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As version 0.1.0 sent them."""
    bench.trial("cpu", losses(2))
    bench.trial("gpu", [{"loss_d": 1.0, GPU_MEMORY: 1e9}])
    bench.trial("new", [])
    with monkeypatch.context() as earlier:
        earlier.setattr("gansweep.records.devices.label", lambda folder: "")
        bench.publish()
    assert {row["trial"]: row["device"] for row in read(bench).trials.to_dict("records")} == {
        "cpu": "CPU", "gpu": "GPU", "new": ""
    }  # fmt: skip


def test_one_device_is_no_setting_in_which_trials_differ(bench: Bench) -> None:
    for seed, name in enumerate(("a", "b")):
        on(bench.trial(name, losses(2), config=config(seed), varied={}), "H100")
    bench.trial("pending", config=config(2), varied={})
    bench.trial("begun", [], config=config(3), varied={})
    bench.publish()
    assert read(bench).settings == ()


def test_a_sweep_without_a_store_is_read_from_its_folder(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write_json(home.sweep("s").plan, {"trials": ["a"]})
    write_json(home.sweep("s").trial("a").trial, {"steps": 3})
    assert len(read_sweep("s", home=str(tmp_path), source="folder").trials) == 0
    with pytest.raises(UserError, match="no sweep named 't'; known: 's'"):
        read_sweep("t", home=tmp_path, source="folder")
    assert not home.database.exists()


def config(seed: int = 3, **training: Any) -> dict[str, Any]:
    return {"seed": seed, "training": training, "dataset": {"path": None}}


def by_trial(tables: Tables) -> dict[str, dict[str, Any]]:
    """Trial → column → value, None where it is missing."""
    return {row["trial"]: row for row in tables.trials.to_dict("records")}


def test_a_trial_is_told_in_a_row(bench: Bench) -> None:
    records = [{**values, "steps_per_s": speed} for values, speed in zip(sound(4), (9.0, 7.0, 50.0, 8.0), strict=True)]
    trial = bench.trial(
        "a" * 12,
        records,
        varied={"training.learning_rate": 0.1 + 0.2},
        config=config(training_note=1, learning_rate=0.1 + 0.2),
        parameters={"generator": 5, "discriminator": 6},
    )
    features = {"features": {"name": "imagenet", "resolution": 224}}
    write_json(trial.evaluator, {**features, "accuracy": 0.987654, "real_shares": {"10": 0.25, "9": 0.75}})
    bench.publish()
    tables = read(bench)
    (row,) = tables.trials.to_dict("records")
    (verdict,) = Judge().conclude(History.of(enumerate(records, 1), STEPS))
    assert row["run_id"] == bench.runs()["a" * 12].info.run_id
    del row["run_id"]
    assert row == {
        "sweep": bench.folder.name, "trial": "a" * 12, "configuration": 0, "seed": 3, "planned": True,
        "outcome": "interrupted",
        "verdict": "undecided", "states": "", "failed": False, "since_step": None, "reason": verdict.reason, "rule": "",
        "step": 4,
        "steps": STEPS, "quality": 50.0, "quality_step": 4, "best_value": 50.0, "best_step": 4, "rank": 1,
        "wall_s": 3.0,
        "started": pd.Timestamp(BEGAN + 1, unit="s", tz="UTC"),
        "steps_per_s": 8.5, "features": "imagenet", "features_resolution": 224, "evaluator_accuracy": 0.9877,
        "parameters.generator": 5, "parameters.discriminator": 6,
        "device": "CPU", "data_fingerprint": "f", "real_shares": {"10": 0.25, "9": 0.75},
        "training.learning_rate": 0.1 + 0.2, "training.training_note": 1,
    }  # fmt: skip
    assert tables.settings == ("training.learning_rate",)


def test_a_trial_of_which_nothing_is_recorded(bench: Bench) -> None:
    bench.trial("a", [])
    bench.publish()
    tables = read(bench)
    (row,) = tables.trials.to_dict("records")
    assert [row[name] for name in ("step", "rank", "since_step", "parameters.discriminator")] == [None] * 4
    assert all(math.isnan(row[name]) for name in ("quality", "wall_s", "steps_per_s", "evaluator_accuracy"))
    assert (row["verdict"], row["real_shares"]) == ("undecided", {})
    assert (len(tables.histories), len(tables.evaluations), len(tables.samples)) == (0, 0, 0)


def test_settings_are_typed(bench: Bench) -> None:
    values = [
        {"rate": 1, "maps": 8, "on": True, "some": 1, "maybe": True, "word": "a", "list": [0.5, 0.9], "mixed": 1},
        {"rate": 1e-05, "maps": 16, "on": False, "word": "1_000", "list": [1], "mixed": "auto"},
    ]
    for name, training in zip("ab", values, strict=True):
        varied = {"training.rate": training["rate"], "training.list": training["list"]}
        bench.trial(name, losses(1), config=config(**training), varied=varied)
    bench.publish()
    trials = read(bench).trials
    kinds = {"rate": "float64", "maps": "int64", "on": "bool", "some": "Int64", "maybe": "boolean"}
    assert {name: str(trials[f"training.{name}"].dtype) for name in kinds} == kinds
    columns = {name: trials[f"training.{name}"].tolist() for name in values[0]}
    assert columns == {
        "rate": [1.0, 1e-05], "maps": [8, 16], "on": [True, False], "some": [1, pd.NA], "maybe": [True, pd.NA],
        "word": ["a", "1_000"], "list": ["[0.5, 0.9]", "[1]"], "mixed": ["1", "auto"],
    }  # fmt: skip
    assert [c for c in trials.columns if c.startswith("training.")] == [
        "training.rate", "training.list", "training.maps", "training.maybe", "training.mixed", "training.on",
        "training.some", "training.word",
    ]  # fmt: skip


def test_a_configuration_is_what_seeds_share(bench: Bench) -> None:
    for name, seed, rate in (("a", 0, 0.1), ("b", 0, 0.2), ("c", 1, 0.1), ("d", 1, 0.2)):
        bench.trial(name, losses(1), config=config(seed, learning_rate=rate), varied={"training.learning_rate": rate})
    bench.trial("e", losses(1), config=config(2, learning_rate=0.1), data={"fingerprint": "other"})
    bench.publish()
    assert {name: row["configuration"] for name, row in by_trial(read(bench)).items()} == {
        "a": 0, "b": 1, "c": 0, "d": 1, "e": 2,
    }  # fmt: skip


def test_the_best_that_did_not_fail_comes_first(bench: Bench) -> None:
    best = {"good": 5.0, "tied": 5.0, "worse": 9.0, "infinite": INF, "unknown": NAN}
    for name, quality in best.items():
        bench.trial(name, [*sound(STEPS - 1), {**sound(STEPS)[-1], "fd_ratio": quality}])
    bench.trial("collapsed", sound(STEPS, density=1.2, coverage=0.1, fd_ratio=1.0))
    bench.trial("crashed", sound(STEPS, fd_ratio=2.0), Outcome("crashed", STEPS, "ValueError: no"))
    bench.publish()
    found = by_trial(read(bench))
    ranks = {name: row["rank"] for name, row in found.items() if row["rank"] is not None}
    assert ranks == {"good": 1, "tied": 1, "worse": 3}
    assert [name for name, row in found.items() if row["failed"]] == ["collapsed", "crashed"]
    assert found["infinite"]["quality"] == INF


def test_quality_is_what_the_sweep_asked_for(bench: Bench) -> None:
    for name, value in (("a", 0.2), ("b", 0.4)):
        bench.trial(name, [{"density": 9.0}, {"density": value}, {"loss_d": 1.0}])
    plan = {**read_json(bench.folder.plan), "objective": {"metric": "density", "mode": "max"}}
    write_json(bench.folder.plan, {**plan, "command": "gansweep run my/s.yaml", "file": "my/s.yaml", "to_come": 3})
    bench.publish()
    tables = read(bench)
    assert {name: (row["quality"], row["rank"]) for name, row in by_trial(tables).items()} == {
        "a": (0.2, 2), "b": (0.4, 1),
    }  # fmt: skip
    (sweep,) = tables.sweeps.to_dict("records")
    assert (sweep["objective"], sweep["mode"], sweep["to_come"]) == ("density", "max", 3)
    assert sweep["path"] == "my/s.yaml"


def test_what_ended_a_trial(bench: Bench) -> None:
    collapse = Verdict("mode_collapse", 7, "mode collapse since step 7: few")
    dropping = Verdict("mode_dropping", 6, "mode dropping since step 6: two")
    ends = {
        "stopped": Outcome("stopped", 9, dropping.reason, (collapse, dropping), "mode_dropping"),
        "asha": Outcome("stopped", 9, "asha", rule="asha"),
        "crashed": Outcome("crashed", 9, "ValueError: no"),
        "no-memory": Outcome("crashed", 9, "out of GPU memory: no", rule=OUT_OF_MEMORY),
        "completed": Outcome("completed", STEPS, verdicts=(collapse,)),
    }
    for name, ended in ends.items():
        bench.trial(name, losses(9), ended, steps=9)
    bench.publish()
    found = by_trial(read(bench))
    assert {name: (row["outcome"], row["rule"]) for name, row in found.items()} == {
        "stopped": ("stopped", "mode_dropping"), "asha": ("stopped", "asha"), "crashed": ("crashed", ""),
        "completed": ("completed", ""), "no-memory": ("crashed", "out_of_memory"),
    }  # fmt: skip
    assert found["crashed"]["reason"] == "ValueError: no"


def test_histories_are_those_of_the_journals(bench: Bench) -> None:
    values = [1.0, NAN, INF, -INF]
    bench.trial("a", [{"loss_d": v, "steps_per_s": 2.0, NONFINITE_STEP: 2.0, "fd_ratio": 1.0} for v in values])
    bench.trial("b", losses(2))
    bench.publish()
    found = read(bench).histories
    assert found.groupby(["trial", "metric"], sort=False).size().to_dict() == {
        ("a", "loss_d"): 4, ("a", NONFINITE_STEP): 4, ("a", "steps_per_s"): 4, ("b", "loss_d"): 2, ("b", "loss_g"): 2,
    }  # fmt: skip
    loss = found[(found.trial == "a") & (found.metric == "loss_d")]
    assert loss.step.tolist() == [1, 2, 3, 4]
    assert loss.value.tolist() == pytest.approx(values, rel=0, nan_ok=True)
    assert loss.time.tolist() == [pd.Timestamp(BEGAN + s, unit="s", tz="UTC") for s in (1, 2, 3, 4)]
    assert set(found.sweep) == {bench.folder.name}


def test_evaluations_stand_side_by_side(bench: Bench) -> None:
    shares = {f"class_share/{name}": 0.5 for name in ("2", "10", "1")}
    first = bench.trial(
        "a", [{"loss_d": 1.0, "d_auc": 0.5, "fd_ratio": 4.0, **shares}, {"loss_d": 1.0}, {"d_auc": INF}]
    )
    write_json(first.evaluator, {"real_shares": {"1": 0.3, "2": 0.3, "10": 0.4}})
    bench.trial("b", [{"density": 0.1, "class_share/other": 1.0}])
    bench.publish()
    found = read(bench).evaluations
    classes = ["class_share/1", "class_share/2", "class_share/10", "class_share/other"]
    assert [*found.columns] == ["sweep", "trial", "step", "time", "fd_ratio", "density", "d_auc", *classes]
    assert found[["trial", "step"]].to_numpy().tolist() == [["a", 1], ["a", 3], ["b", 1]]
    expected = [
        [4, NAN, 0.5, 0.5, 0.5, 0.5, NAN],
        [NAN, NAN, INF, NAN, NAN, NAN, NAN],
        [NAN, 0.1, NAN, NAN, NAN, NAN, 1],
    ]
    np.testing.assert_array_equal(found.iloc[:, 4:].to_numpy(), expected)
    assert found.time.tolist() == [pd.Timestamp(BEGAN + s, unit="s", tz="UTC") for s in (1, 3, 1)]


def test_verdicts_are_judged_anew(bench: Bench) -> None:
    records = sound(STEPS, density=1.2, coverage=0.1, fd_ratio=200.0, d_auc=0.999, d_fresh=0.01)
    bench.trial("a", records, Outcome("completed", STEPS, verdicts=(Verdict("healthy", 0, "so it seemed"),)))
    bench.trial("b", sound(STEPS))
    bench.publish()
    tables = read(bench)
    found = tables.verdicts[tables.verdicts.trial == "a"].to_dict("records")
    expected = Judge().conclude(History.of(enumerate(records, 1), STEPS))
    assert len(expected) > 1
    assert found == [
        {
            "sweep": bench.folder.name, "trial": "a", "place": place, "kind": verdict.kind,
            "failure": verdict.is_failure, "since_step": verdict.since_step, "reason": verdict.reason,
            "evidence": verdict.evidence,
        }
        for place, verdict in enumerate(expected)
    ]  # fmt: skip
    row = by_trial(tables)["a"]
    assert [row[k] for k in ("verdict", "since_step", "reason")] == [
        getattr(expected[0], k) for k in ("kind", "since_step", "reason")
    ]
    assert {name: row["states"] for name, row in by_trial(tables).items()} == {"a": "discriminator_won", "b": ""}
    assert tables.verdicts[tables.verdicts.trial == "b"].since_step.tolist() == [pd.NA]


def test_samples_are_asked_for_when_they_are_wanted(bench: Bench) -> None:
    trial = bench.trial("a", losses(1))
    bench.publish()
    tables = read(bench)
    for step in (100, 20):  # after the reading
        write_atomically(trial.sample(step), grid_png(np.zeros((4, 1, 8, 8), np.uint8)))
    bench.publish()
    assert tables.samples[["sweep", "trial", "step"]].to_numpy().tolist() == [
        [bench.folder.name, "a", 20], [bench.folder.name, "a", 100],
    ]  # fmt: skip
    assert all(re.fullmatch(r"images/samples\+step\+\d+\+.*\.png", path) for path in tables.samples.artifact)
    assert tables.samples is tables.samples


def test_a_sweep_that_runs(bench: Bench) -> None:
    trial = bench.trial("a", losses(3))
    with lock.acquire(trial.lock):
        bench.publish(running=True)
        append(trial, losses(3))
        assert read(bench).trials[["outcome", "step"]].to_numpy().tolist() == [["running", 3]]
        bench.publish(running=True)
    assert read(bench).trials.step.tolist() == [6]


def test_several_sweeps_stand_below_each_other(bench: Bench, shared_home: Home) -> None:
    other = Bench(shared_home, f"{bench.folder.name}-2")
    for one, keys in ((bench, ("training.a", "training.b")), (other, ("training.b", "training.c"))):
        varied = dict.fromkeys(keys, 1)
        one.trial("a", sound(2), varied=varied, config=config(**{key.partition(".")[2]: 1 for key in keys}))
        one.publish()
    names = (bench.folder.name, other.folder.name)
    tables = read_sweep(*names, names[0], home=shared_home.path)
    assert tables.settings == ("training.a", "training.b", "training.c")
    for name in ("sweeps", "trials", "verdicts"):
        assert getattr(tables, name).sweep.tolist() == [*names]
    assert tables.trials[[*tables.settings]].to_numpy().tolist() == [[1, 1, pd.NA], [pd.NA, 1, 1]]
    assert tables.trials["rank"].tolist() == [1, 1]
    assert tables.trials.configuration.tolist() == [0, 0]
    assert tables.histories.drop_duplicates(["sweep", "trial"]).sweep.tolist() == [*names]


def test_sweeps_of_several_stores(bench: Bench, shared_home: Home, tmp_path: Path) -> None:
    """Each is asked of the store that it was sent to, its samples as well."""
    away = Bench(empty_home(tmp_path / "away"), "away")
    for one in (bench, away):
        write_atomically(one.trial("a", losses(1)).sample(20), grid_png(np.zeros((4, 1, 8, 8), np.uint8)))
        one.publish()
    here = shared_home.sweep("away")
    shutil.copytree(away.folder.path, here.path)
    write_json(here.tracking, {**read_json(here.tracking), "uri": away.uri})
    tables = read_sweep(bench.folder.name, "away", home=shared_home.path)
    assert tables.trials.run_id.tolist() == [one.runs()["a"].info.run_id for one in (bench, away)]
    assert tables.samples.sweep.tolist() == [bench.folder.name, "away"]


def test_tables_without_rows_have_their_columns(bench: Bench) -> None:
    bench.trial("a", [{"loss_d": 1.0, "fd_ratio": 1.0}])
    bench.publish()
    full, empty = read(bench), read_sweep(home=bench.home.path)
    for name in FRAMES:
        of_full, of_empty = getattr(full, name).dtypes.to_dict(), getattr(empty, name).dtypes.to_dict()
        varying = {c for c in of_full if c.startswith(("version.", "training.")) or c == "fd_ratio"}
        assert of_empty == {column: kind for column, kind in of_full.items() if column not in varying}, name
        assert len(getattr(empty, name)) == 0


def test_the_home_is_that_of_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    monkeypatch.setenv("GANSWEEP_HOME", str(bench.home.path))
    assert len(read_sweep(bench.folder.name).trials) == 1
    monkeypatch.delenv("GANSWEEP_HOME")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/gansweep-home: nothing is recorded yet")):
        read_sweep(bench.folder.name)
    assert len(read_sweep(bench.folder.name, tracking_uri=bench.uri).trials) == 1
    with pytest.raises(UserError, match="no sweep named 'nobody'; "):
        read_sweep(bench.folder.name, "nobody", tracking_uri=bench.uri)


def test_the_document_names_every_column(bench: Bench) -> None:
    trial = bench.trial("a", [{**sound(1)[0], "class_share/0": 1.0}], config=config(learning_rate=0.1))
    write_atomically(trial.sample(20), grid_png(np.zeros((4, 1, 8, 8), np.uint8)))
    versions = {"gansweep.version.torch": "2.15.0", "gansweep.version.ray": "2.60.0"}
    Publisher(bench.home, bench.folder, bench.uri, versions).publish(running=False)
    tables = read(bench)
    assert tables.sweeps["version.torch"].tolist() == ["2.15.0"]
    sections = re.split(r"^## ", (ROOT / "docs" / "tables.md").read_text(), flags=re.MULTILINE)[1:]
    documented = {
        section.split()[0]: [
            n for cell in re.findall(r"^\| (`.*?) \|", section, re.M) for n in re.findall("`(.+?)`", cell)
        ]
        for section in sections
    }
    groups = {"training.learning_rate": "KEY", "class_share/0": "class_share/CLASS"}
    for name in FRAMES:
        columns = [groups.get(c, re.sub(r"^version\..*", "version.PACKAGE", c)) for c in getattr(tables, name).columns]
        if name == "evaluations":  # the metrics stand in operation.md
            columns = [*columns[:4], "METRIC", "class_share/CLASS"]
        assert documented[name] == [*dict.fromkeys(columns)], name
