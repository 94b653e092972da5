"""`evaluation.fid`: checked before anything trains, measured after the last step, part of no identity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stand_in

from gansweep.errors import SweepFileError, UserError
from gansweep.gan import fid
from gansweep.gan.run import Run
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan, make_plan, write_trials
from gansweep.records import fid as records
from gansweep.records import journal
from gansweep.records.layout import Home, TrialFolder, read_json
from gansweep.records.withdrawal import withdraw
from gansweep.sweepfile.loader import load

TEXT = """name: s
dataset: {name: arrays, path: images.npz, image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 4, batch_size: 16}
evaluation:
  per_run: 0
  fid: {weights: stand-in.pt2, samples: 2048}
"""
METRIC = "frechet/stand-in"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a sweep file, a network and 2,100 images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fid, "SUBSETS", 2)
    np.savez("images.npz", np.random.default_rng(0).integers(0, 200, (2_100, 16, 16), np.uint8))
    stand_in.write(Path("stand-in.pt2"))
    Path("s.yaml").write_text(TEXT)


@pytest.fixture
def plan(home: Home) -> Callable[..., Plan]:
    return lambda *overrides: make_plan(load(Path("s.yaml"), overrides), home)


def begin(plan: Plan) -> tuple[Job, TrialFolder]:
    write_trials(plan, "gansweep run s.yaml", ())
    job = Job.from_config(jobs_of(plan)[0])
    return job, job.folder


def to_the_end(run: Run) -> list[str]:
    """Train to the end, and return the notices."""
    while run.advance(60) is None:
        pass
    run.close()
    return run.notices


def test_is_recorded_at_the_last_step(plan: Callable[..., Plan]) -> None:
    job, folder = begin(plan())
    notices = to_the_end(job.open())
    assert notices == ["comparing 2,048 samples with the real images in stand-in, grey ones repeated to three channels"]
    *_, before, last = journal.read(folder.journal)
    assert (before.step, last.step, last.time) == (4, 4, before.time)
    assert {*last.values} == {f"{one}/stand-in" for one in ("frechet", "kernel", "kernel_std", "score", "score_std")}
    (measured,) = records.read(folder)
    assert (measured.step, measured.samples, measured.images, measured.metrics) == (4, 2048, 2100, last.values)
    assert measured.weights == job.fid.sha256
    to_the_end(job.open())
    assert journal.read(folder.journal)[-2:] == [before, last]


def test_a_run_that_is_killed_meanwhile_measures_at_its_last_step(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, folder = begin(plan())
    run = job.open()
    while run.step < 4:
        assert run.advance(0) is None
    assert run.advance(0) is None
    assert folder.all_checkpoints()[-1].stem == f"{4:08d}"
    assert METRIC not in run.latest
    run.close()
    assert not folder.outcome.exists()
    again = job.open()
    assert again.step == 4
    monkeypatch.setattr("gansweep.gan.training.Trainer.train_step", lambda _: pytest.fail("trains again"))
    to_the_end(again)
    value = journal.column(folder.journal, METRIC)
    assert [step for step, _ in value] == [4]
    # as if it had been killed between both records
    content = folder.journal.read_bytes()
    folder.journal.write_bytes(content[: content[:-1].rfind(b"\n") + 1])
    monkeypatch.setattr("gansweep.gan.closing.measure", lambda *_: pytest.fail("measures again"))
    to_the_end(job.open())
    assert folder.journal.read_bytes() == content


def test_a_request_to_stop_is_heeded_meanwhile(plan: Callable[..., Plan]) -> None:
    job, folder = begin(plan())
    run = job.open()
    while run.step < 4:
        run.advance(0)
    assert run.suspend("stopped on request").kind == "interrupted"
    run.close()
    assert not folder.fid.exists()
    to_the_end(job.open())
    assert METRIC in journal.read(folder.journal)[-1].values


def test_more_steps_continue_and_are_measured_at_their_end(plan: Callable[..., Plan]) -> None:
    to_the_end(begin(plan())[0].open())
    job, folder = begin(plan("training.steps=6"))
    to_the_end(job.open())
    assert [step for step, _ in journal.column(folder.journal, METRIC)] == [4, 6]


def test_results_of_a_doubted_gpu_are_withdrawn(plan: Callable[..., Plan]) -> None:
    job, folder = begin(plan())
    to_the_end(job.open())
    before = folder.journal.read_bytes()
    withdraw(folder, 0)
    assert not folder.fid.exists()
    to_the_end(job.open())
    assert [r.time for r in journal.read(folder.journal)][-2:] == [r.time for r in records_of(before)][-2:]


def records_of(content: bytes) -> list[journal.Record]:
    path = Path("copy.jsonl")
    path.write_bytes(content)
    return journal.read(path)


def test_is_part_of_no_identity_and_no_document(plan: Callable[..., Plan]) -> None:
    (with_it,), (more,), (without,) = (
        plan(*overrides).trials for overrides in ((), ("evaluation.fid.samples=3000",), ("evaluation.fid=null",))
    )
    assert with_it.trial.id == more.trial.id == without.trial.id
    _, folder = begin(plan())
    assert "fid" not in read_json(folder.trial)["config"]["evaluation"]
    to_the_end(begin(plan("evaluation.fid=null"))[0].open())
    assert plan().pending == ()


def test_a_stopped_run_is_not_measured(plan: Callable[..., Plan]) -> None:
    job, folder = begin(plan())
    run = job.open()
    run.advance(0)
    run.suspend("", "asha")
    run.close()
    assert not folder.fid.exists()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "absent.pth",
            "absent.pth: does not exist; copy pt_inception-2015-12-05-6726825d.pth there (docs/features.md)",
        ),
        ("images.npz", "images.npz: has the SHA-256 "),
        ("$NOWHERE/x.pth", "$NOWHERE/x.pth: the variable $NOWHERE is not set"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_place(
    plan: Callable[..., Plan], tmp_path: Path, override: str, problem: str
) -> None:
    Path("s.yaml").write_text(TEXT.replace("stand-in.pt2", override))
    with pytest.raises(UserError) as refused:
        plan()
    place = problem if problem.startswith("$") else f"{tmp_path}/{problem}"
    assert str(refused.value).startswith(f"s.yaml:7:18: evaluation.fid.weights: {place}")
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=r"^--set evaluation.fid.weights: evaluation.fid.weights: .*none.pth: does not"):
        plan("evaluation.fid.weights=none.pth")


def test_too_few_samples_or_images_are_refused(plan: Callable[..., Plan]) -> None:
    with pytest.raises(SweepFileError) as refused:
        plan("evaluation.fid.samples=2047")
    (problem,) = refused.value.problems
    assert problem.endswith(
        "evaluation.fid.samples: must be at least 2,048, got 2,047: with fewer, the covariance of as many features is"
        " singular"
    )
    with pytest.raises(UserError, match=r"^s.yaml:7:8: evaluation.fid: 1,797 images are too few, 2,048 are needed"):
        plan("dataset={name: digits, image_size: 16}")


def test_a_node_with_another_file_is_told(plan: Callable[..., Plan]) -> None:
    job, _ = begin(plan())
    stand_in.write(Path("stand-in.pt2"), side=20)
    with pytest.raises(UserError, match=r"stand-in.pt2: differs from the file of that name on the machine of"):
        job.open()
