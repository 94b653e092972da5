"""`gansweep data`, on small sets with known flaws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_calls import GOOD
from click.testing import CliRunner
from PIL import Image

from gansweep.cli.main import cli
from gansweep.gan.sampling import GAP

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
PIXELS[7] = PIXELS[31] = PIXELS[2]
PIXELS[5], PIXELS[11] = 9, 0


@pytest.fixture(autouse=True)
def _work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./s.yaml trains on 40 images in ./set.npz: class 4 has 30 of them, class 6 the other 10."""
    monkeypatch.chdir(tmp_path)
    np.savez("set.npz", x=PIXELS, y=np.repeat([4, 6], [30, 10]))
    Path("s.yaml").write_text(GOOD.replace("{image_size", "{name: arrays, path: set.npz, image_size"))


def call(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["data", "s.yaml", "--home", "home", *words], prog_name="gansweep")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else str(result.exception)


def test_it_prints_what_a_sweep_would_train_on() -> None:
    lines = call().splitlines()
    assert lines[0].startswith("data      40 images of 3×16×16, fingerprint ")
    assert lines[1:] == [
        "          2 classes: 4, 6",
        "images    30, 10 per class",
        f"values    0 to 255, mean {PIXELS.mean():.1f}",
        "repeated  2 images equal to an earlier one (7, 31, counted from 0)",
        "constant  2 images of a single value (5, 11, counted from 0)",
    ]


def test_json_has_the_same_and_nothing_is_trained() -> None:
    (document,) = json.loads(call("--json"))
    assert document["per_class"] == {"4": 30, "6": 10}
    assert (document["duplicates"], document["constant"]) == ([7, 31], [5, 11])
    assert (document["low"], document["high"]) == (0, 255)
    assert document["mean"] == pytest.approx(PIXELS.mean())
    assert sorted(path.name for path in Path("home").iterdir() if path.name != "cache") == []


def cell(sheet: np.ndarray[Any, Any], row: int, column: int) -> np.ndarray[Any, Any]:
    top, left = row * (16 + GAP), column * (16 + GAP)
    return sheet[top : top + 16, left : left + 16]


def test_the_contact_sheet_has_a_row_per_class() -> None:
    call("-o", "sheet.png")
    with Image.open("sheet.png") as opened:
        sheet = np.asarray(opened)
    assert sheet.shape == (2 * 16 + GAP, 16 * (16 + GAP) - GAP, 3)
    np.testing.assert_array_equal(cell(sheet, 0, 0), PIXELS[0])
    np.testing.assert_array_equal(cell(sheet, 0, 15), PIXELS[29])
    np.testing.assert_array_equal(cell(sheet, 1, 9), PIXELS[39])
    assert (cell(sheet, 1, 10) == 255).all()


def test_images_that_no_trial_can_use_are_shown_all_the_same() -> None:
    assert "40 images" in call("--set", "training.batch_size=64", "--set", "model.channels=1")


def test_each_set_of_a_search_is_shown_and_one_is_chosen_for_the_sheet() -> None:
    search = "search={method: grid, over: {dataset.channels: [1, 3]}}"
    assert call("--set", search).count("data  ") == 2
    assert call("--set", search, "-o", "sheet.png", code=1) == (
        "--output: the sweep has 2 image sets; choose one with --set dataset.KEY=VALUE"
    )
