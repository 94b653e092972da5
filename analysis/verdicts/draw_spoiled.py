"""Draw real images and the spoiled ones that the network of `intact` is trained on: docs/verdicts/spoiled.webp.

python -m analysis.verdicts.draw_spoiled HOME
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from analysis.verdicts.measure_tags import ROOT
from gansweep import SPOILS, Home, Source, prepare, worn

PICTURE = ROOT / "docs" / "verdicts" / "spoiled.webp"
SETS, EACH, SIDE = ("digits", "glyphs"), 7, 32
DRAWN = 4  # images that a spoiled one is made of, at most
LEFT, ENLARGED = 110, 2  # pixels: room for names, and the side of a pixel


def rows_of(home, name):
    """Return row → (EACH, SIDE, SIDE) uint8 images of a data set."""
    pixels = prepare(Source(name, SIDE), home.cache).load()
    chosen = np.random.default_rng(0).choice(len(pixels), (DRAWN, EACH), replace=False)
    drawn = torch.from_numpy(pixels[chosen]).float().div(127.5).sub(1)
    rng = torch.Generator().manual_seed(0)
    rows = {"real": drawn[0], "worn": worn(drawn[0], rng)}
    rows |= {spoil.__name__: spoil(drawn, rng) for spoil in SPOILS}
    return {row: images[:, 0].add(1).mul(127.5).round().to(torch.uint8).numpy() for row, images in rows.items()}


def strip(images):
    """Return images beside each other, with a grey border."""
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=110)
    return Image.fromarray(np.concatenate(framed, axis=1))


if __name__ == "__main__":
    home = Home(Path(sys.argv[1]).absolute())
    of_sets = [{row: strip(images) for row, images in rows_of(home, name).items()} for name in SETS]
    width, height = (ENLARGED * size for size in of_sets[0]["real"].size)
    gap = 12
    sheet = Image.new("RGB", (LEFT + len(SETS) * (width + gap), len(of_sets[0]) * (height + 4)), "white")
    words, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for number, row in enumerate(of_sets[0]):
        top = number * (height + 4)
        words.text((4, top + height // 2 - 10), row, "black", font)
        for place, strips in enumerate(of_sets):
            enlarged = strips[row].resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (LEFT + place * (width + gap), top))
    sheet.save(PICTURE, quality=80)
