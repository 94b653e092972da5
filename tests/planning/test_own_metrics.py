"""Metrics of users by import path: checked before anything trains, recorded with the others, never a lost run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from documented import ROOT, blocks
from scenes import prepare_digits

from gansweep.config import to_plain
from gansweep.errors import SweepFileError, UserError
from gansweep.gan.reference import unseen_images
from gansweep.health.own import OwnMetric
from gansweep.health.quality import Floats
from gansweep.planning import own, own_check_process
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan, make_plan, write_trials
from gansweep.records import journal
from gansweep.records.layout import Home
from gansweep.records.ranking import ranking_of
from gansweep.sweepfile.loader import load
from gansweep.sweepfile.schema import Sweep
from gansweep.usercode.code import Code, write
from gansweep.usercode.path import ImportPath

FILE = Path(__file__).parents[1] / "users" / "sharp.py"
SHARP = "sharp:sharpness"
TEXT = f"""name: s
dataset: {{image_size: 16}}
model: {{latent_dim: 4, feature_maps: 4}}
training: {{steps: 4, batch_size: 16}}
stop: none
evaluation: {{per_run: 2, samples: 64, metrics: ["{SHARP}", "sharp:uneven"]}}
search:
  method: grid
  over: {{training.learning_rate: [1e-4]}}
  objective: {{metric: "{SHARP}", mode: max}}
"""


@pytest.fixture
def code(tmp_path: Path) -> Code:
    return write({FILE.name: FILE.read_bytes()}, tmp_path / "code")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[OwnMetric]:
    """Metrics that are checked, in this process."""
    seen: list[OwnMetric] = []

    def answers(parts: list[OwnMetric]) -> list[object]:
        seen.extend(parts)
        return [own_check_process._answer("OwnMetric", json.loads(json.dumps(to_plain(part)))) for part in parts]

    monkeypatch.setattr(own, "_ask", answers)
    return seen


@pytest.fixture
def plan(tmp_path: Path, home: Home, asked: list[OwnMetric]) -> Callable[..., Plan]:
    shutil.copy(FILE, tmp_path)
    (tmp_path / "s.yaml").write_text(TEXT)
    prepare_digits(home)
    return lambda *overrides: make_plan(load(tmp_path / "s.yaml", overrides), home)


def metric(code: Code, name: str) -> OwnMetric:
    return OwnMetric(ImportPath("sharp", name), code, channels=3, size=16)


def test_a_number_is_a_value_and_nan_stands_for_none(code: Code) -> None:
    real, samples = np.random.default_rng(1).integers(0, 256, (2, 5, 3, 16, 16), np.uint8)
    steps: list[Floats] = [np.abs(np.diff(images.astype(float))).mean() for images in (samples, real)]
    evidence = SimpleNamespace(pixels=samples)
    found = {name: metric(code, name).metric(real).compute(evidence) for name in ("sharpness", "tensor", "unmeasured")}
    assert found == pytest.approx(
        {"sharpness": steps[0] / steps[1], "tensor": samples.mean(), "unmeasured": math.nan}, rel=1e-6, nan_ok=True
    )
    for name in found:
        metric(code, name).check()


def test_the_metric_of_the_page_can_be_used(tmp_path: Path) -> None:
    (text,) = (block for block in blocks(ROOT / "docs" / "bring-your-own.md", "") if "def sharpness" in block)
    code = write({"mymetrics.py": text.encode()}, tmp_path / "code")
    OwnMetric(ImportPath("mymetrics", "sharpness"), code, channels=1, size=16).check()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("vector", "sharp:vector: returns [1"),
        ("words", "sharp:words: returns 'sharp', expected a number"),
        ("nothing", "sharp:nothing: returns None, expected a number"),
        ("writing", "sharp:writing: fails: sharp.py:38: ValueError: assignment destination is read-only"),
        ("absent", "sharp:absent: sharp.py defines no absent; correct the name"),
        ("LEVEL", "sharp:LEVEL: is not callable (int)"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(code: Code, name: str, problem: str) -> None:
    (answer,) = own_check_process._answer("OwnMetric", to_plain(metric(code, name))).values()
    assert answer.startswith(f"evaluation.metrics: {problem}")
    assert "\n" not in answer


def test_it_is_recorded_at_evaluations_ranks_trials_and_may_fail(plan: Callable[..., Plan]) -> None:
    made = plan()
    write_trials(made, "", ())
    (job,) = (Job.from_config(config) for config in jobs_of(made))
    for path in made.sweep.folder.glob("sharp.py"):
        path.write_text("raise RuntimeError('the copy is imported')")
    run = job.open()
    assert run.advance(60) is not None
    run.close()
    records = [record for record in journal.read(job.folder.journal) if "fd_ratio" in record.values]
    assert [record.step for record in records] == [0, 2, 4]
    assert all(0 < record.values[SHARP] < math.inf for record in records)
    assert all(math.isnan(record.values["sharp:uneven"]) for record in records)
    told = [text for text in run.notices if "uneven" in text]
    assert told == ["evaluation.metrics: sharp:uneven: fails: sharp.py:45: ValueError: too flat; nan is recorded"]
    assert ranking_of(made.folder).points(records) == [(r.step, -r.values[SHARP]) for r in records]


def test_it_compares_with_the_real_images_of_the_other_metrics(plan: Callable[..., Plan]) -> None:
    made = plan()
    write_trials(made, "", ())
    (job,) = (Job.from_config(config) for config in jobs_of(made))
    evaluator = job.evaluator(job.images)
    found = evaluator.quality(real := unseen_images(job.images, job.samples))
    assert real.shape == (64, 1, 16, 16)
    assert found[SHARP] == 1
    assert found["fd_ratio"] == pytest.approx(0, abs=1e-6)


def test_it_is_part_of_the_identity_only_if_it_is_used(plan: Callable[..., Plan], asked: list[OwnMetric]) -> None:
    def trial(*overrides: str) -> str:
        (one,) = plan(*overrides).trials
        return one.trial.id

    none = ("evaluation={per_run: 2, samples: 64}", "search=null")
    assert trial(*none) == trial(*none, "evaluation.metrics=[]")
    assert not asked
    before = trial()
    assert before not in (trial(*none), trial("evaluation.metrics=['sharp:sharpness']"))
    checked = len(asked)
    assert trial() == before
    assert len(asked) == checked == 2, "each is checked once"
    module = plan().sweep.folder / "sharp.py"
    module.write_text(module.read_text() + "# edited\n")
    assert trial() != before


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("evaluation.metrics=[sharpness]", "'sharpness' is not an import path"),
        ("evaluation.metrics=['sharp:a', 'sharp:a']", "names sharp:a twice"),
        ("evaluation.metrics=['sharp:uneven']", r"no run records sharp:sharpness; name it in evaluation\.metrics"),
        ("evaluation.per_run=0", "has no effect without evaluations"),
        ("search.objective.metric='sharp:'", "'sharp:' is not an import path"),
    ],
)
def test_settings_that_do_not_fit_are_refused(plan: Callable[..., Plan], override: str, problem: str) -> None:
    with pytest.raises(SweepFileError, match=problem):
        plan(override)


def test_validate_runs_it_unless_told_not_to(plan: Callable[..., Plan], asked: list[OwnMetric]) -> None:
    sweep = plan().sweep
    asked.clear()
    own.validate(sweep, runs=False)
    assert not asked
    own.validate(sweep, runs=True)
    assert [(str(one.path), one.channels, one.size) for one in asked] == [(SHARP, 1, 16), ("sharp:uneven", 1, 16)]


def test_the_schema_knows_import_paths() -> None:
    found = Sweep.model_json_schema()["$defs"]
    assert "pattern" in found["Evaluation"]["properties"]["metrics"]["items"]
    assert "fd_ratio" in found["Objective"]["properties"]["metric"]["anyOf"][0]["enum"]


def test_an_unknown_module_is_named(plan: Callable[..., Plan]) -> None:
    with pytest.raises(UserError, match=r"^evaluation\.metrics: "):
        plan("search=null", "evaluation.metrics=['blunt:sharpness']")
