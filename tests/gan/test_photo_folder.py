"""A folder as photographers leave it: each kind of file is used, or named and skipped with a count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet

Prepare = Callable[..., ImageSet]
RED = (200, 30, 30)


def photo(mode: str = "RGB", colour: object = RED, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def rotated(root: Path) -> None:
    """Stored on its side: red above blue once it is upright."""
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8], upright[8:] = RED, (0, 0, 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright).copy()).save(root / "a.PNG", exif=exif)


def animated(root: Path) -> None:
    photo().save(root / "a.gif", save_all=True, append_images=[photo(colour=(0, 200, 0))])


def truncated(root: Path) -> None:
    photo().save(root / "a.jpg", quality=100, subsampling=0)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(root / "b.jpg")
    (root / "b.jpg").write_bytes((root / "b.jpg").read_bytes()[:900])
    (root / "c.JPG").write_bytes(b"")


def nested(root: Path) -> None:
    (root / "birds" / "2024" / "may").mkdir(parents=True)
    photo().save(root / "birds" / "2024" / "may" / "a.png")


def linked(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    photo().save(root.parent / "elsewhere" / "a.png")
    (root / "a.png").symlink_to(root.parent / "elsewhere" / "a.png")
    (root / "loop").symlink_to(root)


def hidden(root: Path) -> None:
    photo().save(root / "a.png")
    photo().save(root / ".a.png")
    (root / "._a.png").write_bytes(b"AppleDouble")


@pytest.mark.parametrize(
    ("write", "note"),
    [
        (rotated, ""),
        (lambda root: photo("CMYK", (0, 217, 217, 55)).save(root / "a.JPEG", quality=100), ""),
        (lambda root: photo().quantize(4).save(root / "a.png"), ""),
        (lambda root: photo("RGBA", (*RED, 255)).save(root / "a.Png"), "1 image with transparency"),
        (animated, "1 image with several frames or pages: the first is used"),
        (truncated, "2 files are not readable images: b.jpg (image file is truncated"),
        (nested, ""),
        (linked, "1 link to a folder that was already read: loop"),
        (hidden, "2 hidden or system entries: ._a.png, .a.png"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_kind_of_file(root: Path, prepared: Prepare, write: Callable[[Path], None], note: str) -> None:
    write(root)
    found = prepared(options={"unreadable": "skip"})
    assert (found.images, found.channels, found.classes[1:]) == (1, 3, ())
    assert np.abs(found.load()[0, :, 3, 8].astype(int) - RED).max() <= 4
    texts = [text for _, text in found.notes]
    assert [text.startswith(note) for text in texts] == ([True] if note else [])


def test_16_bits_and_channels_that_differ(root: Path, prepared: Prepare) -> None:
    """The 16-bit pictures span the range of the set; a picture in colour makes all others RGB."""
    for name, mode, colour in (("a", "I;16", 0), ("b", "I;16", 65_535), ("c", "L", 70), ("d", "RGB", RED)):
        photo(mode, colour).save(root / f"{name}.png")
    found = prepared()
    assert found.load()[:, :, 0, 0].tolist() == [[0] * 3, [255] * 3, [70] * 3, list(RED)]
    assert [kind for kind, _ in found.notes] == ["converted", "converted"]


def test_labels_stay_with_their_images_if_files_are_skipped(root: Path, prepared: Prepare) -> None:
    for number in range(9):
        file = root / "abc"[number // 3] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        photo("L", 10 + number).save(file)
        if number in (0, 4, 5):
            file.write_bytes(b"")
    with pytest.raises(UserError, match=r"3 files are not readable images: .* or skip such files with --set"):
        prepared()
    found = prepared(options={"unreadable": "skip"})
    assert found.load()[:, 0, 0, 0].tolist() == [11, 12, 13, 16, 17, 18]
    assert [found.classes[label] for label in found.labels()] == list("aabccc")
    assert found.notes[0][1].startswith("3 files are not readable images: a/0.png (cannot identify image file), b/4")
    assert np.load(found.file).shape == (6, 1, 16, 16)


def test_a_folder_of_nothing_else_is_refused(root: Path, prepared: Prepare) -> None:
    (root / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a.png: not a readable image \(cannot identify image file\)"):
        prepared(options={"unreadable": "skip"})
    with pytest.raises(UserError, match=r"^dataset.options.unreadable: must be refuse or skip, got 'ignore'$"):
        prepared(options={"unreadable": "ignore"})
