from __future__ import annotations

import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan import glyphs
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.glyphs import FONTS, LETTERS, draw
from gansweep.gan.reader import Source

TURN = len(FONTS)  # images after which every font has had its turn


def drawn(cache: Path, classes: str = "Au", per_class: int = TURN, side: int = 32) -> ImageSet:
    return prepare(Source("glyphs", side, classes=tuple(classes), per_class=per_class), cache)


def test_a_letter_and_a_number_always_give_the_same_image() -> None:
    first = np.asarray(draw("u", 5))
    draw("E", 3)  # does not depend on what was drawn before
    glyphs._sheet.cache_clear()
    np.testing.assert_array_equal(draw("u", 5), first)
    others = [draw("u", 5 + TURN), draw("u", 6), draw("U", 5)]
    assert all((np.asarray(other) != first).any() for other in others)


def test_every_font_has_every_letter_and_no_two_letters_look_the_same() -> None:
    for font in FONTS:
        sheets = [glyphs._sheet(letter, font).tobytes() for letter in LETTERS]
        assert len(set(sheets)) == 52, font  # an empty picture, or one box for all, would repeat


def test_every_font_has_letters_not_symbols_in_their_place() -> None:
    """Small letters are the most like themselves, by cosine, in the mean of the other fonts."""

    def sheets(font: str) -> np.ndarray:
        return np.stack([np.asarray(glyphs._sheet(letter, font), float).ravel() for letter in string.ascii_lowercase])

    drawn_in = {font: sheets(font) for font in FONTS}

    def recognised(font: str, letters: np.ndarray) -> float:
        others = np.mean([drawn_in[other] for other in FONTS if other != font], axis=0)
        likeness = letters @ (others / np.linalg.norm(others, axis=1, keepdims=True)).T
        return float((likeness.argmax(axis=1) == np.arange(26)).mean())

    assert min(recognised(font, letters) for font, letters in drawn_in.items()) > 0.4
    assert recognised("cmsy10", sheets("cmsy10")) < 0.1  # calligraphic capitals, and arrows and brackets for the rest


def test_no_two_fonts_look_the_same() -> None:
    assert len({glyphs._sheet("g", font).tobytes() for font in FONTS}) == TURN


@pytest.mark.parametrize("letter", "WMjpgQi")
def test_letters_are_white_on_black_and_never_cut_off(letter: str) -> None:
    pixels = np.stack([np.asarray(draw(letter, i)) for i in range(10 * TURN)])
    assert (pixels.dtype, pixels.shape[1:]) == (np.uint8, (64, 64))
    border = np.ones((64, 64), bool)
    border[1:-1, 1:-1] = False
    assert pixels[:, border].max() == 0
    assert pixels.max(axis=(1, 2)).min() > 180  # thin strokes are dimmer, but none is lost
    assert pixels.mean(axis=(1, 2)).max() < 100


def test_jitter_turns_slants_scales_and_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    def spread(*off: str) -> list[float]:
        """Spread of the columns' and rows' centres and of the area, over images of one font."""
        with monkeypatch.context() as patch:
            for name in off:
                patch.setattr(glyphs, name, 0.0)
            pixels = np.stack([np.asarray(draw("H", i * TURN)) for i in range(20)]).astype(float)
        area, at = pixels.sum(axis=(1, 2)), np.arange(64)
        centre = [(pixels.sum(axis=axis) * at).sum(axis=1) / area for axis in (1, 2)]
        return [float(np.std(centre[0])), float(np.std(centre[1])), float(np.std(area) / area.mean())]

    everything = ("ROTATION", "SHEAR", "SCALE", "SHIFT")
    assert spread(*everything) == pytest.approx([0, 0, 0], abs=1e-9)
    assert spread("ROTATION", "SHEAR", "SCALE")[0] == pytest.approx(3 / 3**0.5, rel=0.4)  # uniform within ± 3
    assert spread("ROTATION", "SHEAR", "SCALE")[1] == pytest.approx(3 / 3**0.5, rel=0.4)
    assert spread("ROTATION", "SHEAR", "SHIFT")[2] == pytest.approx(2 * 0.15 / 3**0.5, rel=0.4)


@pytest.mark.parametrize(("off", "most"), [("SHEAR", 12.0), ("ROTATION", 11.3)], ids=["turned", "slanted"])
def test_stems_lean_by_up_to_the_rotation_and_by_up_to_the_slant(
    monkeypatch: pytest.MonkeyPatch, off: str, most: float
) -> None:
    monkeypatch.setattr(glyphs, off, 0.0)  # arctan 0.2 is 11.3°

    def lean(index: int) -> float:
        """Lean of the letter I, in degrees from upright."""
        y, x = np.nonzero(np.asarray(draw("I", index * TURN)) > 128)
        return float(np.degrees(np.arctan(np.polyfit(y, x, 1)[0])))

    leans = [lean(i) for i in range(60)]
    assert -most - 0.7 < min(leans) < 0.8 * -most  # pixels are coarse
    assert 0.8 * most < max(leans) < most + 0.7


def test_the_set_has_one_class_a_letter_in_alphabetical_order(tmp_path: Path) -> None:
    found = drawn(tmp_path, "uWA", per_class=2, side=64)
    assert found.classes == ("A", "W", "u")
    assert found.labels().tolist() == [0, 0, 1, 1, 2, 2]
    expected = [np.asarray(draw(letter, i)) for letter in "AWu" for i in range(2)]
    np.testing.assert_array_equal(found.load()[:, 0], expected)


def test_all_letters_640_times_unless_asked_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare(Source("glyphs", 16, per_class=1), tmp_path).classes == tuple(LETTERS)
    monkeypatch.setattr(glyphs, "draw", lambda *_: Image.new("L", (64, 64)))  # quick
    assert prepare(Source("glyphs", 16, classes=("O",)), tmp_path / "new").images == 640


def test_more_images_and_other_classes_leave_the_rest_alone(tmp_path: Path) -> None:
    few, many = drawn(tmp_path, "Au", per_class=3), drawn(tmp_path, "Auz", per_class=5)
    np.testing.assert_array_equal(many.load()[[0, 1, 2, 5, 6, 7]], few.load())


@pytest.mark.parametrize("side", [28, 32, 64])
def test_letters_are_told_apart_at_every_size(tmp_path: Path, side: int) -> None:
    """By their nearest neighbours in pixels, a weak classifier: the evaluator's own has an accuracy of 0.99."""
    found = drawn(tmp_path, "uWOEH", per_class=4 * TURN, side=side)
    pixels, labels = found.load().reshape(found.images, -1).astype(np.float32), found.labels()
    product = pixels @ pixels.T
    norms = np.diag(product)
    distance = norms[:, None] + norms - 2 * product
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).mean() > 0.85


def test_one_folder_a_letter_that_tells_cases_apart_on_any_disk(tmp_path: Path) -> None:
    found = drawn(tmp_path, "aA", per_class=2)
    folder = tmp_path / "glyphs-1"
    files = sorted(str(f.relative_to(folder)) for f in folder.rglob("*.*"))
    assert files == [f"{case}/{i:05d}.png" for case in ("lower-a", "upper-A") for i in range(2)]
    same = prepare(Source("image_folder", 32, path=str(folder)), tmp_path / "other")
    np.testing.assert_array_equal(same.load()[::-1].reshape(2, 2, 32, 32)[:, ::-1], found.load().reshape(2, 2, 32, 32))


def test_letters_are_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = drawn(tmp_path)
    drawn(tmp_path, "x")  # another set, as in a sweep over letters
    assert capsys.readouterr().err == f"drawing glyphs to {tmp_path / 'glyphs-1'}\n"
    monkeypatch.setattr(glyphs, "draw", None)
    assert drawn(tmp_path) == first
    assert drawn(tmp_path, side=16).images == first.images
    assert capsys.readouterr().err == ""


def test_missing_and_torn_files_are_drawn_anew(tmp_path: Path) -> None:
    first = drawn(tmp_path, per_class=4)
    gone, empty, short, whole = sorted((tmp_path / "glyphs-1" / "lower-u").iterdir())
    content = short.read_bytes()
    gone.unlink()
    empty.write_bytes(b"")
    short.write_bytes(content[:-30])
    next(tmp_path.glob("*.json")).unlink()
    assert drawn(tmp_path, per_class=4) == first
    assert short.read_bytes() == content
    assert {f.name for f in whole.parent.iterdir()} == {f.name for f in (gone, empty, short, whole)}


def test_letters_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    (tmp_path / "glyphs-1").write_text("in the way")
    with pytest.raises(UserError) as caught:
        drawn(tmp_path)
    message = f"{tmp_path}: the decoded images cannot be written (Not a directory); name another disk with --home"
    assert str(caught.value) == message


def test_unknown_letters_are_refused_with_a_list(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        drawn(tmp_path, "aßé")
    assert str(caught.value) == f"dataset.classes: glyphs has no class ß, é; it has {', '.join(LETTERS)}"
    assert not list(tmp_path.iterdir())


def test_missing_fonts_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs, "FONTS", ("gone",))
    with pytest.raises(UserError) as caught:
        drawn(tmp_path)
    message = str(caught.value)
    assert message.startswith("dataset.name: glyphs: ")
    assert message.endswith("gone.ttf: cannot be read (cannot open resource); reinstall matplotlib")
    assert "\n" not in message


def test_drawing_imports_neither_matplotlib_nor_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from gansweep.gan.data import prepare
from gansweep.gan.reader import Source
assert prepare(Source("glyphs", 32, classes=("u",), per_class=3), Path({str(tmp_path)!r})).images == 3
print({{"matplotlib", "torch", "torchvision", "sklearn"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
