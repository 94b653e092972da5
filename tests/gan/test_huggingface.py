"""Sets of Hugging Face's `datasets`: the package itself if it is installed, and a stand-in of the same interface."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.reader import Source

Prepare = Callable[..., ImageSet]
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
LABELS = [1, 0, 1, 2, 0]
NAMES = ["cat", "ant", "bee"]


class Table:
    """A stand-in for datasets.Dataset."""

    def __init__(self, features: dict[str, Any]) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = {"image": Image.fromarray(PIXELS[index]), "thumb": None, "label": LABELS[index], "size": index}
        return {name: row[name] for name in self.features}


def feature(kind: str, **attributes: Any) -> Any:
    return type(kind, (), attributes)()


FEATURES = {"image": feature("Image"), "label": feature("ClassLabel", names=NAMES), "size": feature("Value")}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The stand-in; `given` holds the arguments of the last call."""
    found = SimpleNamespace(given=None, content=Table(FEATURES))

    def load(*words: Any, **options: Any) -> Any:
        found.given = (words, options)
        return found.content

    found.load_dataset = found.load_from_disk = load
    monkeypatch.setitem(sys.modules, "datasets", found)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "state.json").write_text("{}")
    return tmp_path / "set"


@pytest.fixture
def prepared(tmp_path: Path, folder: Path) -> Prepare:
    """Prepare the folder at 16 px."""

    def prepare_set(name: str = "huggingface_folder", **options: Any) -> ImageSet:
        path = str(folder) if name == "huggingface_folder" else None
        return prepare(Source(name, 16, path=path, options=options or None), tmp_path / "cache")

    return prepare_set


def assert_whole(found: ImageSet) -> None:
    np.testing.assert_array_equal(found.load(), PIXELS.transpose(0, 3, 1, 2))
    assert [found.classes[label] for label in found.labels()] == [NAMES[label] for label in LABELS]
    assert found.classes == ("cat", "ant", "bee")


def test_a_folder_with_and_without_splits(package: SimpleNamespace, prepared: Prepare, folder: Path) -> None:
    assert_whole(prepared())
    assert package.given == ((str(folder),), {})
    package.content = {"train": Table(FEATURES), "test": Table({"image": feature("Image")})}
    (folder / "state.json").write_text("{ }")
    assert_whole(prepared())
    assert prepared(split="test").classes == ("all",)
    with pytest.raises(UserError, match=r"^dataset.options.split: must be one of train, test, got 'valid'$"):
        prepared(split="valid")


def test_the_hub_downloads_to_the_cache(package: SimpleNamespace, prepared: Prepare, tmp_path: Path) -> None:
    assert_whole(prepared("huggingface:somebody/insects", split="test", config="small", revision="1.0"))
    cache = str(tmp_path / "cache" / "downloads" / "huggingface")
    words = ("somebody/insects", "small")
    assert package.given == (words, {"split": "test", "revision": "1.0", "cache_dir": cache})
    prepared("huggingface:somebody/insects")
    assert package.given[1]["split"] == "train"


def test_columns_are_chosen_if_they_are_not_clear(package: SimpleNamespace, prepared: Prepare) -> None:
    package.content = Table({"image": feature("Image"), "thumb": feature("Image"), "size": feature("Value")})
    with pytest.raises(UserError) as caught:
        prepared()
    assert str(caught.value) == (
        "dataset.name: huggingface_folder: choose the column of images: dataset.options: {image: NAME};"
        " the set has image, thumb, size"
    )
    assert prepared(image="image", label="size").classes == ("0", "1", "2", "3", "4")
    with pytest.raises(UserError, match=r"^dataset.options.label: 'age' is not a column; the set has image, thumb"):
        prepared(image="image", label="age")
    with pytest.raises(UserError, match="item 0 is not an image but NoneType"):
        prepared(image="thumb")


def test_what_the_package_refuses_and_a_missing_package(
    package: SimpleNamespace, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("no\nnetwork")

    package.load_dataset = fails
    with pytest.raises(UserError) as caught:
        prepared("huggingface:a/b")
    assert str(caught.value) == "dataset.name: huggingface:a/b: a/b: cannot be opened (no network)"
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the package datasets; install it with pip install 'gansweep\[hf\]'$"):
        prepared()


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_the_package_itself(prepared: Prepare, folder: Path) -> None:
    import datasets
    import pyarrow as pa

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    images = [{"bytes": png(pixels), "path": None} for pixels in PIXELS]
    table = pa.table({"image": pa.array(images, features["image"].pa_type), "label": pa.array(LABELS, pa.int64())})
    memory, info = datasets.table.InMemoryTable(table), datasets.DatasetInfo(features=features)
    datasets.Dataset(memory, info=info, fingerprint="0").save_to_disk(str(folder))
    assert_whole(prepared())


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()
