from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan import data
from gansweep.gan.data import ImageSet, Pixels, prepare
from gansweep.gan.reader import Source


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


def ramp(shift: int, channels: int) -> np.ndarray[Any, Any]:
    """(33 - shift, 20 + shift, channels): a pattern that needs no generator of random numbers."""
    y, x = np.mgrid[: 33 - shift, : 20 + shift]
    return np.stack([(x * (3 + shift + c) + y * (5 + 2 * c)) % 256 for c in range(channels)], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "side", "channels", "fingerprint"),
    [
        ("rgb", 16, None, "4e97d5b4b8fca716"),
        ("rgb", 16, 1, "42721fdc8a88f965"),
        ("rgb", 28, None, "6efa5a951cb396e1"),
        ("bmp", 28, 3, "6efa5a951cb396e1"),
        ("grey", 16, None, "d5bb73c928cfe074"),
        ("grey", 28, 3, "66b8ee7f9d5a48a3"),
        ("palette", 16, None, "98f1d621ca9e4388"),
        ("palette", 28, 1, "ee6c81d7f946e2d1"),
        ("opaque", 28, None, "6efa5a951cb396e1"),
    ],
)
def test_ordinary_pictures_have_the_fingerprints_of_version_0_1_0(
    root: Path, prepared: Callable[..., ImageSet], kind: str, side: int, channels: int | None, fingerprint: str
) -> None:
    for name in ("a/deep", "b", "a"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for shift in range(3):
            image = Image.fromarray(ramp(shift, 1)[..., 0] if kind == "grey" else ramp(shift, 3))
            if kind == "palette":
                image = image.quantize(16)
            if kind == "opaque":
                image.putalpha(255)
            image.save(root / name / f"{shift}.{ {'palette': 'gif', 'bmp': 'BMP'}.get(kind, 'png') }")
    assert prepared(image_size=side, channels=channels).fingerprint == fingerprint


def decoded_by_version_0_1_0(root: Path, cache: Path, names: list[str], pixels: Pixels) -> ImageSet:
    """A cache of an image folder as version 0.1.0 left it."""
    stamps = [[name, (found := (root / name).stat()).st_size, found.st_mtime_ns] for name in names]
    source = {"name": "image_folder", "image_size": 16, "channels": None, "path": str(root), "classes": None}
    content = json.dumps([2, {**source, "data_dir": None}, stamps])
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    cache.mkdir()
    np.save(cache / "0123456789abcdef.npy", pixels)
    np.save(cache / "0123456789abcdef.labels.npy", np.zeros(len(pixels), np.int64))
    about = {"file": "0123456789abcdef.npy", "fingerprint": "0123456789abcdef", "images": len(pixels), "channels": 3}
    (cache / f"image_folder-{key}.json").write_text(json.dumps({**about, "image_size": 16, "classes": ["all"]}))
    return ImageSet(str(cache / "0123456789abcdef.npy"), "0123456789abcdef", len(pixels), 3, 16, ("all",))


def test_trials_on_record_keep_the_pixels_that_version_0_1_0_decoded(root: Path, tmp_path: Path) -> None:
    for name in ("b.png", ".a.png"):  # which used both, and ignored transparency
        picture("RGBA", (200, 100, 50, 0)).save(root / name)
    before = decoded_by_version_0_1_0(root, tmp_path / "c", [".a.png", "b.png"], np.full((2, 3, 16, 16), 7, np.uint8))
    source = Source("image_folder", 16, path=str(root))
    kept = prepare(source, tmp_path / "c", lambda: {before.fingerprint})
    assert kept == before
    assert kept.load()[0, 0, 0, 0] == 7
    ((kind, text),) = kept.notes
    assert (kind, text.partition(";")[0]) == (
        "used", "pixels decoded by gansweep 0.1.0, on which recorded trials were trained"
    )  # fmt: skip
    assert prepare(source, tmp_path / "c").images == 1  # for whom nothing is on record
    assert prepare(source, tmp_path / "c", lambda: {"another"}).images == 1
    (root / "sub").mkdir()
    picture().save(root / "sub" / "ignored by neither.png")  # refused today, and other files for version 0.1.0
    with pytest.raises(UserError, match="itself and 1 in 1 subfolder"):
        prepare(source, tmp_path / "c", lambda: {before.fingerprint})
    (root / "sub" / "ignored by neither.png").unlink()
    (root / "b.png").touch()
    assert prepare(source, tmp_path / "c", lambda: {before.fingerprint}).images == 1


def test_a_folder_that_is_refused_today_keeps_its_pixels_too(root: Path, tmp_path: Path) -> None:
    picture().save(root / "stray.png")
    (root / "a").mkdir()
    picture().save(root / "a" / "1.png")
    before = decoded_by_version_0_1_0(root, tmp_path / "c", ["a/1.png"], np.full((1, 3, 16, 16), 7, np.uint8))
    kept = prepare(Source("image_folder", 16, path=str(root)), tmp_path / "c", lambda: {before.fingerprint})
    assert kept == before
    assert "the current rules refuse the folder: dataset.path: " in kept.notes[0][1]


def test_rows_of_a_failed_attempt_are_only_used_where_they_fit(root: Path, prepared: Callable[..., ImageSet]) -> None:
    """A picture in colour that is repaired makes all others RGB."""
    for name in "abc":
        picture("L", 70).save(root / f"{name}.png")
    picture().save(root / "d.png")
    whole = (root / "d.png").read_bytes()
    (root / "d.png").write_bytes(b"")
    with pytest.raises(UserError, match="not a readable image"):
        prepared()
    picture("L", 20).save(root / "b.png")
    (root / "d.png").write_bytes(whole)
    assert prepared().load()[:, :, 0, 0].tolist() == [[70] * 3, [20] * 3, [70] * 3, [200, 100, 50]]


def test_two_processes_decode_a_set_once(root: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for i in range(200):
        Image.fromarray(noise).save(root / f"{i:03d}.png")
    code = (
        "import sys; from pathlib import Path; from gansweep.gan import decode; from gansweep.gan.data import prepare;"
        "from gansweep.gan.reader import Source; pixels = decode.pixels;"
        "decode.pixels = lambda *a, **b: (sys.stdout.write('x'), pixels(*a, **b))[1];"
        f"prepare(Source('image_folder', 16, path={str(root)!r}), Path({str(tmp_path / 'c')!r}))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    assert sorted(len(process.communicate(timeout=60)[0]) for process in both) == [0, 200]
    assert [process.returncode for process in both] == [0, 0]


def test_decoding_that_is_killed_leaves_nothing_that_is_taken_for_whole(root: Path, tmp_path: Path) -> None:
    for i in range(50):
        picture("L", i).save(root / f"{i:02d}.png")
    code = (
        "import os, signal; from pathlib import Path; from gansweep.gan import decode; from gansweep.gan.data import"
        " prepare; from gansweep.gan.reader import Source; pixels = decode.pixels;"
        "decode.pixels = lambda file, layout: file.name == '40.png' and os.kill(os.getpid(), 9) or"
        " pixels(file, layout);"
        f"prepare(Source('image_folder', 16, path={str(root)!r}), Path({str(tmp_path / 'c')!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert not list((tmp_path / "c").glob("*.json"))
    found = prepare(Source("image_folder", 16, path=str(root)), tmp_path / "c")
    assert found.load()[:, 0, 0, 0].tolist() == list(range(50))
    assert sorted(file.suffix for file in (tmp_path / "c").iterdir()) == [".json", ".lock", ".npy", ".npy"]
