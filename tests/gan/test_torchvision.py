"""Sets of torchvision, from files made in each set's own format, against NumPy, SciPy and Pillow."""

from __future__ import annotations

import hashlib
import pickle
import string
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.io
import torchvision
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.reader import Source

Prepare = Callable[..., ImageSet]
RNG = np.random.default_rng(0)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Prepare a set whose root is ./data, by the name of its class."""

    def prepare_set(name: str, side: int, options: Any = None, **changes: Any) -> ImageSet:
        changes = {"data_dir": str(tmp_path / "data"), **changes}
        return prepare(Source(f"torchvision:{name}", side, options=options, **changes), tmp_path / "cache")

    return prepare_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.integers(0, 256, shape, np.uint8)


def write_emnist(root: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Files of the split `letters`, whose labels begin with 1."""
    folder = root / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    pixels, labels = noise(8, 28, 28), np.array([1, 3, 26, 3, 1, 2, 2, 1], np.uint8)
    begin = folder / "emnist-letters-train"
    shape = np.array([2051, 8, 28, 28], ">i4").tobytes()
    Path(f"{begin}-images-idx3-ubyte").write_bytes(shape + pixels.tobytes())
    Path(f"{begin}-labels-idx1-ubyte").write_bytes(np.array([2049, 8], ">i4").tobytes() + labels.tobytes())
    return pixels, labels


def test_emnist(root: Path, prepared: Prepare) -> None:
    pixels, labels = write_emnist(root)
    found = prepared("EMNIST", 28, {"split": "letters"})
    np.testing.assert_array_equal(found.load()[:, 0], pixels)
    assert found.classes == ("a", "b", "c", "z")
    assert [found.classes[i] for i in found.labels()] == ["-abcdefghijklmnopqrstuvwxyz"[i] for i in labels]
    some = prepared("EMNIST", 28, {"split": "letters"}, classes=("z", "b"))
    np.testing.assert_array_equal(some.load()[:, 0], pixels[np.isin(labels, [2, 26])])


def test_svhn(root: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "test_32x32.mat"
    scipy.io.savemat(file, {"X": noise(32, 32, 3, 6), "y": np.array([[10], [2], [1], [10], [2], [9]])})
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setitem(torchvision.datasets.SVHN.split_list, "test", ["", file.name, digest])
    found, stored = prepared("SVHN", 32, {"split": "test"}), scipy.io.loadmat(file)
    np.testing.assert_array_equal(found.load(), stored["X"].transpose(3, 2, 0, 1))
    assert [found.classes[i] for i in found.labels()] == [str(label % 10) for label in stored["y"].ravel()]


def test_stl10(root: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)  # digests of the real files
    folder = root / "stl10_binary"
    folder.mkdir()
    pixels = noise(4, 3, 96, 96)
    (folder / "train_X.bin").write_bytes(pixels.tobytes())
    (folder / "train_y.bin").write_bytes(bytes([2, 1, 2, 10]))
    (folder / "unlabeled_X.bin").write_bytes(pixels[:2].tobytes())
    (folder / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    found = prepared("STL10", 96)
    np.testing.assert_array_equal(found.load(), pixels.transpose(0, 1, 3, 2))  # stored by column
    assert [found.classes[i] for i in found.labels()] == ["class 1", "class 0", "class 1", "class 9"]
    assert prepared("STL10", 96, {"split": "unlabeled"}).classes == ("all",)


def test_celeba(root: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(1, 5)]
    for name in names:
        Image.fromarray(noise(16, 16, 3)).save(folder / "img_align_celeba" / name)
    tables = {"list_eval_partition": ("", [0, 0, 1, 0]), "identity_CelebA": ("", [7, 5, 5, 5])}
    heads = {"list_bbox_celeba": "x", "list_landmarks_align_celeba": "x", "list_attr_celeba": "Bald Male"}
    for name, head in heads.items():
        tables[name] = (f"4\n{head}\n", [" ".join("1" for _ in head.split())] * 4)  # type: ignore[assignment]
    for name, (head, values) in tables.items():
        rows = [f"{image} {value}" for image, value in zip(names, values, strict=True)]
        (folder / f"{name}.txt").write_text(head + "\n".join(rows) + "\n")
    stored = [np.asarray(Image.open(folder / "img_align_celeba" / names[i])) for i in (0, 1, 3)]
    found = prepared("CelebA", 16)
    np.testing.assert_array_equal(found.load(), np.array(stored).transpose(0, 3, 1, 2))
    assert (found.classes, found.notes) == (("all",), (("skipped", "labels, which are not whole numbers but Tensor"),))
    people = prepared("CelebA", 16, {"target_type": "identity"})
    assert [people.classes[i] for i in people.labels()] == ["7", "5", "5"]


def test_a_set_without_files(prepared: Prepare) -> None:
    options = {"size": 3, "image_size": [3, 16, 16], "num_classes": 2}
    found = prepared("FakeData", 16, options)
    made = torchvision.datasets.FakeData(3, (3, 16, 16), 2)
    np.testing.assert_array_equal(found.load(), [np.asarray(image).transpose(2, 0, 1) for image, _ in made])


def test_grey_pictures_among_coloured_ones(root: Path, prepared: Prepare) -> None:
    (root / "a").mkdir()
    dark, light, colour = noise(16, 16) // 2, noise(16, 16), noise(16, 16, 3)
    for name, pixels in (("0.png", dark), ("1.png", light), ("2.png", colour), ("3.png", dark)):
        Image.fromarray(pixels).save(root / "a" / name)
    loader = lambda path: Image.open(path)  # noqa: E731 (ImageFolder's own loader makes all pictures RGB)
    torchvision.datasets.ImageFolder(str(root), loader=loader)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.datasets.folder.default_loader, "__code__", loader.__code__)
        found = prepared("ImageFolder", 16)
    rgb = [colour if one is colour else np.repeat(one[..., None], 3, -1) for one in (dark, light, colour, dark)]
    np.testing.assert_array_equal(found.load(), np.array(rgb).transpose(0, 3, 1, 2))
    assert found.notes == (("converted", "3 grey images to RGB, as 1 of the set have colour"),)


class Environment:
    """A stand-in for lmdb, which the tests do not require: one JPEG under one key."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def begin(self, **_: Any) -> Environment:
        return self

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stat(self) -> dict[str, int]:
        return {"entries": 1}

    def cursor(self) -> Environment:
        return self

    def iternext(self, **_: Any) -> list[bytes]:
        return [b"key"]

    def get(self, key: bytes) -> bytes:
        return self.content


def test_lsun_leaves_no_pickle_and_opens_none(root: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "empty").mkdir()
    monkeypatch.chdir(root / "empty")  # torchvision writes its list of keys to the working directory
    file = root / "a.png"
    Image.fromarray(noise(16, 16, 3)).save(file)
    content = file.read_bytes()
    monkeypatch.setitem(sys.modules, "lmdb", SimpleNamespace(open=lambda *_, **__: Environment(content)))
    place = root / "church_outdoor_train_lmdb"
    place.mkdir()
    (place / "data.mdb").write_bytes(b"")
    options = {"classes": ["church_outdoor_train"]}
    found = prepared("LSUN", 16, options)
    assert found.classes == ("church_outdoor_train",)
    np.testing.assert_array_equal(found.load()[0], np.asarray(Image.open(file)).transpose(2, 0, 1))
    assert [path.name for path in (*place.iterdir(), *Path().iterdir())] == ["data.mdb"]
    Path(f"_cache_{''.join(c for c in str(place) if c in string.ascii_letters)}").write_bytes(pickle.dumps([b"key"]))
    with pytest.raises(UserError, match="is a pickle, which may run code; delete it and try again"):
        prepared("LSUN", 16, options)
    assert pickle.loads(pickle.dumps(1)) == 1


def fails(self: object) -> None:
    raise OSError("no network")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("EMNST", {}, "dataset.name: torchvision:EMNST: torchvision has no data set EMNST; did you mean EMNIST?"),
        ("EMNIST", {}, "dataset.options: torchvision's EMNIST needs split"),
        ("EMNIST", {"split": "letter"}, "dataset.options: torchvision's EMNIST: Unknown value 'letter' for arg"),
        ("SVHN", {"spilt": "test"}, "dataset.options.spilt: torchvision's SVHN has no such option; it has split"),
        ("SVHN", {"download": True}, "dataset.options.download: torchvision's SVHN has no such option"),
        ("SVHN", {}, "dataset.data_dir: torchvision:SVHN is not in {root} and could not be downloaded (no network)"),
        ("LSUN", {}, "dataset.name: torchvision:LSUN: needs the package lmdb; install it"),
        ("FlyingChairs", {}, "dataset.data_dir: torchvision:FlyingChairs is not in {root} ("),
        ("FakeData", {"size": 0}, "dataset: torchvision:FakeData: contains no images"),
        ("FakeData", {"size": 2, "image_size": [5, 16, 16]}, "dataset.name: torchvision:FakeData: item 0 raises "),
    ],
)  # fmt: skip
def test_what_is_refused(
    root: Path, prepared: Prepare, name: str, options: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.SVHN, "download", fails)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError) as caught:
        prepared(name, 16, options)
    assert str(caught.value).startswith(message.format(root=root))
    assert "\n" not in str(caught.value)


def test_a_set_that_gives_no_images_is_refused(root: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.FakeData, "__getitem__", lambda self, index: ({"video": 1}, 0))
    with pytest.raises(UserError, match=r"^dataset.name: torchvision:FakeData: item 0 is not an image but dict of the"):
        prepared("FakeData", 16, {"size": 2})


def test_another_split_is_another_set(root: Path, prepared: Prepare) -> None:
    sizes = [prepared("FakeData", 16, {"size": size, "image_size": [3, 16, 16]}).images for size in (2, 3, 2)]
    assert sizes == [2, 3, 2]
