"""Data sets of users by import path: pixels, labels, identity, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gansweep.errors import SweepFileError, UserError
from gansweep.planning.images import image_sets
from gansweep.planning.plan import Plan, make_plan, recorded, write_trials
from gansweep.records.layout import Home
from gansweep.sweepfile.loader import load

MODULE = """
import numpy as np
import torch
from torch.utils.data import Dataset
from PIL import Image
from shades import LOW

class Shades(Dataset):
    classes = ["dark", "light"]

    def __init__(self, count=40, kind="pil"):
        self.count, self.kind = count, kind

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        pixels = np.full((16, 16), LOW + index, np.uint8)
        made = {
            "pil": Image.fromarray(pixels),
            "uint8": torch.from_numpy(pixels)[None],
            "float": torch.from_numpy(pixels)[None] / 255,
            "normalised": torch.from_numpy(pixels)[None] / 127.5 - 1,
            "wide": torch.from_numpy(pixels)[None] * 1.0,
            "text": "no image",
        }[self.kind]
        return made, torch.tensor(index % 2)

def shades(**options):
    return Shades(**options)

def unlabelled():
    return [Shades()[index][0] for index in range(40)]

def broken():
    raise RuntimeError("no files")
"""
TEXT = """name: s
dataset: {name: "mydata:Shades", image_size: 16}
model: {latent_dim: 4, feature_maps: 4}
training: {steps: 4, batch_size: 16}
evaluation: {per_run: 0}
"""


@pytest.fixture
def plan(tmp_path: Path, home: Home) -> Callable[..., Plan]:
    (tmp_path / "mydata.py").write_text(MODULE)
    (tmp_path / "shades.py").write_text("LOW = 50\n")
    (tmp_path / "s.yaml").write_text(TEXT)
    return lambda *overrides: make_plan(load(tmp_path / "s.yaml", overrides), home)


@pytest.mark.parametrize("kind", ["pil", "uint8", "float", "normalised"])
def test_pixels_and_labels_are_those_of_the_data_set(plan: Callable[..., Plan], kind: str) -> None:
    (images,) = plan("dataset.name=mydata:shades", f"dataset.options={{count: 20, kind: {kind}}}").image_sets
    np.testing.assert_array_equal(images.load()[:, 0], np.full((16, 16, 20), np.arange(50, 70)).transpose(2, 0, 1))
    assert images.classes == ("dark", "light")
    assert images.labels().tolist() == [0, 1] * 10


def test_a_list_of_images_has_no_classes(plan: Callable[..., Plan]) -> None:
    (images,) = plan("dataset.name=mydata:unlabelled").image_sets
    assert (images.images, images.classes) == (40, ("all",))


def test_an_edit_is_another_set_and_a_recorded_trial_keeps_its_own(
    plan: Callable[..., Plan], tmp_path: Path, home: Home
) -> None:
    first = plan()
    write_trials(first, "gansweep run s.yaml", ())
    first.trials[0].training.code.copy_to(home.sweep("s").code)
    (tmp_path / "shades.py").write_text("LOW = 60\n")
    second = plan()
    assert second.trials[0].trial.id != first.trials[0].trial.id
    assert int(second.image_sets[0].load().min()) == 60
    assert plan().image_sets == second.image_sets
    again = recorded(home, "s", first.trials[0].trial.id)
    assert again.images.fingerprint == first.image_sets[0].fingerprint


def test_the_command_data_shows_it(plan: Callable[..., Plan], tmp_path: Path, home: Home) -> None:
    (images,) = image_sets(load(tmp_path / "s.yaml"), home)
    assert images.fingerprint == plan().image_sets[0].fingerprint


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mydata:broken", "{}", "dataset.name: mydata:broken: mydata.py:36: RuntimeError: no files; correct the"),
        ("mydata:Shades", "{size: 3}", "dataset.name: mydata:Shades: TypeError: "),
        ("mydata:Shade", "{}", "dataset.name: mydata:Shade: mydata.py defines no Shade; correct the name"),
        ("gone:Shades", "{}", "dataset.name: gone:Shades: there is no module gone in "),
        ("mydata:LOW", "{}", "dataset.name: mydata:LOW: is not callable (int); name a function or a class"),
        ("mydata:Shades", "{kind: text}", "dataset.name: mydata:Shades: item 0 is not an image but str"),
        ("mydata:Shades", "{kind: wide}", "dataset.name: mydata:Shades: has values of 50 … 89, neither in 0 … 1 nor"),
        ("mydata:Shades", "{kind: other}", "dataset.name: mydata:Shades: item 0 raises KeyError: 'other'"),
        ("mydata:Shades", "{count: 0}", "dataset: mydata:Shades: contains no images"),
    ],
)
def test_what_is_refused(plan: Callable[..., Plan], name: str, options: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(f"dataset.name={name}", f"dataset.options={options}")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["my data:x", "digit"])
def test_names_that_are_neither_sets_nor_import_paths(plan: Callable[..., Plan], name: str) -> None:
    with pytest.raises(SweepFileError, match=r"dataset.name: .*MODULE:NAME"):
        plan(f"dataset.name={name}")
