"""Image folders as they really are, as `plan` shows them."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_calls import GOOD, Call, calling
from click.testing import CliRunner
from PIL import Image

from gansweep.cli.main import cli

Fill = Callable[..., None]
SWEEP = GOOD.replace("{image_size", "{name: image_folder, path: pictures, image_size") + "evaluation: {per_run: 0}\n"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """See bad_calls.calling. ./s.yaml trains on ./pictures."""
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SWEEP)
    return calling(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def pictures(call: Call) -> Path:
    folder = Path("pictures")
    folder.mkdir()
    return folder


@pytest.fixture
def fill() -> Fill:
    """Save 20 pictures of noise to a folder; size, channels (1, 3 or 4) and suffix can be given."""

    def write(folder: Path, count: int = 20, suffix: str = "png", channels: int = 3) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 256, (count, 16, 16, channels), np.uint8)
        for i, pixels in enumerate(noise):
            Image.fromarray(pixels if channels > 1 else pixels[..., 0]).save(folder / f"{i:02d}.{suffix}")

    return write


def printed(*settings: str, words: tuple[str, ...] = ()) -> str:
    """What `plan` prints."""
    asked = [word for setting in settings for word in ("--set", setting)]
    result = CliRunner().invoke(cli, ["plan", "s.yaml", "--no-timing", *words, *asked], prog_name="gansweep")
    assert result.exit_code == 0, result.output
    return result.stdout


def planned(*settings: str) -> dict[str, Any]:
    """What `plan` says of the images, as read off its text."""
    text = printed(*settings)
    found = re.search(r"^data +([\d,]+) images of (\d)×\d+×\d+, fingerprint (\w{16})$", text, re.MULTILINE)
    assert found
    classes = re.search(r"^ +\d+ classes: (.+)$", text, re.MULTILINE)
    notes = re.findall(r"^ +(used|converted|skipped): (.+)$", text, re.MULTILINE)
    return {
        "images": int(found[1].replace(",", "")),
        "channels": int(found[2]),
        "fingerprint": found[3],
        "classes": classes[1].split(", ") if classes else [],
        **{kind: [text for of, text in notes if of == kind] for kind in ("used", "converted", "skipped")},
    }


def stored() -> np.ndarray[Any, Any]:
    """The pixels of the one set in the cache."""
    (file,) = (f for f in Path("home/cache").glob("*.npy") if "labels" not in f.name)
    return np.load(file)


def test_junk_is_skipped_and_counted(pictures: Path, fill: Fill) -> None:
    fill(pictures)
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".hidden"):
        fill(pictures / name, 1)
    for name in ("._03.png", "._07.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (pictures / name).write_bytes(bytes.fromhex("00051607") + bytes(100))
    found = planned()
    assert (found["images"], found["classes"]) == (20, [])
    assert found["skipped"] == ["9 hidden or system entries: .DS_Store, ._03.png, ._07.png and 6 more"]


def test_a_hidden_folder_is_no_class(pictures: Path, fill: Fill) -> None:
    for name in ("a", "b", ".ipynb_checkpoints", "a/@eaDir", "b/.thumbs"):
        fill(pictures / name)
    found = planned()
    assert (found["images"], found["classes"]) == (40, ["a", "b"])
    assert found["skipped"] == ["3 hidden or system entries: .ipynb_checkpoints, a/@eaDir, b/.thumbs"]
    (document,) = json.loads(printed(words=("--json",)))["data"]
    assert document == {**found, "image_size": 16, "channels": 3}


def test_images_beside_subfolders_are_refused_until_the_file_states_which_are_meant(
    call: Call, pictures: Path, fill: Fill
) -> None:
    fill(pictures, 30)
    fill(pictures / "rejected", 17)
    (pictures / "empty").mkdir()
    assert call("plan", "s.yaml", "--no-timing") == (
        f"dataset.path: {pictures.absolute()}: contains 30 images itself and 17 in 1 subfolder (rejected);"
        " choose with --set dataset.subfolders=ignore, or =classes\n"
    )
    found = planned("dataset.subfolders=ignore")
    assert (found["images"], found["classes"]) == (30, [])
    assert found["skipped"] == ["17 images in subfolders (dataset.subfolders, dataset.classes)"]
    for setting in ("dataset.subfolders=classes", "dataset.classes=rejected"):
        found = planned(setting)
        assert (found["images"], found["classes"]) == (17, [])
        assert found["skipped"] == ["30 images next to the subfolders (dataset.subfolders, dataset.classes)"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["dataset.subfolders=classes"], "dataset.subfolders: classes, but {0} has no subfolders with images"),
        (["dataset.path=gone", "dataset.subfolders=all"], "--set dataset.subfolders: dataset.subfolders: must be"),
        (["dataset.subfolders=ignore", "dataset.classes=a"], "s.yaml:2:10: dataset: dataset.classes names subfolders"),
        (["dataset.path=null", "dataset.name=digits", "dataset.background=white"],
         "s.yaml:2:10: dataset: dataset.background goes with name: image_folder"),
        (["dataset.background=pink"],
         "--set dataset.background: dataset.background: must be white, black or R,G,B of 0 to 255 each, got 'pink'"),
        (["dataset.background=[0, 0, 256]"], "--set dataset.background: dataset.background: must be white"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(call: Call, pictures: Path, fill: Fill, settings: list[str], message: str) -> None:
    fill(pictures)
    words = [word for setting in settings for word in ("--set", setting)]
    line = call("plan", "s.yaml", "--no-timing", *words)
    assert line.startswith(message.format(pictures.absolute()))
    assert line.count("\n") == 1


def test_files_that_pillow_cannot_read_are_counted_by_suffix(pictures: Path, fill: Fill) -> None:
    fill(pictures)
    names = ["a.heic", "b.HEIC", "c.HeiC", "c.jxl", "d.jxl", "README", "page.eps", "page.pdf"]
    for name in names:
        (pictures / name).write_bytes(b"x")
    (found,) = planned()["skipped"]
    counted, _, rest = found.partition(" 3 .heic, 2 .jxl, ")
    assert counted == "8 files in formats that Pillow does not read here:"
    assert sorted(rest.split(", ")) == ["1 .eps", "1 .pdf", "1 without suffix"]


@pytest.mark.parametrize("suffix", ["pgm", "ppm", "pnm", "jfif", "jpe", "avif", "tga", "jp2", "qoi", "dib"])
def test_every_kind_that_pillow_reads_is_used(pictures: Path, fill: Fill, suffix: str) -> None:
    Image.init()
    if Image.registered_extensions().get(f".{suffix}") not in Image.OPEN:
        pytest.skip(f"Pillow does not read {suffix} here")
    fill(pictures, 17)
    fill(pictures / "more", 9, suffix, 1 if suffix == "pgm" else 3)
    for file in (pictures / "more").iterdir():
        file.rename(pictures / f"x{file.name}")
    found = planned()
    assert (found["images"], found["skipped"]) == (26, [])


def test_what_is_no_regular_file_is_never_opened(pictures: Path, fill: Fill) -> None:
    fill(pictures)
    os.mkfifo(pictures / "pipe.png")
    (pictures / "link.png").symlink_to("pipe.png")
    (pictures / "null.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("pictures/socket.png")
        found = planned()
    assert found["images"] == 20
    assert found["skipped"] == ["4 FIFOs, sockets or devices: link.png, null.png, pipe.png and 1 more"]


def test_links_to_folders_are_followed_once(pictures: Path, fill: Fill, tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere" / "deep", 9)
    fill(pictures / "a", 8)
    (pictures / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    (pictures / "a" / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (pictures / "a" / "loop").symlink_to("..")
    (pictures / "b").symlink_to("a")
    (pictures / "self").symlink_to(".")
    (pictures / "up").symlink_to(tmp_path)
    found = planned()
    assert found["classes"] == ["a", "b"]
    assert found["images"] == 2 * (8 + 9)
    (skipped,) = found["skipped"]
    assert skipped.startswith("6 links to a folder that was already read: ")


def test_all_broken_files_are_named_and_good_ones_are_decoded_once(
    call: Call, pictures: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pictures, 40)
    whole = (pictures / "07.png").read_bytes()
    for name in ("03", "09", "12", "13", "14", "15"):
        (pictures / f"{name}.png").write_bytes(b"no picture")
    (pictures / "07.png").write_bytes(whole[: len(whole) // 2])
    assert call("run", "s.yaml") == (
        f"dataset.path: {pictures.absolute()}: 7 files are not readable images: 03.png (cannot identify image file),"
        " 07.png (image file is truncated), 09.png (cannot identify image file), 12.png (cannot identify image file),"
        " 13.png (cannot identify image file) and 2 more; replace or remove them,"
        " or skip such files with --set dataset.options.unreadable=skip\n"
    )
    for name in ("03", "09", "12", "13", "14"):
        (pictures / f"{name}.png").unlink()
    from gansweep.gan import decode

    decoded: list[str] = []
    pixels = decode.pixels
    monkeypatch.setattr(decode, "pixels", lambda file, layout: (decoded.append(file.name), pixels(file, layout))[1])
    line = call("run", "s.yaml")
    assert line.startswith(f"dataset.path: {pictures.absolute()}: 2 files are not readable images: 07.png (")
    assert decoded == ["07.png"]
    (pictures / "07.png").write_bytes(whole)
    (pictures / "15.png").unlink()
    found = planned()
    assert (found["images"], sorted(decoded)) == (34, ["07.png", "07.png"])
    assert [file.suffix for file in Path("home/cache").iterdir() if file.name.startswith(".")] == [".lock"]
    pieced = found["fingerprint"]
    for file in Path("home/cache").iterdir():
        file.unlink()
    assert planned()["fingerprint"] == pieced


@pytest.mark.parametrize("grey", ["00", "11"])
def test_one_grey_picture_leaves_the_others_their_colours(pictures: Path, fill: Fill, grey: str) -> None:
    fill(pictures)
    Image.open(pictures / f"{grey}.png").convert("L").save(pictures / f"{grey}.png")
    found = planned()
    assert found["channels"] == 3
    assert found["converted"] == ["1 grey image to RGB, as 19 of the set have colour"]
    assert planned("dataset.channels=1")["converted"] == []


def test_transparency_is_composed_on_a_background(pictures: Path) -> None:
    sprite = np.zeros((16, 16, 4), np.uint8)
    sprite[..., :3] = np.random.default_rng(0).integers(0, 255, (16, 16, 3))
    sprite[4:12, 4:12] = (255, 0, 0, 255)
    for i in range(16):
        Image.fromarray(sprite).save(pictures / f"{i}.png")
    found = planned()
    assert found["converted"] == ["16 images with transparency, composed on white (dataset.background)"]
    assert set(stored()[0, 1].ravel().tolist()) == {0, 255}
    assert stored()[0, :, 0, 0].tolist() == [255, 255, 255]
    others = [planned(f"dataset.background={colour}") for colour in ("white", "black", "0,0,0", "[10, 20, 30]")]
    prints = [one["fingerprint"] for one in others]
    assert prints[0] == found["fingerprint"] != prints[1] == prints[2] != prints[3]
    assert others[3]["converted"] == ["16 images with transparency, composed on rgb(10,20,30) (dataset.background)"]


def test_deep_pixels_are_scaled_by_the_range_of_the_set(pictures: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(20):
        pixels = rng.integers(0, 4096, (16, 16)).astype(np.uint16)
        pixels[0, :2] = (0, 4095)
        Image.fromarray(pixels // (1 + i)).save(pictures / f"{i:02d}.png")
    found = planned()
    assert found["converted"] == ["20 images of 16-bit grey: 0 … 4,095 become 0 … 255"]
    assert (stored()[0].min(), stored()[0].max()) == (0, 255)
    assert stored()[19].max() == round(4095 // 20 * 255 / 4095)  # one scale for the set, not one a picture


def test_of_several_frames_the_first_is_taken(pictures: Path, fill: Fill) -> None:
    fill(pictures)
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    red.save(pictures / "0.gif", save_all=True, append_images=[blue])
    red.save(pictures / "00.tif", save_all=True, append_images=[blue])
    found = planned()
    assert found["converted"] == ["2 images with several frames or pages: the first is used"]
    assert stored()[[0, 2], :, 3, 3].tolist() == [[255, 0, 0]] * 2  # 0.gif, 00.png, 01.png…: by name


def test_a_replaced_file_of_the_same_size_and_time_is_noticed(pictures: Path, fill: Fill) -> None:
    fill(pictures, suffix="bmp")
    first = planned()["fingerprint"]
    file = pictures / "05.bmp"
    before = file.stat()
    Image.new("RGB", (16, 16), (9, 9, 9)).save("new.bmp")
    Path("new.bmp").replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert planned()["fingerprint"] != first


def test_an_empty_path_is_a_message(call: Call, pictures: Path, fill: Fill) -> None:
    line = call("plan", "s.yaml", "--no-timing", "--set", 'dataset.path=""')
    assert line == "--set dataset.path: dataset.path: is empty; give a value, or leave the key out\n"
    Path("s.yaml").write_text(SWEEP.replace("path: pictures", 'path: ""'))
    assert call("run", "s.yaml") == "s.yaml:2:37: dataset.path: is empty; give a value, or leave the key out\n"


def test_paths_of_images(call: Call, pictures: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """~ and variables stand; relative paths begin at the working directory, wherever the sweep file lies."""
    fill(pictures)
    fill(Path("$odd"), 18)
    first = planned()["fingerprint"]
    monkeypatch.setenv("PICTURES", "pictures")  # HOME is the working directory: see tests/conftest.py
    for path in ("~/pictures", "$HOME/pictures", "${HOME}/$PICTURES", "./pictures/../pictures"):
        assert planned(f"dataset.path={path}")["fingerprint"] == first
    assert planned("dataset.path=$odd")["images"] == 18
    line = call("plan", "s.yaml", "--set", "dataset.path=$NO_SUCH/pictures")
    assert line == "dataset.path: $NO_SUCH/pictures: the variable $NO_SUCH is not set\n"
    Path("sub").mkdir()
    Path("s.yaml").rename("sub/s.yaml")
    result = CliRunner().invoke(cli, ["plan", "sub/s.yaml", "--no-timing"], prog_name="gansweep")
    assert (result.exit_code, first in result.stdout) == (0, True)


def test_progress_is_shown_on_stderr_where_decoding_takes_long(
    pictures: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pictures, 40)
    result = CliRunner().invoke(cli, ["plan", "s.yaml", "--no-timing"], prog_name="gansweep")
    assert result.stderr == ""
    monkeypatch.setattr("gansweep.gan.parallel.QUIET_S", 0.0)
    result = CliRunner().invoke(cli, ["plan", "s.yaml", "--no-timing", "--home", "new"], prog_name="gansweep")
    assert result.stderr.splitlines()[-1].startswith("decoding images: ")
    assert result.stderr.splitlines()[-1].endswith(" of 40 images")


@pytest.mark.parametrize("command", ["plan", "run", "train"])
def test_a_validation_share_that_holds_out_nothing_is_refused(call: Call, command: str) -> None:
    Path("s.yaml").write_text(GOOD)
    assert call(command, "s.yaml", "--set", "dataset.validation=0.0001") == (
        "dataset.validation: 0.0001 of 1,797 images is less than one image; give at least 0.00056, or 0\n"
    )
    assert not Path("home/sweeps").exists()
    assert not Path("home/runs").exists()


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 40_000), ("I;16", 200)])
def test_pictures_of_one_value_are_neither_black_nor_white(pictures: Path, mode: str, value: float) -> None:
    for i in range(16):
        Image.new(mode, (16, 16), value).save(pictures / f"{i}.tif")
    planned()
    assert np.unique(stored()).tolist() == [{"F": 128, "I": 156, "I;16": 200}[mode]]


def test_run_says_once_what_was_done_to_the_images(
    call: Call, pictures: Path, fill: Fill, capsys: Any, monkeypatch: Any
) -> None:
    fill(pictures, channels=4)
    (pictures / ".DS_Store").touch()
    monkeypatch.setattr("gansweep.api.training._recorded", lambda *_: 0)
    monkeypatch.setattr("gansweep.engine.ending.leave_at_once", sys.exit)
    output = call("run", "s.yaml", code=0)
    assert output.splitlines() == [
        "images converted: 20 images with transparency, composed on white (dataset.background)",
        "images skipped: 1 hidden or system entry: .DS_Store",
    ]
    assert "images skipped" in Path("home/sweeps/s/log.txt").read_text()
