"""Trial folders → a real SQLite store → the same histories, and the same verdicts."""

from __future__ import annotations

import itertools
import json
import math
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import stored
from bench import STEPS, Bench, append, losses, sound
from hypothesis import given, settings
from hypothesis import strategies as st

from gansweep.errors import UserError
from gansweep.features import is_compared
from gansweep.gan.sampling import grid_png
from gansweep.health.history import History, traits
from gansweep.health.judge import Judge
from gansweep.health.metrics import CRITIC_REAL, CRITIC_TRAINING, EVALUATION, NONFINITE_STEP, TRAINING
from gansweep.health.verdict import STATES
from gansweep.records import journal, lock
from gansweep.records.layout import Home, TrialFolder, read_json, write_atomically, write_json
from gansweep.records.outcome import Outcome
from gansweep.sweeps.provenance import Provenance
from gansweep.sweeps.sweep import METRICS, RecordedTrial
from gansweep.tracking import reader, store
from gansweep.tracking.reader import StoreReader

SHORT = 60  # evaluations, one a step: nothing but divergence is found before step 50
NAN, INF, LARGEST = math.nan, math.inf, 1.7976931348623157e308
VALUES = st.sampled_from([NAN, INF, -INF, 0.0, 0.02, 0.3, 0.9, 0.995, 1.2, 40.0, 3e38, 5e-324]) | st.floats(0, 3)
CHANGES = st.dictionaries(st.sampled_from((*TRAINING, *EVALUATION)), VALUES, max_size=6)


def read(bench: Bench) -> dict[str, RecordedTrial]:
    return {trial.id: trial for trial in stored.trials(bench.home, bench.uri, bench.folder.name)}


def journalled(trial: TrialFolder) -> History:
    records = journal.read(trial.journal)
    told = read_json(trial.trial)
    judge = read_json(trial.evaluator).get("features", {})
    compared = is_compared(judge.get("name", ""), judge.get("resolution", 0))
    points = ((r.step, r.values) for r in records)
    return History.of(points, told["steps"], *traits(told["config"]), compared=compared)


def verdicts(history: History) -> str:
    """As text: NaN equals NaN."""
    return json.dumps([verdict.to_json() for verdict in Judge().conclude(history)], indent=1)


def test_a_trial_comes_back_as_it_was_sent(bench: Bench) -> None:
    varied = {"training.learning_rate": 0.1 + 0.2, "dataset.name": "digits", "model.latent_dim": 100}
    records = [{**values, "steps_per_s": 50.0, "val_loss_d": 1.0} for values in sound(STEPS)]
    trial = bench.trial("a", records, Outcome("completed", STEPS), varied=varied, steps=2 * STEPS)
    bench.publish()
    run = bench.runs()["a"].info.run_id
    found = read(bench)["a"]
    assert (found.id, found.run_id, found.seed, found.steps) == ("a", run, 3, 2 * STEPS)
    assert found.outcome == "interrupted"
    assert found.varied == varied
    assert [*found.varied] == [*varied]
    assert found.history.budget == 2 * STEPS
    assert set(found.history.series) == set(METRICS) & {name for values in records for name in values}
    for name, series in found.history.series.items():
        assert list(series) == list(journalled(trial)[name])


def test_only_what_detectors_use_is_read(bench: Bench) -> None:
    bench.trial("a", [{"loss_d": 1.0, "steps_per_s": 50.0, "d_auc": 0.5, "class_share/0": 1.0}])
    bench.publish()
    assert {*read(bench)["a"].history.series} == {"d_auc", "loss_d"}
    assert set(METRICS) == {*TRAINING, *CRITIC_TRAINING, *EVALUATION, NONFINITE_STEP}


def test_numbers_that_are_not_finite_are_so_again(bench: Bench) -> None:
    bench.trial("a", [{"loss_d": value} for value in (1.0, NAN, INF, -INF, LARGEST, 3.4e38)])
    bench.publish()
    series = read(bench)["a"].history["loss_d"]
    assert series.steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert series.values == pytest.approx([1.0, NAN, INF, -INF, INF, 3.4e38], rel=0, nan_ok=True)


def test_trials_are_those_of_the_plan_and_on_request_of_earlier_ones(bench: Bench) -> None:
    for name, began in (("b", 300.0), ("c", 100.0), ("a", 200.0)):
        trial = bench.trial(name)
        trial.lock.touch()
        trial.journal.write_text(json.dumps({"step": 1, "time": began, "values": {"loss_d": 1.0}}) + "\n")
    bench.trial("pending")
    bench.publish()
    assert [*read(bench)] == ["b", "c", "a"]
    write_json(bench.folder.plan, {"trials": ["a", "pending"]})  # the others belong to an earlier one by now
    bench.publish()
    assert [*read(bench)] == ["a"]
    everything = stored.trials(bench.home, bench.uri, bench.folder.name, all_plans=True)
    assert [(trial.id, trial.planned) for trial in everything] == [("a", True), ("c", False), ("b", False)]


def test_a_sweep_that_runs_is_read_as_far_as_it_was_sent(bench: Bench) -> None:
    trial = bench.trial("a", losses(3))
    with lock.acquire(trial.lock):
        bench.publish(running=True)
        append(trial, losses(3))
        found = read(bench)["a"]
    assert (found.outcome, found.history["loss_d"].steps.tolist()) == ("running", [1, 2, 3])


def test_the_store_alone_is_read(bench: Bench) -> None:
    trial = bench.trial("a", sound(STEPS), Outcome("completed", STEPS))
    bench.publish()
    expected = verdicts(journalled(trial))
    bench.folder.path.rename(bench.folder.path.with_name("moved-away"))
    assert verdicts(read(bench)["a"].history) == expected


def test_experiments_of_others_have_no_trials(bench: Bench) -> None:
    experiment = bench.client.create_experiment(bench.folder.name)
    bench.client.log_metric(bench.client.create_run(experiment).info.run_id, "loss_d", 1.0)
    assert read(bench) == {}


DETECTABLE = {
    "healthy": {},
    "divergence": {"loss_d": NAN, "loss_g": INF, NONFINITE_STEP: 1.0},
    "dead_generator": {"spread_across": 0.01},
    "mode_collapse": {"density": 1.2, "coverage": 0.1, "fd_ratio": 200.0},
    "never_took_off": {"density": 0.01, "fd_ratio": 200.0},
    "mode_dropping": {"classes_missing": 3.0},
    "poor": {"intact": 0.1},
    "undecided": {"fd_ratio": NAN},
}


def test_the_verdicts_of_the_journals(bench: Bench) -> None:
    """What `mode_dropping` asks of the embedding is stored as well."""
    trials = {kind: bench.trial(kind, sound(SHORT, **values), steps=SHORT) for kind, values in DETECTABLE.items()}
    for trial in trials.values():
        write_json(trial.evaluator, {"features": {"name": "classifier", "resolution": 16}})
    bench.publish()
    found = read(bench)
    assert {kind: verdicts(found[kind].history) for kind in trials} == {
        kind: verdicts(journalled(trial)) for kind, trial in trials.items()
    }
    assert [Judge().conclude(found[kind].history)[0].kind for kind in trials] == [*DETECTABLE]


def test_critics_and_growth_are_judged_as_such(bench: Bench) -> None:
    """Settings in MLflow are text; those of older trials lack these keys."""
    still = {"d_auc": 0.999, "d_fresh": 0.01, "fd_ratio": 200.0}
    diverged = [*sound(4), {"loss_d": 1.0, CRITIC_REAL: INF, NONFINITE_STEP: 5.0}]
    critic = {"training": {"loss": "wasserstein_clip"}}
    made = {
        "older": (sound(SHORT, **still), {}, "discriminator_won"),
        "plain": (sound(SHORT, **still), {"training": {"loss": "hinge"}}, "discriminator_won"),
        "blind": (sound(SHORT, **still | {"d_auc": 0.5}), {}, "generator_won"),
        "critic": (sound(SHORT, **still), critic, "critic_stalled"),
        "diverged": (diverged, critic, "divergence"),
        "grown": (sound(SHORT, **still), {"model": {"discriminator": {"growth": {"at": 16}}}}, "discriminator_won"),
        "unsure": (sound(SHORT, **still | {"d_fresh": 0.4}), {}, None),
    }
    trials = {name: bench.trial(name, records, steps=SHORT, config={"seed": 3, **config})
              for name, (records, config, _) in made.items()}  # fmt: skip
    bench.publish()
    found = {name: trial.history for name, trial in read(bench).items()}
    for name, (_, _, expected) in made.items():
        kinds = {verdict.kind for verdict in Judge()(found[name])}
        assert kinds & {*STATES, "critic_stalled", "divergence"} == ({expected} if expected else set())
        assert verdicts(found[name]) == verdicts(journalled(trials[name]))
    assert [(found[name].critic, found[name].growth) for name in ("critic", "grown")] == [(True, None), (False, 16)]
    assert "critic_real is inf" in Judge()(found["diverged"])[0].reason


numbers = itertools.count()
Change = tuple[int, dict[str, float], int | None]


@settings(max_examples=2)
@given(st.lists(st.tuples(st.integers(0, SHORT), CHANGES, st.none() | st.integers(1, SHORT)), min_size=4, max_size=4))
def test_any_history_has_the_verdicts_of_its_journal(shared_home: Home, changes: Sequence[Change]) -> None:
    """Sound until a step, changed from then on; something not finite at a step, or never."""
    bench = Bench(shared_home, f"any-{next(numbers)}")
    trials = []
    for number, (begin, values, nonfinite) in enumerate(changes):
        records = sound(begin) + sound(SHORT, **values)[begin:]
        if nonfinite is not None:
            records[nonfinite - 1][NONFINITE_STEP] = float(nonfinite)
        trials.append(bench.trial(str(number), records, steps=SHORT))
    bench.publish()
    found = read(bench)
    for trial in trials:
        assert verdicts(found[trial.id].history) == verdicts(journalled(trial))


def problem(home: Home, uri: str, sweep: str) -> str:
    with pytest.raises(UserError) as caught:
        stored.trials(home, uri, sweep)
    return str(caught.value)


def test_an_unknown_sweep_is_told_with_the_nearest_names(bench: Bench, tmp_path: Path) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    name, where = bench.folder.name, bench.home.path
    assert problem(bench.home, bench.uri, f"{name}s").startswith(f"{where}: no sweep named '{name}s'; did you mean ")
    assert name in problem(bench.home, bench.uri, f"{name}s").partition("did you mean ")[2]
    far = problem(bench.home, bench.uri, "€")
    assert far.startswith(f"{where}: no sweep named '€'; known: ")
    assert "Default" not in far
    elsewhere = problem(Home(tmp_path), bench.uri, "€")
    assert elsewhere.startswith(f"{bench.uri}: no sweep named '€'; known: ")


def test_a_sweep_deleted_in_the_ui_can_be_sent_again(bench: Bench) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    bench.client.delete_experiment(bench.experiment())
    name = bench.folder.name
    assert problem(bench.home, bench.uri, name).endswith(f"has no records of {name}; `gansweep sync {name}` sends them")
    bench.publish()
    assert [trial.id for trial in stored.trials(bench.home, bench.uri, name)] == ["a"]


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    home = Home(tmp_path)
    expected = "nothing is recorded yet; `gansweep run FILE` comes first"
    assert problem(home, store.local_uri(home), "s") == f"{tmp_path}: {expected}"
    gone = f"sqlite:///{tmp_path}/gone.db"
    assert problem(home, gone, "s") == f"{gone}: {expected}"
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("dear diary, " * 1_000)
    uri = f"sqlite:///{tmp_path}/notes.db"
    found = problem(Home(tmp_path), uri, "s")
    assert found.startswith(f"{uri}: the tracking store cannot be read (")
    assert "\n" not in found


def test_a_store_of_another_make(bench: Bench, tmp_path: Path) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(bench.home.database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("ALTER TABLE metrics RENAME COLUMN is_nan TO nan")
    uri = f"sqlite:///{copy}"
    found = problem(bench.home, uri, bench.folder.name)
    assert found == f"{uri}: the tracking store cannot be read (no such column: is_nan)"


def test_what_an_older_version_sent_is_to_be_completed(bench: Bench) -> None:
    trial = bench.trial("a", losses(3))
    bench.publish()
    for tag in ("gansweep.steps", "gansweep.varied"):
        bench.client.delete_tag(bench.runs()["a"].info.run_id, tag)
    write_json(trial.published, {k: v for k, v in read_json(trial.published).items() if k != "tags"})
    bench.client.log_text(bench.runs()["parent"].info.run_id, "{}", "trials.json")
    assert (read(bench)["a"].steps, read(bench)["a"].varied) == (3, {}), "the last step that it recorded"
    bench.publish()
    assert read(bench)["a"].steps == STEPS


def test_a_sweep_comes_with_what_was_run(bench: Bench) -> None:
    trial = bench.trial("a", [{"loss_d": 1.0, "steps_per_s": 50.0}], Outcome("completed", STEPS))
    bench.publish()
    found = stored.sweep(bench.home, bench.uri, bench.folder.name)
    assert (found.name, found.experiment_id) == (bench.folder.name, bench.experiment())
    assert (found.parent_run_id, found.provenance.machine) == (bench.runs()["parent"].info.run_id, "a bench")
    assert (found.file, found.plan) == (bench.folder.source.read_text(), {"trials": ["a"]})
    (run,) = found.trials
    assert (run.id, run.steps, run.settings["training.learning_rate"]) == ("a", STEPS, 0.0001)
    assert {*run.metrics} == {"loss_d", "steps_per_s"}
    assert run.began_ms == int(1000 * min(journal.read(trial.journal)[0].time, trial.lock.stat().st_mtime))


def test_a_sweep_of_others_comes_without(bench: Bench) -> None:
    bench.client.create_run(bench.client.create_experiment(bench.folder.name))
    found = stored.sweep(bench.home, bench.uri, bench.folder.name)
    assert (found.parent_run_id, found.provenance, found.file) == ("", Provenance(), "")
    assert (found.plan, found.trials) == ({}, [])


def test_sample_grids_are_found_and_read(bench: Bench) -> None:
    trial = bench.trial("a", losses(1))
    grids = {step: grid_png(np.full((4, 1, 8, 8), step, np.uint8)) for step in (100, 20)}
    for step, grid in grids.items():
        write_atomically(trial.sample(step), grid)
    bench.trial("none", losses(1))
    bench.publish()
    sweep = stored.sweep(bench.home, bench.uri, bench.folder.name)
    found = sweep.files.samples(sweep.trials)
    assert [(run.id, step) for run, step, _ in found] == [("a", 20), ("a", 100)]
    for run, step, path in found:
        assert sweep.files.content(run, path) == grids[step]


def test_a_grid_that_was_sent_twice_counts_once(bench: Bench) -> None:
    trial = bench.trial("a", losses(1))
    for moment in (1_700_000_000, 1_700_000_100):  # of the file: a copied home has others
        write_atomically(trial.sample(20), grid_png(np.full((4, 1, 8, 8), moment % 200, np.uint8)))
        os.utime(trial.sample(20), (moment, moment))
        trial.published.unlink(missing_ok=True)
        bench.publish()
    found = stored.sweep(bench.home, bench.uri, bench.folder.name)
    ((run, step, path),) = found.files.samples(found.trials)
    assert (step, found.files.content(run, path)) == (20, trial.sample(20).read_bytes())


def test_artifacts_that_are_not_there(bench: Bench, tmp_path: Path) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    found = stored.sweep(bench.home, bench.uri, bench.folder.name)
    for path in ("images/gone.png", "gone", "."):
        assert found.files.content(found.trials[0], path) is None
    gone = StoreReader(Home(tmp_path), f"sqlite:///{tmp_path}/gone.db", bench.folder.name)
    with pytest.raises(UserError, match="nothing is recorded yet"):
        gone.content(found.trials[0], "a")


def test_the_store_that_a_sweep_was_sent_to_is_asked(bench: Bench) -> None:
    elsewhere, name = f"sqlite:///{bench.home.path}/elsewhere.db", bench.folder.name
    assert reader.where(bench.home, name, None) == bench.uri
    write_json(bench.folder.tracking, {"uri": elsewhere, "experiment_id": "1", "parent_run_id": "p"})
    assert reader.where(bench.home, name, None) == elsewhere
    assert reader.where(bench.home, name, bench.uri) == bench.uri
    with pytest.raises(UserError, match=r"^--tracking-uri http://127\.0\.0\.1:9: no MLflow server answers"):
        reader.where(bench.home, name, "http://127.0.0.1:9")
