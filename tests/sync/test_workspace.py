"""A trial's process whose folder is its own, and the driver that collects what it records: a real training, a folder as
storage. The same over real machines: tests/integration/test_lab.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from service import assert_equal_weights, histories

from gansweep.config import from_plain
from gansweep.engine.failures import TryAgainError
from gansweep.engine.trainable import GanTrial
from gansweep.errors import TakenOverError, UserError
from gansweep.gan.data import ImageSet
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.plan import Plan, write_trials
from gansweep.records import lock, outcome
from gansweep.records.layout import Home, SweepFolder, TrialFolder
from gansweep.sync import workspace
from gansweep.sync.collector import Collector, check_belongs
from gansweep.sync.copies import trial_prefix
from gansweep.sync.storage import FolderStorage

PlanOf = Callable[..., Plan]
SIZE = ("training.steps=12", "cadence.checkpoints=4", "cadence.metrics=2", "stop=none")


class Sweep:
    """A sweep of one trial that is in a storage, and its driver."""

    def __init__(self, plan: Plan, storage: FolderStorage) -> None:
        self.plan, self.storage, self.notices = plan, storage, list[str]()
        self.collector = Collector(storage, plan.folder, self.notices.append)
        write_trials(plan, "", ())
        (self.config,) = jobs_of(plan, storage=storage.uri)
        self.id: str = self.config["id"]

    @property
    def folder(self) -> TrialFolder:
        return self.plan.folder.trial(self.id)

    def begin(self) -> GanTrial:
        self.collector.begin(self.id, from_plain(ImageSet, self.config["images"]))
        return GanTrial(self.config)

    def train(self, trial: GanTrial) -> dict[str, Any]:
        while not (result := trial.step())["done"]:
            pass
        return result


@pytest.fixture
def sweep(plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setattr(workspace, "PUSH_S", 0.05)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return Sweep(plan_of(*SIZE), FolderStorage(tmp_path / "storage"))


def die_at(trial: GanTrial, pushed: int, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train to a step, with a push at an earlier one, and die there: nobody closes anything."""
    monkeypatch.setattr("gansweep.engine.trainable.SLICE_S", 0)
    monkeypatch.setattr(workspace, "PUSH_S", 60)
    while trial.step()["step"] < pushed:
        pass
    assert isinstance(trial._place, workspace.RemoteWorkspace)
    assert trial._run is not None
    trial._run._writer.drain()
    trial._place._pushed.push()
    while trial.step()["step"] < step:
        pass


def test_it_is_all_there_when_it_has_ended(sweep: Sweep, plan_of: PlanOf) -> None:
    result = sweep.train(sweep.begin())
    assert (result["outcome"], result["step"]) == ("completed", 12)
    assert lock.is_held(sweep.folder.lock), "it counts as running until it is collected"
    sweep.collector.end(sweep.id)
    assert not lock.is_held(sweep.folder.lock)
    ended = outcome.read(sweep.folder)
    assert ended is not None
    assert (ended.kind, ended.step) == ("completed", 12)
    assert [p.name for p in sweep.folder.all_checkpoints()][-1] == "00000012.safetensors"
    alone = plan_of("name=alone", *SIZE)
    write_trials(alone, "", ())
    (config,) = jobs_of(alone)
    sweep.train(GanTrial(config))
    assert histories(sweep.plan.folder) == histories(alone.folder)
    assert_equal_weights(sweep.plan.folder, alone.folder)


def test_another_machine_goes_on_from_the_last_checkpoint(
    sweep: Sweep, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_at(sweep.begin(), 7, 9, monkeypatch)
    sweep.collector.end(sweep.id)
    trial = sweep.begin()
    assert trial.step()["step"] == 5, "from the checkpoint of step 4; that of step 8 was lost"
    sweep.train(trial)
    sweep.collector.end(sweep.id)
    alone = plan_of("name=alone", *SIZE)
    write_trials(alone, "", ())
    sweep.train(GanTrial(jobs_of(alone)[0]))
    assert histories(sweep.plan.folder) == histories(alone.folder)
    assert_equal_weights(sweep.plan.folder, alone.folder)


def test_at_a_rung_the_driver_has_all_that_it_decides_by(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "PUSH_S", 60)
    sweep.config["run"] = json.dumps({**json.loads(sweep.config["run"]), "pauses": [6]})
    trial = sweep.begin()
    while trial.step()["step"] < 6:
        pass
    sweep.collector.download_records(sweep.id)
    assert [step for step, _ in histories(sweep.plan.folder)[sweep.id]][-1] == 6


def test_a_process_that_lost_its_trial_ends_with_an_error(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.engine.trainable.SLICE_S", 0)
    zombie = sweep.begin()
    zombie.step()
    owner = GanTrial(sweep.config)
    owner.step()
    place = zombie._place
    assert isinstance(place, workspace.RemoteWorkspace)
    place._task._thread.join(5)
    with pytest.raises(TryAgainError) as caught:
        zombie.step()
    assert isinstance(caught.value.__cause__, TakenOverError)
    zombie.cleanup()
    assert sweep.train(owner)["outcome"] == "completed"
    sweep.collector.end(sweep.id)
    assert [step for step, _ in histories(sweep.plan.folder)[sweep.id]][-1] == 12


def test_a_request_reaches_it_and_it_ends_where_it_is(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.engine.trainable.SLICE_S", 0)
    trial = sweep.begin()
    trial.step()
    sweep.folder.stop.write_text("asha")
    sweep.collector.ask_to_stop(sweep.id)
    assert trial._place is not None
    trial._place.fetch_request()
    result = trial.step()
    assert (result["outcome"], result["reason"], result["done"]) == ("stopped", "asha", True)
    sweep.collector.end(sweep.id)
    ended = outcome.read(sweep.folder)
    assert ended is not None
    assert ended.rule == "asha"
    trial = sweep.begin()
    assert sweep.storage.get(f"{trial_prefix(sweep.plan.folder.name, sweep.id)}/stop") is None, (
        "an old request is withdrawn"
    )


def test_data_comes_to_a_machine_that_lacks_it_and_is_kept_there(sweep: Sweep, tmp_path: Path) -> None:
    here = from_plain(ImageSet, sweep.config["images"])
    workspace.share(sweep.storage, here)
    elsewhere = replace(here, file=str(tmp_path / "no such home" / Path(here.file).name))
    found = workspace.fetch(sweep.storage, elsewhere)
    assert Path(found.file).parent == workspace.node_cache()
    assert (found.load() == here.load()).all()
    assert (found.labels() == here.labels()).all()
    assert workspace.fetch(FolderStorage(tmp_path / "empty"), elsewhere) == found
    assert workspace.fetch(FolderStorage(tmp_path / "empty"), here) == here, "what lies where it should is used there"
    lacking = replace(elsewhere, file=str(tmp_path / "no such home" / "0.npy"))
    with pytest.raises(UserError, match=r"/cache/0\.labels\.npy: is missing; run the sweep again$"):
        workspace.fetch(sweep.storage, lacking)


def test_a_cache_that_somebody_else_made_is_not_used(tmp_path: Path, sweep: Sweep) -> None:
    (tmp_path / "theirs").mkdir()
    Path(tmp_path, workspace.node_cache().name).rmdir()
    Path(tmp_path, f"gansweep-cache-{workspace.os.getuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match="is not yours"):
        workspace.node_cache()


def test_a_trial_that_was_handed_out_and_never_began_runs_no_longer_when_all_has_ended(sweep: Sweep) -> None:
    sweep.collector.begin(sweep.id, from_plain(ImageSet, sweep.config["images"]))
    assert outcome.state(sweep.folder, 12) == "running"
    sweep.collector.end_all()
    assert outcome.state(sweep.folder, 12) == "interrupted"


def test_what_was_trained_without_a_storage_moves_there(plan_of: PlanOf, tmp_path: Path, home: Home) -> None:
    plan = plan_of(*SIZE)
    write_trials(plan, "", ())
    (config,) = jobs_of(plan)
    trial = GanTrial(config)
    while not trial.step()["done"]:
        pass
    storage = FolderStorage(tmp_path / "storage")
    Collector(storage, plan.folder, print).download()
    other = SweepFolder(tmp_path / "other" / plan.folder.name)
    Collector(storage, other, print).download()
    assert histories(other) == histories(plan.folder)
    assert_equal_weights(other, plan.folder)
    assert outcome.read(other.trial(config["id"])) == outcome.read(plan.folder.trial(config["id"]))


def test_a_sweep_stays_in_its_storage(tmp_path: Path, home: Home) -> None:
    folder = home.sweep("s")
    check_belongs(folder, None)
    check_belongs(folder, "/a")
    Collector(FolderStorage(tmp_path / "a"), folder, print).download()
    for uri in (None, "/b"):
        with pytest.raises(UserError, match=f"^s is in the storage {tmp_path}/a; run it with --storage {tmp_path}/a$"):
            check_belongs(folder, uri)


def test_a_hostile_storage_writes_nowhere_else(tmp_path: Path, home: Home) -> None:
    storage = FolderStorage(tmp_path / "storage")
    for name in ("sweeps/s/trials/..x/outcome.json", "sweeps/s/trials/0123456789AB/outcome.json", "sweeps/s/trials/a"):
        storage.put(name, b"{}")
    Collector(storage, home.sweep("s"), print).download()
    assert sorted(p.name for p in home.sweep("s").path.rglob("*")) == ["identity.json", "storage"]
