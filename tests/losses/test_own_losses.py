"""Losses of users: checked before anything trains, refused in one line, trained and resumed as built-in ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from documented import ROOT, blocks

from gansweep.errors import UserError
from gansweep.health import metrics as m
from gansweep.health.history import traits
from gansweep.losses.own import OwnLoss
from gansweep.losses.own_check import check
from gansweep.planning import own, own_check_process
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import make_plan, write_trials
from gansweep.records import journal
from gansweep.records.layout import Home, read_json
from gansweep.sweepfile.loader import load
from gansweep.usercode.code import Code, write
from gansweep.usercode.path import ImportPath

FILE = Path(__file__).parents[1] / "users" / "hinged.py"
TEXT = """name: s
dataset: {image_size: 16}
model: {latent_dim: 6, feature_maps: 4, discriminator: {norm: layer}}
training: {steps: 6, batch_size: 16, loss: "hinged:Smooth", critic: true, loss_options: {margin: 2}}
cadence: {metrics: 1, samples: 6, checkpoints: 2}
evaluation: {per_run: 0}
"""


@pytest.fixture
def code(tmp_path: Path) -> Code:
    return write({FILE.name: FILE.read_bytes()}, tmp_path / "code")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file beside the user's module. Losses are checked in this process."""

    def answers(parts: list[OwnLoss]) -> list[object]:
        for part in parts:
            check(part)
        return [{} for _ in parts]

    monkeypatch.setattr(own, "_ask", answers)
    shutil.copy(FILE, tmp_path)
    (tmp_path / "s.yaml").write_text(TEXT)
    return tmp_path / "s.yaml"


@pytest.mark.parametrize(("name", "critic"), [("Hinged", False), ("Smooth", True)])
def test_a_loss_that_can_be_used_is_checked_and_created(code: Code, name: str, critic: bool) -> None:
    loss = OwnLoss(ImportPath("hinged", name), code, {"margin": 3}, critic)
    check(loss)
    assert getattr(loss.create(), "margin") == 3  # noqa: B009  # is the user's


def test_the_loss_of_the_page_can_be_used(tmp_path: Path) -> None:
    (text,) = (block for block in blocks(ROOT / "docs" / "bring-your-own.md", "") if "(Loss)" in block)
    code = write({"losses.py": text.encode()}, tmp_path / "code")
    check(OwnLoss(ImportPath("losses", "Hinge"), code, {"margin": 2}, critic=False))


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("Hinged", {"margine": 3}, "hinged:Hinged: cannot be built: TypeError: "),
        ("no_loss", {}, "hinged:no_loss: returns 3, expected a subclass of gansweep.losses.loss.Loss"),
        ("Vector", {}, "hinged:Vector: its generator returns tensor([1.4, "),
        ("Detached", {}, "hinged:Detached: its discriminator fails: RuntimeError: "),
        ("Failing", {}, "hinged:Failing: its generator fails: hinged.py:"),
        ("Unsure", {}, "hinged:Unsure: its probability returns "),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    code: Code, name: str, options: dict[str, float], problem: str
) -> None:
    with pytest.raises(UserError) as caught:
        check(OwnLoss(ImportPath("hinged", name), code, options, critic=False))
    assert str(caught.value).startswith(f"training.loss: {problem.partition('[1.4, ')[0]}")
    assert "\n" not in str(caught.value)


def test_the_sweep_file_states_whether_d_is_a_critic_and_batch_norm_is_refused(code: Code) -> None:
    with pytest.raises(
        UserError, match=r"^training\.critic: hinged:Smooth makes D a critic; set training\.critic: true$"
    ):
        OwnLoss(ImportPath("hinged", "Smooth"), code, {}, critic=False).create()
    with pytest.raises(UserError, match=r"^training\.loss: hinged:Smooth: its penalty treats each image by itself"):
        OwnLoss(ImportPath("hinged", "Smooth"), code, {}, critic=True, mixes=True).create()


def test_the_process_of_the_check_answers(code: Code) -> None:
    from gansweep.config import to_plain

    good, bad = (OwnLoss(ImportPath("hinged", name), code, {}, critic=False) for name in ("Hinged", "no_loss"))
    assert own_check_process._answer("OwnLoss", json.loads(json.dumps(to_plain(good)))) == {}
    assert "returns 3" in own_check_process._answer("OwnLoss", to_plain(bad))["problem"]


def test_it_is_planned_trained_and_resumed_bit_for_bit(file: Path, home: Home) -> None:
    plan = make_plan(load(file, ["search={method: grid, over: {training.loss_options.margin: [1, 2]}}"]), home)
    write_trials(plan, "", ())
    one, two = (Job.from_config(config) for config in jobs_of(plan))
    assert [dict(job.training.loss.options) for job in (one, two)] == [{"margin": 1}, {"margin": 2}]
    whole = one.open()
    assert whole.advance(60) is not None
    whole.close()
    records = journal.read(one.folder.journal)
    assert {*m.CRITIC_TRAINING} <= records[-1].values.keys()
    assert not {m.D_REAL, m.D_FAKE} & records[-1].values.keys()
    assert traits(read_json(one.folder.trial)["config"]).critic
    parts = one.open(folder=two.folder)
    while parts.step < 3:
        parts.advance(0)
    parts.close()
    rest = one.open(folder=two.folder)
    assert rest.step == 2
    rest.advance(60)
    rest.close()
    again = journal.read(two.folder.journal)
    losses = [[r.values[m.LOSS_D] for r in found if m.LOSS_D in r.values] for found in (records, again)]
    assert losses[0] == losses[1]
    assert np.isfinite(losses[0]).all()


def test_an_edit_of_the_loss_makes_another_trial(file: Path, home: Home) -> None:
    def planned() -> str:
        (one,) = make_plan(load(file), home).trials
        return one.trial.id

    before = planned()
    module = file.with_name("hinged.py")
    module.write_text(module.read_text() + "# edited\n")
    assert planned() != before


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("training.loss=hinged", "must be 'non_saturating'"),
        ("training.loss='hinged:'", "'hinged:' is not an import path"),
        ("training.augment={policy: [color], adaptive: true}", "follows the signs of D's outputs"),
        ("training={steps: 1, critic: true}", "goes with an own loss"),
        ("training={steps: 1, loss_options: {margin: 1}}", "goes with an own loss"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_loss_is_read(file: Path, override: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        load(file, [override])
