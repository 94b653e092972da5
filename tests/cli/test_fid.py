"""`gansweep fid` on trials that have ended, and what shows its results."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stand_in
from bad_calls import Call
from bench import empty_home
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from scenes import train

from gansweep import read_sweep
from gansweep.api.holding import collecting
from gansweep.cli import fid as command
from gansweep.cli.main import cli, main
from gansweep.gan import fid
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import make_plan
from gansweep.records import journal, lock
from gansweep.records.layout import Home, SweepFolder, read_json, write_json
from gansweep.sweepfile.loader import load
from gansweep.sync import lease
from gansweep.sync.storage import Storage, open_storage
from gansweep.tracking import store

TEXT = """name: s
dataset: {name: arrays, path: images.npz, image_size: 16}
model: {latent_dim: 8, feature_maps: 4, conditioning: concat}
training: {steps: 4, batch_size: 16}
evaluation: {per_run: 0}
search: {method: grid, over: {training.learning_rate: [1e-4, 2e-4]}}
"""
METRIC = "frechet/stand-in"
WEIGHTS = ("--weights", "stand-in.pt2")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """A sweep of two trials that has ended, in a folder with a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fid, "SUBSETS", 2)
    rng = np.random.default_rng(0)
    np.savez("images.npz", images=rng.integers(0, 200, (2_100, 16, 16), np.uint8), labels=np.arange(2_100) % 3)
    stand_in.write(Path("stand-in.pt2"))
    Path("s.yaml").write_text(TEXT)
    return train(empty_home(tmp_path / "home"), Path("s.yaml"))


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="gansweep")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def values(sweep: SweepFolder) -> list[list[tuple[int, float]]]:
    return [journal.column(one.journal, METRIC) for one in sweep.planned()]


def test_a_sweep_is_measured_recorded_sent_and_shown(sweep: SweepFolder, home: Home) -> None:
    found = json.loads(run("fid", "s", *WEIGHTS, "--samples", 2048, "--json").stdout)
    assert (found["sweep"], found["network"], found["samples"]) == ("s", "stand-in", 2048)
    assert [(one["id"], one["step"], one["images"], one["recorded"]) for one in found["trials"]] == [
        (one.id, 4, 2100, True) for one in sweep.planned()
    ]
    measured = [one["metrics"][METRIC] for one in found["trials"]]
    assert values(sweep) == [[(4, value)] for value in measured]
    runs = [MlflowClient(store.local_uri(home)).get_run(read_json(one.published)["run_id"]) for one in sweep.planned()]
    assert [one.data.metrics[METRIC] for one in runs] == measured
    for source in ("store", "folder"):
        tables = read_sweep("s", home=home.path, source=source)
        assert tables.evaluations[METRIC].tolist() == pytest.approx(measured), source
    assert "s: sqlite" in run("sync", "s", "--verify").stderr
    (first, second) = (one.id for one in sweep.planned())
    compared = json.loads(run("compare", first, second, "--json").stdout)
    assert [one["metrics"][METRIC] for one in compared["trials"]] == measured
    assert "kernel_std/stand-in" in run("compare", first, second).stdout


def test_what_is_known_is_not_measured_again(sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sweep.planned()
    line = run("fid", f"s/{first.id[:8]}", *WEIGHTS, "--samples", 2048)
    assert re.match(rf"s/{first.id} after 4 steps\n  Fréchet distance in stand-in +[\d.]+\n", line.stdout)
    assert "2,048 samples against 2,100 images, all grey and repeated to three channels" in line.stderr
    monkeypatch.setattr(fid, "_compute", lambda *_: pytest.fail("reads the real images again"))
    asked: list[object] = []
    batches = fid.Samples.batches
    monkeypatch.setattr(fid.Samples, "batches", lambda self, images: asked.append(self) or batches(self, images))
    run("fid", "s", *WEIGHTS, "--samples", 2048)
    assert len(asked) == 1
    assert all(map(len, values(sweep)))
    before = first.journal.read_bytes(), second.journal.read_bytes()
    result = run("fid", "s", *WEIGHTS, "--samples", 2100)
    assert "they hold what was measured first, of another number of samples" in result.stderr
    assert (first.journal.read_bytes(), second.journal.read_bytes()) == before
    assert [one["samples"] for one in read_json(first.fid)["measured"]] == [2048, 2100]


def test_equals_what_a_trial_measures_at_its_end(sweep: SweepFolder, home: Home) -> None:
    """The same generator, seed and images, from the checkpoint."""
    run("fid", "s", *WEIGHTS, "--samples", 2048)
    Path("t.yaml").write_text(TEXT.replace("name: s", "name: t"))
    plan = make_plan(load(Path("t.yaml"), ("evaluation.fid={weights: stand-in.pt2, samples: 2048}",)), home)
    for config in jobs_of(plan):
        opened = Job.from_config(config).open()
        while opened.advance(60) is None:
            pass
        opened.close()
    ended = [journal.column(plan.folder.trial(one.id).journal, METRIC) for one in sweep.planned()]
    assert [[value for _, value in one] for one in ended] == [[pytest.approx(one[0][1])] for one in values(sweep)]


def test_an_interrupted_command_leaves_nothing_half_written(
    sweep: SweepFolder, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    files = {*home.path.rglob("*.safetensors"), *home.path.rglob("*.json")}
    monkeypatch.setattr(command, "FIRST_S", 0.0)
    monkeypatch.setattr(command, "_numbers", interrupt)
    monkeypatch.setattr(sys, "argv", ["gansweep", "fid", "s", *WEIGHTS])
    with pytest.raises(SystemExit) as caught:
        main()
    assert (caught.value.code, capsys.readouterr().out) == (130, "")
    assert {*home.path.rglob("*.safetensors"), *home.path.rglob("*.json")} == files
    assert values(sweep) == [[], []]
    monkeypatch.undo()
    assert not any(lock.is_held(path) for path in home.path.rglob("*.lock"))


def test_progress_and_time_are_told(sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FIRST_S", 0.0)
    monkeypatch.setattr(command, "EVERY_S", 0.0)
    shown = run("fid", sweep.planned()[0].id, *WEIGHTS, "--samples", 2048).stderr
    for words in (r"real images: 16 of 2,100, about \d+ s left", r"samples: 2,048 of 2,048, about 0 s left"):
        assert re.search(words, shown)


def test_best_shows_the_distance(sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run("fid", "s", *WEIGHTS, "--samples", 2048)
    monkeypatch.setattr("gansweep.cli.results.ranking_of", _by_loss)
    (first, *_) = json.loads(run("best", "s", "--json").stdout)["trials"]
    assert {*first["measured"]} == {
        f"{one}/stand-in" for one in ("frechet", "kernel", "kernel_std", "score", "score_std")
    }  # fmt: skip
    assert "Fréchet distance in stand-in" in run("best", "s").stdout


def _by_loss(_: SweepFolder) -> object:
    from gansweep.records.ranking import Ranking

    return Ranking("loss_g", "min")


@pytest.mark.parametrize(
    ("arguments", "problem", "code"),
    [
        (("s", "--weights", "none.pth"), "none.pth: does not exist; copy pt_inception-2015-12-05-6726825d.pth", 1),
        (("s", "--weights", "images.npz"), "images.npz: has the SHA-256 ", 1),
        (("s", *WEIGHTS, "--samples", "2047"), "must be at least 2,048, got 2,047: with fewer, the covariance", 2),
        (("nothing", *WEIGHTS), "no trial 'nothing'", 1),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(
    sweep: SweepFolder, call: Callable[..., str] | Call, arguments: tuple[str, ...], problem: str, code: int
) -> None:
    Path("s.yaml").write_text(TEXT)
    assert problem in call("fid", *arguments, code=code).splitlines()[-1]


def test_a_trial_that_has_not_ended_is_refused(sweep: SweepFolder, call: Call) -> None:
    first, second = sweep.planned()
    with lock.acquire(first.lock):
        assert call("fid", first.id, *WEIGHTS) == f"s/{first.id}: has not ended; measure it when it has\n"
        assert "s: without 1 trial that did not train all steps; name one by its id" in run("fid", "s", *WEIGHTS).stderr
    assert [len(one) for one in values(sweep)] == [0, 1]
    for path in second.all_checkpoints():
        path.unlink()
    assert call("fid", second.id, *WEIGHTS) == f"s/{second.id}: has no checkpoint\n"


@pytest.fixture
def storage(sweep: SweepFolder, tmp_path: Path) -> Storage:
    """A storage that the sweep is in."""
    found = open_storage(str(tmp_path / "storage"))
    with collecting(found, sweep, print):
        pass
    return found


def test_a_sweep_in_a_storage_is_extended_there(sweep: SweepFolder, storage: Storage, tmp_path: Path) -> None:
    first, second = sweep.planned()
    write_json(first.fid, {"measured": []})  # of a version that wrote to the home alone
    shown = run("fid", "s", *WEIGHTS, "--samples", 2048).stderr
    assert "not among" not in shown
    assert storage.get("sweeps/s/driver") is None, "the lease is returned"
    elsewhere = empty_home(tmp_path / "elsewhere").sweep("s")
    with collecting(storage, elsewhere, print):
        pass
    for one in (first, second):
        there = elsewhere.trial(one.id)
        assert (there.journal.read_bytes(), there.fid.read_bytes()) == (one.journal.read_bytes(), one.fid.read_bytes())
        assert there.outcome.exists()
    before = storage.names("sweeps/s/trials")
    run("fid", "s", *WEIGHTS, "--samples", 2048)
    changed = {name for name, at in storage.names("sweeps/s/trials").items() if before.get(name) != at}
    assert changed == {f"{one.id}/owner.json" for one in (first, second)}, "what is known is not sent again"


def test_a_sweep_that_another_home_runs_is_left_alone(
    sweep: SweepFolder, storage: Storage, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.1)
    before = storage.names("sweeps/s/trials")
    with lease.Lease(storage, "sweeps/s/driver", "other:/home", on_loss=lambda: None):
        error = call("fid", "s", *WEIGHTS, "--samples", "2048")
    assert error.endswith("the sweep is already running (other:/home); wait for it, or end it with `gansweep stop`\n")
    with lock.acquire(sweep.lock):
        assert "s is already running" in str(call("fid", "s", *WEIGHTS, "--samples", "2048"))
    assert storage.names("sweeps/s/trials") == before
    assert values(sweep) == [[], []]


def test_a_trial_that_is_taken_over_meanwhile_is_told_in_one_line(
    sweep: SweepFolder, storage: Storage, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = sweep.planned()

    def taken_over(*_: object) -> str:
        storage.put(f"sweeps/s/trials/{first.id}/owner.json", b"{}")
        return ""

    monkeypatch.setattr("gansweep.api.fid._record", taken_over)
    error = str(call("fid", first.id, *WEIGHTS, "--samples", "2048")).splitlines()[-1]
    assert (
        error == f"s/{first.id}: another process has taken over this trial; call the command again when that has ended"
    )
