"""Pictures of every kind become the pixels that docs/sweep-files.md promises."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet, Pixels


def values(prepared: Callable[..., ImageSet], **changes: object) -> list[list[int]]:
    """The pixel at (8, 8) of each image: (images, channels)."""
    pixels: Pixels = prepared(**changes).load()
    return pixels[:, :, 8, 8].tolist()


def solid(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (16, 16), colour)  # type: ignore[arg-type]


def test_lab_cmyk_and_ycbcr_become_rgb(root: Path, prepared: Callable[..., ImageSet]) -> None:
    solid("LAB", (136, 128 + 80, 128 + 67)).save(root / "a.tif")  # CIELAB 53, 80, 67: red
    solid("CMYK", (0, 255, 255, 0)).save(root / "b.jpg", quality=100)
    solid("CMYK", (0, 255, 255, 0)).save(root / "c.tif")
    solid("YCbCr", (76, 85, 255)).save(root / "d.jpg", quality=100)
    lab, *others = np.array(values(prepared))
    assert lab[0] > 230
    assert max(lab[1:]) < 40
    assert np.abs(np.array(others) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_16_bit_pictures_of_the_whole_range(root: Path, prepared: Callable[..., ImageSet], suffix: str) -> None:
    for name, value in (("a", 0), ("b", 0x4600), ("c", 0xFFFF)):
        solid("I;16", value).save(root / f"{name}.{suffix}")
    assert values(prepared) == [[0], [70], [255]]


def test_each_kind_of_deep_pixels_has_a_range_of_its_own(root: Path, prepared: Callable[..., ImageSet]) -> None:
    for i, (low, high) in enumerate(((-1000, 3000), (1000, 2000))):
        solid("I", low).save(root / f"a{i}.tif")
        solid("I", high).save(root / f"b{i}.tif")
    for i, share in enumerate((0.0, 0.25, 1.0)):
        solid("F", share).save(root / f"c{i}.tif")
    solid("L", 33).save(root / "d.png")
    assert values(prepared) == [[0], [128], [255], [191], [0], [64], [255], [33]]


def test_pixels_that_are_not_finite_count_for_no_range(root: Path, prepared: Callable[..., ImageSet]) -> None:
    pixels = np.full((16, 16), 0.5, np.float32)
    pixels[8, :4] = (np.nan, -np.inf, np.inf, 0.25)
    pixels[8, 4] = 0.75
    Image.fromarray(pixels).save(root / "a.tif")
    solid("F", np.nan).save(root / "b.tif")
    found = prepared()
    assert found.load()[0, 0, 8, :6].tolist() == [0, 0, 255, 0, 255, 128]
    assert found.load()[1].max() == 0
    assert ("converted", "2 images with NaN (which becomes 0) or infinite values") in found.notes


def test_white_is_zero_in_tiff_holds_for_deep_pixels(root: Path, prepared: Callable[..., ImageSet]) -> None:
    """Radiographs are stored so; Pillow turns 8-bit ones over, and no others."""
    for name, value in (("a", 0), ("b", 65_535)):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[262] = 0
        solid("I;16", value).save(root / f"{name}.tif", tiffinfo=tags)
    with Image.open(root / "a.tif") as picture:
        if picture.tag_v2[262] != 0:  # type: ignore[attr-defined]
            pytest.skip("this Pillow does not write the tag")
    assert values(prepared) == [[255], [0]]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (solid("LA", (100, 0)), [0, 0, 255]),
        (solid("LA", (100, 255)), [100, 100, 100]),
        (solid("PA", (0, 0)), [0, 0, 255]),
        (solid("RGBA", (255, 0, 0, 51)), [51, 0, 204]),
    ],
    ids=["grey", "opaque", "palette", "a fifth"],
)
def test_a_background_has_a_colour(
    root: Path, prepared: Callable[..., ImageSet], image: Image.Image, expected: list[int]
) -> None:
    image.save(root / ("a.tif" if image.mode == "PA" else "a.png"))
    assert values(prepared, background=(0, 0, 255), channels=3) == [expected]


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_colour_key_is_transparent(root: Path, prepared: Callable[..., ImageSet], mode: str) -> None:
    colour = {"P": 3, "L": 3, "RGB": (1, 2, 3)}[mode]
    image = solid(mode, colour)
    if mode == "P":
        image.putpalette([0, 0, 0] * 3 + [9, 9, 9] + [0, 0, 0] * 252)
    image.save(root / "a.png", transparency=colour)
    solid("RGB", (7, 7, 7)).save(root / "b.png")
    assert values(prepared) == [[255] * 3, [7] * 3]


def test_crop_decides_how_a_picture_becomes_square(root: Path, prepared: Callable[..., ImageSet]) -> None:
    """A picture of 32×16: a third of it red, the rest grey."""
    wide = np.full((16, 32, 3), 70, np.uint8)
    wide[:, :8] = (255, 0, 0)
    Image.fromarray(wide).save(root / "a.png")
    Image.fromarray(wide.transpose(1, 0, 2).copy()).save(root / "b.png")
    assert (prepared().load() == 70).all()
    assert (prepared(crop="square").load() == 70).all()
    stretched = prepared(crop="none").load()
    small = [
        np.asarray(Image.open(root / name).resize((16, 16), Image.Resampling.BICUBIC)) for name in ("a.png", "b.png")
    ]
    np.testing.assert_array_equal(stretched, np.array(small).transpose(0, 3, 1, 2))
    fitted = prepared(crop="fit", background=(0, 0, 255)).load()
    blue = [0, 0, 255]
    assert [fitted[0, :, y, 8].tolist() for y in (0, 2, 8, 13, 15)] == [blue, blue, [70] * 3, blue, blue]
    assert fitted[0, :, 8, 1].tolist() == [255, 0, 0]
    assert fitted[1, :, 8, 1].tolist() == blue
    assert prepared(crop="fit", channels=1).load()[0, 0, 0, 0] == 255  # white


@pytest.mark.slow
def test_scans_above_pillows_limit_are_used(root: Path, prepared: Callable[..., ImageSet]) -> None:
    Image.new("L", (13_400, 13_400), 77).save(root / "a.jpg", quality=50)  # 179.6 megapixels
    Image.new("1", (13_400, 13_400), 1).save(root / "b.png")
    found = prepared()
    assert found.load()[:, 0, 8, 8].tolist() == [pytest.approx(77, abs=2), 255]
    assert found.notes == (("converted", "1 image above 179 megapixels, reduced while decoding"),)
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


def test_a_file_that_claims_more_than_500_megapixels_is_refused(root: Path, prepared: Callable[..., ImageSet]) -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    (root / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )  # fmt: skip
    with pytest.raises(UserError, match="900 megapixels exceed the limit of 500; reduce its size") as caught:
        prepared()
    assert "\n" not in str(caught.value)


def test_postscript_under_another_name_starts_no_program(root: Path, prepared: Callable[..., ImageSet]) -> None:
    (root / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n")
    with pytest.raises(UserError, match=r"not a readable image \(cannot identify image file\)"):
        prepared()


def test_16_bits_a_colour_channel_are_reported(root: Path, prepared: Callable[..., ImageSet]) -> None:
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC) * 16 for _ in range(16))

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    (root / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    found = prepared()
    assert found.load()[0, :, 0, 0].tolist() == [0x12, 0x56, 0x9A]
    assert found.notes == (("converted", "1 image with 16 bits per colour channel: the upper 8 bits are used"),)


def test_names_of_any_bytes_give_one_line(root: Path, prepared: Callable[..., ImageSet]) -> None:
    for name in (b"a\nb.png", b"\xff.png"):
        Path(bytes(root).decode(), name.decode(errors="surrogateescape")).write_bytes(b"")
    with pytest.raises(UserError) as caught:
        prepared()
    assert "2 files are not readable images: a\\nb.png (cannot identify image file), \\udcff.png (" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_full_disk_is_an_error_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    for i in range(20):
        solid("L", i).save(root / f"{i}.png")
    code = (
        "from pathlib import Path; from gansweep.gan.data import prepare; from gansweep.gan.reader import Source;"
        f"prepare(Source('image_folder', 16, path={str(root)!r}), Path({str(tmp_path / 'c')!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
    )
    assert done.stderr.splitlines()[-1].startswith(
        f"gansweep.errors.UserError: {tmp_path / 'c'}: the decoded images cannot be written (File too large)"
    )
    assert [file.suffix for file in (tmp_path / "c").iterdir()] == [".lock"]
