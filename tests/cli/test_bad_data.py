"""What is wrong with the images."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bad_calls import GOOD, Call, assert_nothing_left, in_subprocess, without_root_rights
from PIL import Image

from gansweep.datasets import users_of
from gansweep.gan.glyphs import LETTERS
from gansweep.gan.sources.downloaded import CLASSES
from gansweep.records.layout import Home
from gansweep.section import one_of

SKIP = ", or skip such files with --set dataset.options.unreadable=skip"
PATHS = one_of(users_of("path"))


@pytest.fixture
def pictures(call: Call) -> Path:
    """Twenty RGB pictures of 20×20 in ./pictures, and s.yaml to train on them."""
    folder = Path("pictures")
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 20, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{i:02d}.png")
    Path("s.yaml").write_text(GOOD.replace("{image_size", "{name: image_folder, path: pictures, image_size"))
    return folder


def test_rgb_images_for_a_network_of_one_channel(call: Call, home: Home, pictures: Path) -> None:
    assert call("run", "s.yaml", "--set", "model.channels=1") == (
        "model.channels: 1, but the images of image_folder have 3 (RGB);"
        " set model.channels: 3, or dataset.channels: 1 to convert them\n"
    )
    assert_nothing_left(home)


def test_grey_images_for_a_network_of_three_channels(call: Call, home: Home) -> None:
    assert call("run", "s.yaml", "--set", "model.channels=3") == (
        "model.channels: 3, but the images of digits have 1 (greyscale);"
        " set model.channels: 1, or dataset.channels: 3 to convert them\n"
    )
    assert_nothing_left(home)


def test_fewer_images_than_a_batch(call: Call, home: Home, pictures: Path) -> None:
    assert call("run", "s.yaml", "--set", "training.batch_size=21") == (
        "training.batch_size: 21, but only 20 images train; lower it or give more images\n"
    )
    assert_nothing_left(home)


def test_missing_and_empty_image_folder(call: Call, home: Home, pictures: Path, tmp_path: Path) -> None:
    for path in ("gone", "s.yaml"):
        assert call("run", "s.yaml", "--set", f"dataset.path={path}") == (
            f"dataset.path: {tmp_path}/{path}: does not exist; name another with --set dataset.path=FOLDER\n"
        )
    Path("empty").mkdir()
    assert call("run", "s.yaml", "--set", "dataset.path=empty") == (
        f"dataset.path: {tmp_path}/empty: contains no images (PNG, JPEG, WebP, TIFF, …)\n"
    )
    assert call("run", "s.yaml", "--set", "dataset.classes=[cats]") == (
        f"dataset.classes: {tmp_path}/pictures has no class cats; it has no subfolders with images\n"
    )
    assert_nothing_left(home)


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("digits", "[8, 10, x]", "digits has no class 10, x; it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("mnist", "ten", "mnist has no class ten; it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("cifar10", "[cat, cow]", f"cifar10 has no class cow; it has {', '.join(CLASSES['cifar10'].split())}"),
        ("glyphs", "[u, ü]", f"glyphs has no class ü; it has {', '.join(LETTERS)}"),
    ],
)
def test_classes_that_the_set_lacks(call: Call, home: Home, name: str, classes: str, message: str) -> None:
    asked = ("--set", f"dataset.name={name}", "--set", f"dataset.classes={classes}")
    assert call("run", "s.yaml", *asked) == f"dataset.classes: {message}\n"
    assert call("plan", "s.yaml", "--no-timing", *asked) == f"dataset.classes: {message}\n"
    assert_nothing_left(home)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("{name: glyphs, classes: []}", "2:34: dataset.classes: is empty"),
        ("{name: glyphs, classes: 1.5}", "2:34: dataset.classes[0]: must be text, got 1.5"),
        ("{name: glyphs, classes: [u, true]}", "2:38: dataset.classes[1]: must be text, got true"),
        ("{name: glyphs, per_class: 0}", "2:36: dataset.per_class: must be at least 1, got 0"),
        ("{name: glyphs, per_class: 10001}", "2:36: dataset.per_class: must be at most 10000, got 10001"),
        ("{name: mnist, per_class: 9}", "2:10: dataset: dataset.per_class goes with name: glyphs, not mnist"),
        (
            "{name: glyphs, path: x}",
            f"2:10: dataset: dataset.path goes with name: {one_of(users_of('path'))}, not glyphs",
        ),
    ],
)
def test_what_a_file_may_not_say_of_its_data(call: Call, home: Home, dataset: str, message: str) -> None:
    Path("s.yaml").write_text(GOOD.replace("{image_size: 16}", dataset))
    assert call("run", "s.yaml") == f"s.yaml:{message}\n"
    assert_nothing_left(home)


def test_too_few_letters_for_a_batch(call: Call, home: Home) -> None:
    asked = ("dataset.name=glyphs", "dataset.classes=u", "dataset.per_class=15")
    error = call("run", "s.yaml", *(part for key in asked for part in ("--set", key)))
    assert error == (
        f"drawing glyphs to {home.cache / 'glyphs-1'}\n"
        "training.batch_size: 16, but only 15 images train; lower it or give more images\n"
    )
    assert_nothing_left(home)


def test_broken_pictures_are_named(call: Call, home: Home, pictures: Path) -> None:
    file = (pictures / "07.png").absolute()
    whole = file.read_bytes()

    def reason() -> str:
        begin, _, rest = call("run", "s.yaml").partition(f"{file}: not a readable image (")
        assert begin == "dataset.path: "
        reason, _, mend = rest.rpartition(")")
        assert mend == f"; replace or remove it{SKIP}\n"
        return reason

    file.write_bytes(b"no picture at all")
    assert reason() == "cannot identify image file"
    file.write_bytes(whole[: len(whole) // 2])
    assert reason() == "image file is truncated"
    file.unlink()
    file.symlink_to("gone.png")
    assert reason() == "No such file or directory"
    file.unlink()
    file = file.with_suffix(".bmp")
    Image.new("RGB", (20, 20)).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:18] + (2**20).to_bytes(4, "little") * 2 + whole[26:])  # claims a million pixels a side
    assert reason() == "1,099,512 megapixels exceed the limit of 500; reduce its size"
    assert_nothing_left(home)


def test_pictures_without_permission(call: Call, home: Home, pictures: Path) -> None:
    file = (pictures / "07.png").absolute()
    file.chmod(0)
    done = in_subprocess("run", "s.yaml", before=without_root_rights())
    message = f"dataset.path: {file}: not a readable image (Permission denied); replace or remove it{SKIP}\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    file.chmod(0o644)
    (pictures / "below").mkdir(0)
    done = in_subprocess("run", "s.yaml", before=without_root_rights())
    message = f"dataset.path: {pictures.absolute() / 'below'}: cannot be read (Permission denied)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    pictures.chmod(0)
    done = in_subprocess("run", "s.yaml", before=without_root_rights())
    pictures.chmod(0o755)
    message = f"dataset.path: {pictures.absolute()}: cannot be read (Permission denied)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert_nothing_left(home)


@pytest.mark.parametrize("tried_before", [False, True])
def test_a_set_that_cannot_be_downloaded(
    call: Call, home: Home, monkeypatch: pytest.MonkeyPatch, tried_before: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        Path("here/MNIST/raw").mkdir(parents=True, exist_ok=True)  # as torchvision does
        raise RuntimeError("Error downloading a:\nTried b:\nno route\n")

    datasets = SimpleNamespace(MNIST=refuse)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(datasets=datasets))  # importing it takes 3 s
    if tried_before:  # by somebody else
        Path("here/MNIST/raw").mkdir(parents=True)
    assert call("run", "s.yaml", "--set", "dataset.name=mnist", "--set", "dataset.data_dir=here") == (
        f"downloading mnist to {Path('here').absolute()}\n"
        f"dataset.data_dir: mnist is not in {Path('here').absolute()} and could not be downloaded"
        " (Error downloading a: Tried b: no route); name the folder that holds it with --set dataset.data_dir=FOLDER\n"
    )
    assert Path("here").exists() == tried_before
    assert_nothing_left(home)
