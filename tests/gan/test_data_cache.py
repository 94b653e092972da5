from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gansweep.gan import data
from gansweep.gan.data import ImageSet, Pixels, prepare
from gansweep.gan.sources import Source


def picture(mode: str = "RGB", colour: object = (200, 100, 50)) -> Image.Image:
    return Image.new(mode, (16, 16), colour)  # type: ignore[arg-type]


def forbid_decoding(patch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> tuple[Pixels, object, list[str]]:
        raise AssertionError("decoded again")

    patch.setattr(data, "_decode", decode)


def test_a_second_prepare_decodes_nothing(
    root: Path, prepared: Callable[..., ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture().save(root / "a.png")
    first = prepared()
    forbid_decoding(monkeypatch)
    assert prepared() == first


def test_caches_of_older_versions_are_found(tmp_path: Path) -> None:
    """Those made before a source had `per_class`."""
    prepare(Source("digits", 16), tmp_path)
    assert [f.name for f in tmp_path.glob("*.json")] == ["digits-75dfb9d549261e4a.json"]


def test_a_number_of_images_a_class_has_a_cache_of_its_own(tmp_path: Path) -> None:
    sets = [prepare(Source("glyphs", 16, classes=("u",), per_class=n), tmp_path) for n in (2, 3, 2)]
    assert [s.images for s in sets] == [2, 3, 2]
    assert sets[0].fingerprint == sets[2].fingerprint != sets[1].fingerprint


def test_a_changed_file_is_decoded_anew(root: Path, prepared: Callable[..., ImageSet]) -> None:
    picture().save(root / "a.png")
    first = prepared()
    picture(colour=(1, 2, 3)).save(root / "a.png")
    second = prepared()
    assert second.fingerprint != first.fingerprint
    assert second.load()[0, :, 0, 0].tolist() == [1, 2, 3]
    picture().save(root / "b.png")
    assert prepared().images == 2


def test_the_fingerprint_tells_content_not_place(root: Path, tmp_path: Path, prepared: Callable[..., ImageSet]) -> None:
    picture("L", 50).save(root / "a.png")
    shutil.copytree(root, tmp_path / "moved")
    (tmp_path / "moved" / "a.png").rename(tmp_path / "moved" / "z.png")
    first = prepared()
    assert prepared(path=str(tmp_path / "moved")).fingerprint == first.fingerprint
    assert prepare(Source("image_folder", 16, path=str(root)), tmp_path / "other").fingerprint == first.fingerprint
    assert prepared(image_size=28).fingerprint != first.fingerprint
    assert prepared(channels=3).fingerprint != first.fingerprint


@pytest.mark.parametrize("pattern", ["*.json", "*[!s].npy", "*.labels.npy"], ids=["index", "pixels", "labels"])
@pytest.mark.parametrize("left", [None, 0, 10, -1], ids=["gone", "empty", "short", "one byte short"])
def test_a_torn_cache_is_rebuilt(
    root: Path, tmp_path: Path, prepared: Callable[..., ImageSet], pattern: str, left: int | None
) -> None:
    picture().save(root / "a.png")
    first = prepared()
    (file,) = (tmp_path / "c").glob(pattern)
    content = file.read_bytes()
    file.unlink()
    if left is not None:
        file.write_bytes(content.rstrip()[:left])
    assert prepared() == first
    assert first.load()[0, :, 0, 0].tolist() == [200, 100, 50]
    assert first.labels().tolist() == [0]


def test_loaded_pixels_can_be_changed_but_never_the_file(root: Path, prepared: Callable[..., ImageSet]) -> None:
    picture().save(root / "a.png")
    found = prepared()
    found.load()[:] = 0
    assert found.load()[0, 0, 0, 0] == 200
