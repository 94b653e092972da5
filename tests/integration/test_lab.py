"""The same sweep file on what a lab has: machines that share no home, MLflow's server on PostgreSQL, an object store.
The command line for real, over the network."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import tracked
from lab import CORES, Lab, ended, wait_for
from mlflow.artifacts import download_artifacts
from scenes import train, warm_home
from service import assert_equal_weights, histories

from gansweep.records import journal
from gansweep.records.layout import SweepFolder
from gansweep.sync.storage import open_storage

pytestmark = pytest.mark.slow

SWEEP = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 8, feature_maps: 4}}
training: {{steps: {steps}, batch_size: 16}}
evaluation: {{per_run: 2, samples: 128}}
stop: none
cadence: {{metrics: 5, samples: 20, checkpoints: 10}}
search: {{method: grid, over: {{training.learning_rate: {rates}}}}}
replicates: {seeds}
scheduler: {scheduler}
resources: {{cpus: {cpus}, gpus: 0}}
"""


def write(
    folder: Path,
    name: str,
    steps: int = 40,
    rates: str = "[1e-4, 1e-3]",
    seeds: int = 2,
    scheduler: str = "{method: fifo}",
) -> Path:
    """A sweep file. A trial takes all cores of a machine, so that each machine trains one at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(SWEEP.format(name=name, steps=steps, rates=rates, seeds=seeds, scheduler=scheduler, cpus=CORES))
    return file


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """The sweep on one machine, without a cluster, a server or a storage."""
    root = tmp_path_factory.mktemp("calm")
    return train(warm_home(root / "home"), write(root, "calm"))


def hosts(lab: Lab, sweep: str) -> Counter[str]:
    """Host → trials that ended there."""
    found = tracked.runs(lab.client, sweep)
    return Counter(run.data.tags["gansweep.host"] for trial, run in found.items() if trial != "parent")


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


def test_a_sweep_on_two_machines_ends_as_on_one(
    lab: Lab, calm: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.pace(0.05)
    home = lab.home("two")
    storage = f"{lab.bucket}/storage"
    ended(home.run(write(home.home.path, "two"), storage))
    folder = home.folder("two")
    assert set(hosts(lab, "two")) == {lab.head.name, lab.second.name}
    assert not lab.seen_by_second(home.home.path).exists()
    assert list(lab.seen_by_second(lab.tmp).glob("gansweep-cache-*/*.npy")), "the data came to the node that lacked it"
    assert histories(folder) == histories(calm)
    assert_equal_weights(folder, calm)
    assert_tracked(lab, folder)
    for name, value in lab.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    assert_copied(folder, storage)
    artifacts = open_storage(f"{lab.bucket}/artifacts").names("")
    for trial, run in tracked.runs(lab.client, "two").items():
        if trial != "parent":
            name = "checkpoints/last.safetensors"
            copy = download_artifacts(
                run_id=run.info.run_id, artifact_path=name, dst_path=str(tmp_path), tracking_uri=lab.tracking.uri
            )
            assert Path(copy).read_bytes() == folder.trial(trial).all_checkpoints()[-1].read_bytes()
            assert f"{run.info.experiment_id}/{run.info.run_id}/artifacts/{name}" in artifacts


def test_rungs_are_decided_for_both_machines(lab: Lab) -> None:
    """The best rate first: at a rung, whoever comes after it ends."""
    lab.pace(0.05)
    home = lab.home("halved")
    rates = "[1e-3, 1e-5, 1e-6, 1e-7]"
    file = write(home.home.path, "halved", rates=rates, scheduler="{method: asha, grace: 0.5, reduction: 4}")
    ended(home.run(file))
    found = {trial: run.data.tags for trial, run in tracked.runs(lab.client, "halved").items() if trial != "parent"}
    stopped = {trial for trial, tags in found.items() if tags["gansweep.outcome"] == "stopped"}
    assert {found[trial]["gansweep.reason"] for trial in stopped} == {"asha"}
    assert {found[trial]["gansweep.host"] for trial in stopped} == {lab.head.name, lab.second.name}
    assert_tracked(lab, home.folder("halved"))


def test_stopped_in_good_order_it_goes_on_from_another_home(lab: Lab, calm: SweepFolder) -> None:
    """The storage is a folder that the machines share."""
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
    assert {trial["outcome"] for trial in here.status("moved")} == {"interrupted"}
    assert 0 < lab.trained("moved") < 4 * 40
    shutil.rmtree(here.home.path)
    lab.pace(0)
    there = lab.home("there")
    ended(there.run(file, storage))
    folder = there.folder("moved")
    assert lab.trained("moved") == 4 * 40, "no step was trained twice"
    assert histories(folder) == histories(calm)
    assert_equal_weights(folder, calm)
    assert_tracked(lab, folder)
    assert_copied(folder, storage)
