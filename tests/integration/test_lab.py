"""The same sweep file on what a lab has: machines that share no home, MLflow's server on PostgreSQL, an object store.
The command line for real, over the network."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import tracked
from faults import Trial
from lab import Lab, ended, wait_for
from mlflow.artifacts import download_artifacts
from scenes import train, warm_home
from service import histories

from gansweep.gan import checkpoint
from gansweep.records import journal, outcome
from gansweep.records.layout import SweepFolder
from gansweep.sync.storage import open_storage

pytestmark = pytest.mark.slow

STEPS, RATES = 40, [1e-3, 1e-6, 1e-7]
# Each machine trains one trial at a time. Only at the first rate does D's loss fall: at the rung, after half of the
# steps, those of the others are stopped.
SWEEP = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: 4}}
training: {{steps: {steps}, batch_size: 16}}
evaluation: {{per_run: 2, samples: 128}}
stop: none
cadence: {{metrics: 5, samples: 20, checkpoints: 10}}
retention: {{checkpoints: {steps}}}
search:
  method: grid
  objective: {{metric: loss_d, mode: min}}
  over: {{training.learning_rate: {rates}}}
replicates: 2
scheduler: {{method: asha, grace: 0.5, reduction: 4}}
resources: {{cpus: 1, gpus: 0}}
"""
RATE = "training.learning_rate"
# The others take minutes on a loaded machine. The database before the store, which also keeps the tracking server from
# accepting files: the sweep says for both that the tracking store does not accept records, and then asks it less often.
WAVES = (("database",), ("store",), ("node",))


def write(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(SWEEP.format(name=name, steps=STEPS, rates=RATES))
    return file


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """The sweep on one machine, without rungs, a cluster, a server or a storage."""
    root = tmp_path_factory.mktemp("calm")
    return train(warm_home(root / "home"), write(root, "calm"))


def assert_trained_alike(folder: SweepFolder, calm: SweepFolder) -> None:
    """The trials have the records and the weights of the calm ones, up to the step at which each ended."""
    expected = histories(calm)
    for trial in folder.all_trials():
        found = histories(folder)[trial.id]
        assert found == expected[trial.id][: len(found)]
        last = trial.all_checkpoints()[-1]
        assert int(last.stem) == found[-1][0]
        weights, others = checkpoint.load(last)[0], checkpoint.load(calm.trial(trial.id).checkpoints / last.name)[0]
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[name], others[name]) for name in weights)


def assert_tracked(lab: Lab, folder: SweepFolder) -> None:
    """Each point of the journals is there once, under one run a trial."""
    expected = Counter(
        (trial, name, step, value)
        for trial, records in histories(folder).items()
        for step, values in records
        for name, value in values.items()
    )
    found = tracked.points(lab.client, folder.name)
    assert Counter(point for point in found.elements() if point[1] != "steps_per_s") == expected


def assert_copied(folder: SweepFolder, storage: str) -> None:
    """The storage has what a trial of another machine has recorded."""
    for trial in folder.all_trials():
        copies = set(open_storage(storage).names(f"sweeps/{folder.name}/trials/{trial.id}"))
        last = trial.all_checkpoints()[-1].name
        assert {"owner.json", "outcome.json", f"checkpoints/{last}", "journal/000000000000.jsonl"} <= copies


def test_a_sweep_on_two_machines_is_stopped_and_goes_on_from_another_home(lab: Lab, calm: SweepFolder) -> None:
    """The storage is a folder that the machines share. Rungs are decided for both."""
    storage = str(lab.common / "storage")
    lab.pace(0.5)
    here = lab.home("here")
    file = write(lab.common, "moved")
    process = here.run(file, storage)
    wait_for(lambda: any(journal.latest(t.journal) for t in here.folder("moved").all_trials()), 120)
    began = time.monotonic()
    here.call("stop", "moved")
    assert time.monotonic() - began < 30
    ended(process)
    outcomes = {trial["outcome"] for trial in here.status("moved")}
    assert "interrupted" in outcomes
    assert outcomes <= {"interrupted", "pending"}
    assert 0 < lab.trained("moved") < STEPS * 6
    shutil.rmtree(here.home.path)

    lab.pace(0.05)
    there = lab.home("there")
    ended(there.run(file, storage))
    assert not lab.seen_by_second(there.home.path).exists()
    assert list(lab.seen_by_second(lab.tmp).glob("gansweep-cache-*/*.npy")), "the data came to the node that lacked it"
    folder = there.folder("moved")
    found = {trial.id: end for trial in folder.all_trials() if (end := outcome.read(trial))}
    assert lab.trained("moved") == sum(end.step for end in found.values()), "no step was trained twice"
    runs = {trial: run.data.tags for trial, run in tracked.runs(lab.client, "moved").items() if trial != "parent"}
    assert {tags["gansweep.host"] for tags in runs.values()} == {lab.head.name, lab.second.name}
    assert {(end.kind, end.step) for end in found.values()} == {("completed", STEPS), ("stopped", STEPS // 2)}
    stopped = {trial for trial, end in found.items() if end.kind == "stopped"}
    assert stopped >= {trial["id"] for trial in there.status("moved") if trial["varied"] != {RATE: RATES[0]}}
    tags = [(runs[trial]["gansweep.outcome"], runs[trial]["gansweep.reason"]) for trial in stopped]
    assert {*tags} == {("stopped", "asha")}
    assert {runs[trial]["gansweep.host"] for trial in stopped} == {lab.head.name, lab.second.name}
    assert_trained_alike(folder, calm)
    assert_tracked(lab, folder)
    assert_copied(folder, storage)


def test_faults_lose_and_double_nothing(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults of docs/reliability.md, all over one sweep whose storage is a bucket. Twenty of each: tests/faults.py."""
    name = "-".join(fault for wave in WAVES for fault in wave)
    found, hits = Trial(lab, seed=11).endure(WAVES, step_s=1.0)
    assert hits == dict.fromkeys(hits, True)
    assert (found.lost, found.doubled, found.weights) == (0, 0, 0)
    assert 0 <= found.twice <= 4 * 50

    folder = lab.home(name).folder(name)
    for variable, value in lab.environment.items():
        if variable.startswith("AWS_"):
            monkeypatch.setenv(variable, value)
    assert_copied(folder, f"{lab.bucket}/storage")
    artifacts = open_storage(f"{lab.bucket}/artifacts").names("")
    for trial, run in tracked.runs(lab.client, name).items():
        if trial != "parent":
            last = "checkpoints/last.safetensors"
            copy = download_artifacts(
                run_id=run.info.run_id, artifact_path=last, dst_path=str(tmp_path), tracking_uri=lab.tracking.uri
            )
            assert Path(copy).read_bytes() == folder.trial(trial).all_checkpoints()[-1].read_bytes()
            assert f"{run.info.experiment_id}/{run.info.run_id}/artifacts/{last}" in artifacts
