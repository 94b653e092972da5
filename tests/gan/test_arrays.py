"""Files of arrays become the pixels and labels that NumPy reads from them."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gansweep.config import AugmentationConfig
from gansweep.errors import UserError
from gansweep.gan import stored
from gansweep.gan.batches import Batches
from gansweep.gan.data import ImageSet, prepare
from gansweep.gan.reader import Source

Prepare = Callable[..., ImageSet]
LABELS = np.array([2, 0, 1, 1, 0, 0])


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Prepare the file at 16 px."""

    def prepare_file(path: Path, **changes: Any) -> ImageSet:
        return prepare(Source("arrays", 16, path=str(path), **changes), tmp_path / "cache")

    return prepare_file


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


RGB = noise(6, 16, 16, 3)
GREY = noise(6, 16, 16)
FORMS: dict[str, tuple[np.ndarray[Any, Any], Mapping[str, Any]]] = {
    "channels last": (RGB, {}),
    "channels first": (RGB.transpose(0, 3, 1, 2), {}),
    "Fortran's order": (np.asfortranarray(RGB), {}),
    "0 to 1": ((RGB / 255).astype(np.float32), {}),
    "-1 to 1": ((RGB / 127.5 - 1).astype(np.float32), {}),
    "int64": (RGB.astype(np.int64), {}),
    "a range of its own": (RGB * 257.0, {"range": [0, 65535]}),
}


def store(path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any] | None) -> Mapping[str, Any]:
    """Write a file of the format that the suffix names. Returns options for reading it."""
    both = {"pictures": images} if labels is None else {"pictures": images, "digits": labels}
    if path.suffix == ".npz":
        np.savez_compressed(path, **both)
    elif path.suffix == ".pt":
        torch.save({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in both.items()}, path)
    else:
        np.save(path, images)
        if labels is not None:
            np.save(path.with_suffix(".labels.npy"), labels)
            return {"labels": path.with_suffix(".labels.npy").name}
    return {}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels_and_labels(
    tmp_path: Path, prepared: Prepare, suffix: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BLOCK", 4 * RGB[0].nbytes)  # several blocks, the last of another size
    images, options = FORMS[form]
    path = tmp_path / f"set{suffix}"
    found = prepared(path, options={**options, **store(path, images, LABELS)})
    np.testing.assert_array_equal(found.load(), RGB.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found.labels(), LABELS)
    assert found.classes == ("0", "1", "2")


def test_what_was_made_of_the_values_is_reported(tmp_path: Path, prepared: Prepare) -> None:
    np.save(tmp_path / "a.npy", np.linspace(-1, 1, 6 * 256).reshape(6, 16, 16))
    assert prepared(tmp_path / "a.npy").notes == (("converted", "float64 of -1 … 1: -1 … 1 become 0 … 255"),)
    np.save(tmp_path / "b.npy", GREY)
    assert prepared(tmp_path / "b.npy").notes == ()


def test_grey_images_have_one_channel_and_alpha_is_composed(tmp_path: Path, prepared: Prepare) -> None:
    np.save(tmp_path / "grey.npy", GREY)
    np.save(tmp_path / "one.npy", GREY[:, None])
    np.save(tmp_path / "bits.npy", GREY > 127)
    np.save(tmp_path / "alpha.npy", np.full((2, 16, 16, 4), (200, 100, 50, 0), np.uint8))
    np.testing.assert_array_equal(prepared(tmp_path / "grey.npy").load()[:, 0], GREY)
    np.testing.assert_array_equal(prepared(tmp_path / "one.npy").load()[:, 0], GREY)
    np.testing.assert_array_equal(prepared(tmp_path / "bits.npy").load()[:, 0], (GREY > 127) * 255)
    assert prepared(tmp_path / "alpha.npy", background=(1, 2, 3)).load()[0, :, 8, 8].tolist() == [1, 2, 3]


def test_classes_have_names_and_can_be_selected(tmp_path: Path, prepared: Prepare) -> None:
    names = np.array(["cat", "ant", "bee", "bee", "ant", "cat"])
    np.savez(tmp_path / "a.npz", x=GREY, y=names)
    assert prepared(tmp_path / "a.npz").classes == ("ant", "bee", "cat")
    some = prepared(tmp_path / "a.npz", classes=("cat", "ant"))
    assert some.classes == ("ant", "cat")
    np.testing.assert_array_equal(some.load()[:, 0], GREY[names != "bee"])
    assert some.labels().tolist() == [1, 0, 0, 1]
    with pytest.raises(UserError, match=r"^dataset.classes: .*a.npz has no class dog; it has ant, bee, cat$"):
        prepared(tmp_path / "a.npz", classes=("dog",))


def test_a_changed_file_is_read_again(tmp_path: Path, prepared: Prepare) -> None:
    options = store(tmp_path / "a.npy", GREY, LABELS)
    first = prepared(tmp_path / "a.npy", options=options)
    np.save(tmp_path / "a.labels.npy", LABELS[::-1])
    assert prepared(tmp_path / "a.npy", options=options).labels().tolist() == LABELS[::-1].tolist()
    assert prepared(tmp_path / "a.npy", options=options).fingerprint != first.fingerprint


def archive_of_zeros(path: Path) -> None:
    """An .npz file of 4 GB of zeros, as its directory states; its content is short."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|u1", "fortran_order": False, "shape": (4096, 1024, 1024)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content.getvalue())
        archive.infolist()[0].file_size = 1 << 32


def with_(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


def nan(at: int) -> np.ndarray[Any, Any]:
    images = np.zeros((6, 16, 16), np.float32)
    images[at, 3, 3] = np.nan
    return images


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (with_(x=GREY, y=LABELS[:5]), {}, "6 images, but labels of the shape (5,); give one for each"),
        (with_(x=GREY, y=np.eye(6, dtype=int)), {"labels": "y"}, "6 images, but labels of the shape (6, 6)"),
        (with_(x=GREY, y=LABELS / 2), {"labels": "y"}, "labels of the type float64; they must be whole numbers"),
        (with_(x=GREY * 1.5), {}, "outside 0 … 1 or -1 … 1; state theirs as dataset.options: {range: [0, 255]}"),
        (with_(x=GREY.astype(np.int16) - 1), {}, "contains int16 of -1 … 254, outside 0 … 255"),
        (with_(x=GREY / 1.0), {"range": [0, 100]}, "outside 0 … 100"),
        (with_(x=nan(5)), {}, "contains NaN or infinite values; replace them"),
        (with_(x=nan(0)), {"range": [0, 1]}, "contains NaN or infinite values; replace them"),
        (with_(x=GREY[:0]), {}, "x has the shape (0, 16, 16); images are (N, H, W)"),
        (with_(x=GREY.reshape(6, 256)), {}, "x has the shape (6, 256); images are (N, H, W)"),
        (with_(x=noise(2, 16, 16, 3, 1)), {}, "x has the shape (2, 16, 16, 3, 1)"),
        (with_(x=noise(2, 16, 16, 5)), {}, "images of the shape (2, 16, 16, 5) have 5 channels; they need 1, 3 or 4"),
        (with_(x=GREY + 1j), {}, "x has the type complex128"),
        (with_(x=GREY.astype(object)), {}, "x has the type object; images are integers or floating-point numbers"),
        (with_(x=GREY, z=GREY), {}, "choose the array of images: dataset.options: {images: NAME}; it has x (6, 16"),
        (with_(x=GREY), {"images": "y"}, "choose the array of images"),
        (with_(x=GREY, y=LABELS, z=LABELS), {}, "choose the array of labels: dataset.options: {labels: NAME}"),
        (with_(), {}, "choose the array of images: dataset.options: {images: NAME}; it has no arrays"),
        (archive_of_zeros, {}, "unpacks from 0.0 MB to 4.3 GB or more, which no set of images does"),
        (lambda path: path.write_bytes(b"no zip"), {}, "cannot be read (File is not a zip file)"),
    ],
)  # fmt: skip
def test_what_is_refused(
    tmp_path: Path, prepared: Prepare, write: Callable[[Path], None], options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "set.npz"
    write(path)
    with pytest.raises(UserError) as caught:
        prepared(path, options=options or None)
    assert str(caught.value).startswith(f"dataset.path: {path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"range": [1, 0]}, "dataset.options.range: must be [low, high] with low < high, got [1, 0]"),
        ({"range": "unit"}, "dataset.options.range: must be [low, high] with low < high, got 'unit'"),
        ({"layout": "hwcn"}, "dataset.options.layout: must be nhwc or nchw for the shape (2, 3, 8, 3), got 'hwcn'"),
        (None, "dataset.options.layout: must be nhwc or nchw for the shape (2, 3, 8, 3), got None"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, prepared: Prepare, options: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", noise(2, 3, 8, 3))
    with pytest.raises(UserError) as caught:
        prepared(tmp_path / "a.npy", options=options)
    assert str(caught.value) == message


class Trap:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_nothing_is_unpickled(tmp_path: Path, prepared: Prepare, suffix: str) -> None:
    path, mark = tmp_path / f"a{suffix}", tmp_path / "unpickled"
    trap = np.array([[[Trap(mark)]]], object)
    if suffix == ".npy":
        np.save(path, trap, allow_pickle=True)
    elif suffix == ".npz":
        np.savez(path, images=trap)
    else:
        torch.save({"images": Trap(mark)}, path)
    with pytest.raises(UserError) as caught:
        prepared(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Trap(mark)))
    assert mark.exists()  # the trap would have been seen


def test_missing_files_and_other_suffixes(tmp_path: Path, prepared: Prepare) -> None:
    with pytest.raises(UserError, match=r"^dataset.path: .*gone.npz: cannot be read \(No such file or directory\)$"):
        prepared(tmp_path / "gone.npz")
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(UserError, match=r"^dataset.path: .*a.mat: must end in .npy, .npz, .pt, .pth$"):
        prepared(tmp_path / "a.mat")


LIMITED = """
import resource, sys
from pathlib import Path
from gansweep.gan.data import prepare
from gansweep.gan.reader import Source
from gansweep.gan import stored
stored.BLOCK = 1 << 20
in_use = int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (in_use + (12 << 20), resource.RLIM_INFINITY))
print(prepare(Source("arrays", 64, path=sys.argv[1]), Path(sys.argv[2])).fingerprint)
"""


def test_a_set_larger_than_memory_stays_on_disk(tmp_path: Path) -> None:
    """25 MB of images are decoded by a process that may allocate half of that, and mapped without reserving memory."""
    np.savez(tmp_path / "a.npz", images=noise(2048, 64, 64, 3))
    source, cache = Source("arrays", 64, path=str(tmp_path / "a.npz")), tmp_path / "cache"
    command = [sys.executable, "-c", LIMITED, str(source.path), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = prepare(source, cache)
    assert done.stdout.split() == [found.fingerprint]
    pixels = found.load()
    mapping = Path("/proc/self/smaps").read_text().partition(found.file)[2].partition("VmFlags:")[2].splitlines()[0]
    assert "ac" not in mapping.split()  # accountable: reserved when it is mapped
    limit = {"augmentation": AugmentationConfig(), "device": torch.device("cpu")}
    mapped, copied = (Batches(one, 8, 0, **limit).next()[0] for one in (pixels, pixels.copy()))  # type: ignore[arg-type]
    assert torch.equal(mapped, copied)
