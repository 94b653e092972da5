"""Two homes, one store: each sweep finds, changes and deletes what carries its own id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stored
from bench import STEPS, Bench, losses
from mlflow import MlflowClient

from gansweep.records import identity
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.tracking import publisher


class Lab:
    """Two people's homes and a store that both use."""

    def __init__(self, bench: Bench, tmp_path: Path) -> None:
        self.uri, self.client, self.name = bench.uri, bench.client, bench.folder.name
        self.mine, self.theirs = (Bench(Home(tmp_path / who), self.name, self.uri) for who in ("mine", "theirs"))

    def trials(self, bench: Bench) -> list[str]:
        return [trial.id for trial in stored.trials(bench.home, self.uri, self.name)]

    def runs(self, bench: Bench) -> set[str]:
        """Ids of the runs that carry the id of a home's sweep, deleted ones left out."""
        condition = f"tags.`gansweep.sweep_id` = '{identity.ensure(bench.folder).sweep_id}'"
        experiments = [one.experiment_id for one in self.client.search_experiments()]
        return {run.info.run_id for run in self.client.search_runs(experiments, condition)}


@pytest.fixture
def lab(bench: Bench, tmp_path: Path) -> Lab:
    made = Lab(bench, tmp_path)
    made.mine.trial("a", losses(STEPS), Outcome("completed", STEPS))
    made.theirs.trial("a", losses(STEPS), Outcome("completed", STEPS))
    made.theirs.trial("b", losses(STEPS), Outcome("completed", STEPS))
    return made


def test_two_sweeps_of_one_name_stay_apart(lab: Lab) -> None:
    for bench in (lab.mine, lab.theirs, lab.mine):
        bench.publish()
    assert (lab.trials(lab.mine), lab.trials(lab.theirs)) == (["a"], ["a", "b"])
    publisher.delete(lab.theirs.home, lab.theirs.folder, lab.uri)
    assert lab.trials(lab.mine) == ["a"]


def test_an_experiment_of_others_is_never_taken_or_deleted(lab: Lab) -> None:
    experiment = lab.client.create_experiment(lab.name)
    run = lab.client.create_run(experiment, run_name="of a colleague").info.run_id
    lab.mine.publish()
    assert lab.client.search_runs([experiment])[0].info.run_id == run
    publisher.delete(lab.mine.home, lab.mine.folder, lab.uri)
    assert lab.client.get_run(run).info.lifecycle_stage == "active"
    assert lab.client.get_experiment(experiment).lifecycle_stage == "active"


def test_a_run_of_others_in_our_experiment_keeps_it(lab: Lab) -> None:
    lab.mine.publish()
    experiment = lab.client.get_experiment_by_name(lab.name).experiment_id
    run = lab.client.create_run(experiment).info.run_id
    lab.client.delete_run(run)  # one that can still be restored counts as well
    publisher.delete(lab.mine.home, lab.mine.folder, lab.uri)
    assert lab.client.get_experiment(experiment).lifecycle_stage == "active"
    assert lab.client.search_runs([experiment]) == []
    lab.client.restore_run(run)
    assert MlflowClient(lab.uri).get_run(run).info.lifecycle_stage == "active"


@pytest.mark.parametrize("is_first", [True, False])
def test_records_before_joining_a_storage_go_with_it(lab: Lab, is_first: bool) -> None:
    """is_first: whether the store has nothing yet of the sweep that the storage holds."""
    for bench in (lab.mine, *(() if is_first else (lab.theirs,))):
        bench.publish()
    former = lab.runs(lab.mine)
    identity.take(lab.mine.folder, identity.to_storage(lab.theirs.folder))
    for bench in (lab.mine, lab.theirs):
        bench.folder.storage.write_text("file:///storage")
    lab.mine.publish()
    if is_first:
        assert lab.runs(lab.mine) == former, "they carry the storage's id now"
    else:
        assert {lab.client.get_run(run).info.lifecycle_stage for run in former} == {"active"}
    publisher.delete(lab.mine.home, lab.mine.folder, lab.uri)
    assert {lab.client.get_run(run).info.lifecycle_stage for run in former} == {"deleted"}
    assert not lab.runs(lab.theirs)


def test_only_records_that_a_sweep_had_before_it_joined_a_storage_are_deleted(lab: Lab) -> None:
    lab.mine.publish()
    lab.theirs.publish()
    identity.take(lab.mine.folder, json.dumps({"sweep_id": "c" * 32}).encode())
    lab.mine.publish()
    publisher.delete(lab.mine.home, lab.mine.folder, lab.uri)
    assert lab.trials(lab.theirs) == ["a", "b"]
