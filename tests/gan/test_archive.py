"""Archives of pictures give the pixels and labels that Pillow reads from the same files."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.reader import Source

Prepare = Callable[..., ImageSet]
SUFFIXES = [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"]
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Prepare the archive at 16 px."""

    def prepare_archive(path: Path, **changes: Any) -> ImageSet:
        return prepare(Source("archive", 16, path=str(path), **changes), tmp_path / "cache")

    return prepare_archive


def png(index: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[index]).save(buffer, "png")
    return buffer.getvalue()


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    kind = path.suffix.removeprefix(".")
    with tarfile.open(path, "w" if kind == "tar" else f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def labelled(labels: Any) -> bytes:
    return json.dumps({"labels": labels}).encode()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_folders_are_classes(tmp_path: Path, prepared: Prepare, suffix: str) -> None:
    names = ["top/b/1.png", "top/a/deep/2.PNG", "top/b/0.png", "top/a/1.png"]
    files = {name: png(i) for i, name in enumerate(names)}
    junk = {"__MACOSX/top/b/._1.png": b"x", "top/.DS_Store": b"x", "top/a/notes.txt": b"x"}
    found = prepared(pack(tmp_path / f"set{suffix}", {**files, **junk}))
    assert found.classes == ("a", "b")
    assert found.labels().tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(found.load(), PIXELS[[3, 1, 2, 0]].transpose(0, 3, 1, 2))
    skipped = [text for kind, text in found.notes if kind == "skipped"]
    assert skipped == [
        "2 hidden or system entries: __MACOSX/top/b/._1.png, top/.DS_Store",
        "1 file in formats that Pillow does not read here: 1 .txt",
    ]
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".json", ".lock", ".npy", ".npy"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_labels_of_stylegan(tmp_path: Path, prepared: Prepare, suffix: str) -> None:
    names = [f"0000{i % 2}/img{i:08d}.png" for i in range(6)]
    labels = [10, 7, 7, 9, 10, 7]
    pairs = [[name, label] for name, label in zip(names, labels, strict=True)]
    files = {"dataset.json": labelled(pairs), **{name: png(i) for i, name in enumerate(names)}}
    path = pack(tmp_path / f"set{suffix}", files)
    found, order = prepared(path), np.argsort(names)
    assert found.classes == ("7", "9", "10")
    assert [found.classes[label] for label in found.labels()] == [str(labels[i]) for i in order]
    np.testing.assert_array_equal(found.load(), PIXELS[order].transpose(0, 3, 1, 2))
    assert prepared(path, classes=("9", "10")).images == 3
    assert prepared(path, subfolders="classes").classes == ("00000", "00001")


def test_images_without_labels_have_no_classes(tmp_path: Path, prepared: Prepare) -> None:
    path = pack(tmp_path / "a.zip", {"1.png": png(1), "0.png": png(0), "dataset.json": labelled(None)})
    assert (prepared(path).classes, prepared(path).notes) == (("all",), ())
    np.testing.assert_array_equal(prepared(path).load(), PIXELS[:2].transpose(0, 3, 1, 2))


def test_an_archive_has_the_fingerprint_of_the_folder(tmp_path: Path, prepared: Prepare) -> None:
    files = {f"{i % 2}/{i}.png": png(i) for i in range(6)}
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    folder = prepare(Source("image_folder", 16, path=str(tmp_path / "folder")), tmp_path / "cache")
    assert {prepared(pack(tmp_path / f"set{suffix}", files)).fingerprint for suffix in SUFFIXES} == {folder.fingerprint}


def bomb(path: Path) -> None:
    """1.2 GB of zeros, as the archive states; its content is short."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"")
        archive.infolist()[0].file_size = 1_200_000_000


def encrypted(path: Path) -> None:
    pack(path, {"a.png": png(0)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def links(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")


def torn(path: Path) -> None:
    content = pack(path, {"a.png": png(0), "b.png": png(1)}).read_bytes()
    at = content.index(png(0)[40:80]) if png(0)[40:80] in content else 60
    path.write_bytes(content[:at] + b"????" + content[at + 4 :])


PNG = b"\x89PNG\r\n\x1a\n"
JSON = {"dataset.json": labelled([["a.png", 1]])}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: pack(path, {"../a.png": png(0)}), ": contains ../a.png, which leaves the archive; remove it"),
        (lambda path: pack(path, {"/a.png": png(0)}), ": contains /a.png, which leaves the archive"),
        (lambda path: pack(path, {"b\\..\\..\\a.png": png(0)}), ": contains b/../../a.png, which leaves"),
        (lambda path: pack(path, {"C:/a.png": png(0)}), ": contains C:/a.png, which leaves the archive"),
        (lambda path: pack(path, {"a.txt": b""}), ": contains no images (PNG, JPEG, WebP, TIFF, …); it contains 1"),
        (lambda path: pack(path, {}), ": contains no images (PNG, JPEG, WebP, TIFF, …)"),
        (links, ": contains no images"),
        (bomb, ": unpacks from 0.0 MB to 1.2 GB or more, which no set of images does"),
        (encrypted, ": is encrypted; pack it without a password"),
        (lambda path: path.write_bytes(b"neither"), ": not a readable .zip or .tar archive"),
        (torn, "/a.png: not a readable image (Bad CRC-32 for file 'a.png'); replace or remove it"),
        (lambda path: pack(path, {"a.png": PNG}), "/a.png: not a readable image (cannot identify image file)"),
        (lambda path: pack(path, {**JSON, "b.png": png(0)}), ": dataset.json has no label for 1 image (b.png)"),
        (lambda path: pack(path, {**JSON, "a.png": png(0), "b.png": png(0)}), ": dataset.json has no label for 1"),
        (lambda path: pack(path, {"a.png": png(0), "dataset.json": labelled([["a.png", 1], ["c.png", 1]])}),
         ": dataset.json names 1 missing file (c.png)"),
        (lambda path: pack(path, {"a.png": png(0), "dataset.json": labelled([["a.png", [0, 1]]])}),
         ": dataset.json labels must be whole numbers, but a.png has [0, 1]"),
        (lambda path: pack(path, {"a.png": png(0), "dataset.json": b"[]"}), ": dataset.json is not JSON of the form"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, prepared: Prepare, write: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "set.zip"
    write(path)
    with pytest.raises(UserError) as caught:
        prepared(path)
    assert str(caught.value).startswith(f"dataset.path: {path}{message}")
    assert "\n" not in str(caught.value)


def test_a_compressed_tar_that_grows_without_end_is_refused(
    tmp_path: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansweep.gan.unpacking.HARMLESS", 1 << 20)
    path = pack(tmp_path / "a.tar.gz", {"a.png": bytes(1 << 23)})
    with pytest.raises(UserError, match="which no set of images does"):
        prepared(path)


def test_members_of_a_tar_that_are_no_files_are_skipped(tmp_path: Path, prepared: Prepare) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        link, image = tarfile.TarInfo("link.png"), tarfile.TarInfo("a.png")
        link.type, link.linkname, image.size = tarfile.SYMTYPE, "/etc/passwd", len(png(0))
        tar.addfile(link)
        tar.addfile(image, io.BytesIO(png(0)))
    assert prepared(path).notes == (("skipped", "1 FIFO, socket or device: link.png"),)
