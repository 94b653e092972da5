from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet, prepare, split_sizes
from gansweep.gan.reader import Source
from gansweep.sweepfile.schema import Dataset

MNIST = Path(__file__).parents[3] / "shared" / "data"


def picture(mode: str = "RGB", colour: object = (200, 100, 50), size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def refusal(prepared: Callable[..., ImageSet], **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        prepared(**changes)
    return str(caught.value)


def write_idx_files(root: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """30 images of noise in ROOT/raw, in MNIST's format: the folder, pixels (30, 1, 28, 28), labels (30,)."""
    rng = np.random.default_rng(0)
    raw, labels = rng.integers(0, 256, (30, 1, 28, 28), np.uint8), rng.integers(0, 10, 30, np.uint8)
    folder = root / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):  # torchvision asks for all four files
        shape = np.array([2051, 30, 28, 28], ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(shape + raw.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(np.array([2049, 30], ">i4").tobytes() + labels.tobytes())
    return folder, raw, labels


def test_digits_are_the_whole_embedded_set(digits: ImageSet) -> None:
    pixels, labels = digits.load(), digits.labels()
    assert (pixels.shape, pixels.dtype) == ((1797, 1, 32, 32), np.uint8)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert digits.classes == tuple("0123456789")
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_equal_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    expected = np.minimum(load_digits().images * 16, 255).astype(np.uint8)
    ours = prepare(Source("digits", 16), tmp_path)
    resized = [np.asarray(Image.fromarray(e).resize((16, 16), Image.Resampling.BICUBIC)) for e in expected]
    np.testing.assert_array_equal(ours.load()[:, 0], resized)
    np.testing.assert_array_equal(ours.labels(), load_digits().target)


def test_mnist_equals_its_own_files(tmp_path: Path) -> None:
    folder, raw, labels = write_idx_files(tmp_path / "data" / "MNIST")
    found = prepare(Source("mnist", 28, data_dir=str(tmp_path / "data")), tmp_path)
    np.testing.assert_array_equal(found.load(), raw)
    np.testing.assert_array_equal(found.labels(), labels)
    images = folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"^dataset.data_dir: {images}: cannot be read "):
        prepare(Source("mnist", 28, data_dir=str(tmp_path / "data")), tmp_path)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (picture(), [200, 100, 50]),
        (picture("RGBA", (200, 100, 50, 0)), [255, 255, 255]),
        (picture("L", 70), [70]),
        (picture("LA", (70, 51)), [218]),  # a fifth of 70, four fifths of white
        (picture("1", 1), [255]),
        (picture("I;16", 0x4600), [0x46]),
        (picture().quantize(4), [200, 100, 50]),
        (picture("P", 0), [0, 0, 0]),
    ],
    ids=["RGB", "RGBA", "greyscale", "greyscale with alpha", "two colours", "16 bits", "palette", "empty palette"],
)
def test_reads_every_mode(
    root: Path, prepared: Callable[..., ImageSet], image: Image.Image, expected: list[int]
) -> None:
    image.save(root / "a.png")
    pixels = prepared().load()
    assert pixels.shape == (1, len(expected), 16, 16)
    assert pixels[0, :, 8, 8].tolist() == expected


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("jpg", 3), ("jpeg", 3), ("bmp", 0), ("webp", 9), ("gif", 0), ("TIFF", 0)]
)
def test_reads_every_format(root: Path, prepared: Callable[..., ImageSet], suffix: str, tolerance: int) -> None:
    picture().save(root / f"a.{suffix}")
    pixels = prepared().load().astype(int)
    assert np.abs(pixels[0, :, 8, 8] - [200, 100, 50]).max() <= tolerance


def test_channels_can_be_asked_for(root: Path, prepared: Callable[..., ImageSet]) -> None:
    picture().save(root / "a.png")
    picture("L", 70).save(root / "b.png")
    assert prepared(channels=1).load()[:, :, 0, 0].tolist() == [[124], [70]]  # ITU-R 601 luma
    assert prepared(channels=3).load()[:, :, 0, 0].tolist() == [[200, 100, 50], [70, 70, 70]]
    picture("L", 70).save(root / "0.png")
    assert prepared().load()[:, :, 0, 0].tolist() == [[70, 70, 70], [200, 100, 50], [70, 70, 70]]


def test_keeps_the_middle_square(root: Path, prepared: Callable[..., ImageSet]) -> None:
    wide = np.zeros((16, 40), np.uint8)
    wide[:, 12:28] = 200
    Image.fromarray(wide).save(root / "a.png")
    Image.fromarray(wide.T.copy()).save(root / "b.png")
    assert (prepared().load() == 200).all()


def test_turns_pictures_as_their_exif_says(root: Path, prepared: Callable[..., ImageSet]) -> None:
    upright = np.zeros((16, 16), np.uint8)
    upright[:8] = 200  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    Image.fromarray(np.rot90(upright).copy()).save(root / "a.png", exif=exif)
    np.testing.assert_array_equal(prepared().load()[0, 0], upright)


def test_subfolders_are_classes(root: Path, prepared: Callable[..., ImageSet]) -> None:
    for name, shade in (("b", 20), ("a", 10), ("c/deep", 30)):
        (root / name).mkdir(parents=True)
        picture("L", shade).save(root / name / "1.png")
    (root / "no images").mkdir()
    (root / "no images" / "notes.txt").write_text("")
    found = prepared()
    assert found.classes == ("a", "b", "c")
    assert found.labels().tolist() == [0, 1, 2]
    assert found.load()[:, 0, 0, 0].tolist() == [10, 20, 30]
    some = prepared(classes=("c", "a"))
    assert some.classes == ("a", "c")
    assert some.load()[:, 0, 0, 0].tolist() == [10, 30]


def test_a_folder_named_like_an_image_is_a_folder(root: Path, prepared: Callable[..., ImageSet]) -> None:
    (root / "set.png").mkdir()
    picture().save(root / "set.png" / "a.png")
    assert prepared().classes == ("set.png",)


def test_missing_classes_are_named(root: Path, prepared: Callable[..., ImageSet]) -> None:
    (root / "a").mkdir()
    picture().save(root / "a" / "1.png")
    assert refusal(prepared, classes=("a", "x", "y")) == f"dataset.classes: {root} has no class x, y; it has a"
    (root / "a" / "1.png").rename(root / "1.png")
    assert refusal(prepared, classes=("a",)) == (
        f"dataset.classes: {root} has no class a; it has no subfolders with images"
    )


def test_some_digits_are_what_all_of_them_have_in_that_class(digits: ImageSet, tmp_path: Path) -> None:
    some = prepare(Source("digits", 32, classes=("8", "3")), tmp_path)
    wanted = np.isin(digits.labels(), [3, 8])
    assert some.classes == ("3", "8")
    np.testing.assert_array_equal(some.load(), digits.load()[wanted])
    np.testing.assert_array_equal(some.labels(), digits.labels()[wanted] == 8)


def test_classes_come_in_the_order_of_the_set(digits: ImageSet, tmp_path: Path) -> None:
    def fingerprint(*classes: str) -> str:
        return prepare(Source("digits", 32, classes=classes), tmp_path).fingerprint

    assert fingerprint("3", "8") == fingerprint("8", "3", "8")
    assert fingerprint("3", "8") != fingerprint("3", "7")
    assert fingerprint(*"9876543210") == digits.fingerprint


@pytest.mark.parametrize(
    ("name", "folder", "some", "labels"),
    [("mnist", "MNIST", ("7", "2"), [2, 7]), ("fashion_mnist", "FashionMNIST", ("bag", "dress"), [3, 8])],
)
def test_downloaded_sets_have_classes_to_choose(
    tmp_path: Path, name: str, folder: str, some: tuple[str, ...], labels: list[int]
) -> None:
    _, raw, truth = write_idx_files(tmp_path / "data" / folder)
    found = prepare(Source(name, 28, classes=some, data_dir=str(tmp_path / "data")), tmp_path)
    assert found.classes == tuple(sorted(some, reverse=name == "fashion_mnist"))
    np.testing.assert_array_equal(found.load(), raw[np.isin(truth, labels)])
    np.testing.assert_array_equal(found.labels(), truth[np.isin(truth, labels)] == labels[1])


def test_cifar10_has_classes_to_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [(picture(colour=(shade, 0, 0), size=(32, 32)), shade % 10) for shade in range(20)]
    monkeypatch.setattr("gansweep.gan.sources.downloaded._download", lambda *_: pictures)
    (tmp_path / "cifar-10-batches-py").mkdir()
    found = prepare(Source("cifar10", 32, classes=("truck", "cat"), data_dir=str(tmp_path)), tmp_path)
    assert found.classes == ("cat", "truck")
    assert found.load()[:, 0, 0, 0].tolist() == [3, 9, 13, 19]
    assert found.labels().tolist() == [0, 1, 0, 1]


def test_the_real_mnist_has_its_ones(tmp_path: Path) -> None:
    if not MNIST.is_dir():
        pytest.skip("needs MNIST")
    found = prepare(Source("mnist", 28, classes=("1",), data_dir=str(MNIST)), tmp_path)
    assert (found.images, found.classes) == (6742, ("1",))  # LeCun's count
    stroke, everything = found.load()[:, 0, 8:20, 12:16].mean(), found.load().mean()
    assert stroke > 3 * everything  # upright in the middle


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("digits", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("mnist", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("fashion_mnist", "t-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, boot"),
        ("cifar10", "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"),
    ],
)
def test_classes_that_a_set_lacks_are_refused_before_it_is_downloaded(tmp_path: Path, name: str, has: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(Source(name, 32, classes=("cow", "10")), tmp_path)
    assert str(caught.value) == f"dataset.classes: {name} has no class cow, 10; it has {has}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "means"),
    [([3, 8], ["3", "8"]), (["3", 8], ["3", "8"]), (8, ["8"]), ("u", ["u"]), (["u", "W"], ["u", "W"]), (None, None)],
)
def test_classes_are_given_as_numbers_or_text_one_or_many(given: object, means: list[str] | None) -> None:
    dataset = Dataset.model_validate({"classes": given})
    assert dataset.classes == means
    assert Dataset.model_validate(dataset.model_dump()) == dataset  # as a trial's document does


def test_a_missing_and_an_empty_folder_say_so(root: Path, prepared: Callable[..., ImageSet]) -> None:
    (root / "notes.txt").write_text("no image")
    assert refusal(prepared) == (
        f"dataset.path: {root}: contains no images (PNG, JPEG, WebP, TIFF, …);"
        " it contains 1 file in formats that Pillow does not read here: 1 .txt"
    )
    for path in (root / "x", root / "notes.txt"):
        assert refusal(prepared, path=str(path)) == (
            f"dataset.path: {path}: does not exist; name another with --set dataset.path=FOLDER"
        )


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif", "tiff"])
@pytest.mark.parametrize(
    "spoil",
    [
        truncated,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no image at all"),
        lambda file: (file.unlink(), file.symlink_to("gone")),
    ],
    ids=["truncated", "empty", "text", "dangling link"],
)
def test_a_file_that_is_no_image_is_named(
    root: Path, prepared: Callable[..., ImageSet], suffix: str, spoil: Callable[[Path], object]
) -> None:
    picture().save(root / f"a.{suffix}")
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    file = root / f"b.{suffix}"
    Image.fromarray(noise).save(file)
    spoil(file)
    message = refusal(prepared)
    assert message.startswith(f"dataset.path: {file}: not a readable image (")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("images", "share", "sizes"), [(100, 0.0, (100, 0)), (100, 0.25, (75, 25)), (9, 0.1, (8, 1)), (3, 0.5, (1, 2))]
)
def test_split_sizes(images: int, share: float, sizes: tuple[int, int]) -> None:
    assert split_sizes(images, share) == sizes
