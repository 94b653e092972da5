"""Embeddings of users by import path: checked before anything trains, part of a trial's id, used by its evaluations."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from scenes import judge_at_once, train, warm_home

from gansweep.errors import UserError
from gansweep.planning import own_check_process
from gansweep.planning.own import validate
from gansweep.planning.plan import make_plan
from gansweep.records import journal
from gansweep.records.layout import Home, read_json
from gansweep.sweepfile.loader import load

MODULE = """
import numpy as np


def embed(images):
    return images.reshape(len(images), -1)[:, ::3].astype(float)


def flat(images):
    return images.mean((1, 2, 3))


def moody(images):
    return np.random.default_rng().normal(size=(len(images), 40))
"""
TEXT = """name: s
dataset: {{image_size: 16}}
model: {{latent_dim: 4, feature_maps: 4}}
training: {{steps: 4, batch_size: 16}}
stop: none
evaluation: {{per_run: 2, samples: 64, features: "{features}"}}
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a sweep file that names an embedding beside the user's module, and return its path."""
    (tmp_path / "myfeatures.py").write_text(MODULE)

    def to_file(features: str) -> Path:
        path = tmp_path / "s.yaml"
        path.write_text(TEXT.format(features=features))
        return path

    return to_file


def test_samples_are_judged_in_the_users_embedding(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = warm_home(tmp_path / "home")
    judge_at_once(monkeypatch)
    train(home, write("myfeatures:embed"))
    (trial,) = home.sweep("s").all_trials()
    described = read_json(trial.evaluator)
    assert (described["features"]["name"], described["features"]["dimensions"]) == ("myfeatures:embed", 86)
    assert 0.5 < described["accuracy"] < 1, "digits are told by linear discriminants of the components"
    assert [step for step, _ in journal.column(trial.journal, "fd_ratio")] == [0, 2, 4]
    usual = make_plan(load(write("auto"), ()), home)
    assert [one.trial.id for one in usual.trials] != [trial.id]


def answered_here(command: Sequence[str], *, input: str, **_: object) -> subprocess.CompletedProcess[str]:
    """Answer the question to the process that checks code of users in this one."""
    answers = [own_check_process._answer(kind, plain) for kind, plain in json.loads(input)]
    return subprocess.CompletedProcess(command, 0, json.dumps(answers), "")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("flat", "returns float64 of shape (16,) for 16 images, expected numbers of shape (16, features)"),
        ("moody", "returns other features when it is called again; it must depend on the images alone"),
        ("missing", "defines no missing; correct the name"),
    ],
)
def test_what_is_no_embedding_is_refused_before_anything_trains(
    write: Write, home: Home, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    if name != "flat":  # the process takes seconds
        monkeypatch.setattr("gansweep.planning.own.subprocess.run", answered_here)
    sweep = load(write(f"myfeatures:{name}"), ())
    for check in (lambda: validate(sweep, runs=True), lambda: make_plan(sweep, home)):
        with pytest.raises(UserError) as caught:
            check()
        assert str(caught.value).startswith("evaluation.features: ")
        assert what in str(caught.value)
        assert "\n" not in str(caught.value)
