"""What the degradations look like."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from analysis.features.lib import degradations

COLUMNS, SIDE, GAP, WORDS = 8, 64, 4, 128  # images a row; pixels: of an image, between images, of the names on the left


def draw(images, path):
    """Write a row of the same real images for each degradation.

    Args:
        images: (N, C, H, W) uint8, at least COLUMNS.
        path: A WebP file.
    """
    rows = {"real": lambda images, rng: images, **degradations.of(images.shape[1])}
    step = SIDE + GAP
    sheet = Image.new("RGB", (WORDS + COLUMNS * step, len(rows) * step + GAP), "white")
    words = ImageDraw.Draw(sheet)
    for at, (name, degrade) in enumerate(rows.items()):
        top = GAP + at * step
        words.text((GAP, top + SIDE // 2), name.replace("_", " "), "black", ImageFont.load_default(13), "lm")
        for column, image in enumerate(degrade(images[:COLUMNS], np.random.default_rng(0))):
            picture = Image.fromarray(np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0))
            sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST), (WORDS + column * step, top))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=90, method=6)
