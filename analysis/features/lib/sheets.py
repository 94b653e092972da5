"""Sheets with pairs of grids, named by place and side alone."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROWS = COLUMNS = 6  # of a grid
IMAGES = ROWS * COLUMNS
ENLARGED = 2  # four pairs then fit into what viewers show without reducing it; a pair alone is enlarged more
A_SHEET, ACROSS = 4, 2  # pairs of a sheet, and of a row of it
GAP, TITLE = 16, 24  # pixels between grids and above them


def grid(images, enlarged=ENLARGED):
    """Return a picture of the first IMAGES images (N, C, H, W) uint8, without gaps."""
    side = images.shape[2]
    rgb = np.broadcast_to(images[:IMAGES], (IMAGES, 3, side, side))
    sheet = rgb.reshape(ROWS, COLUMNS, 3, side, side).transpose(0, 3, 1, 4, 2).reshape(ROWS * side, COLUMNS * side, 3)
    return Image.fromarray(sheet).resize((enlarged * COLUMNS * side, enlarged * ROWS * side), Image.Resampling.NEAREST)


def panel(title, grids):
    """Return grids beside each other, each below a title.

    Args:
        title: Of the panel, before the names of the grids.
        grids: Name → picture; all of one size.
    """
    width, height = next(iter(grids.values())).size
    sheet = Image.new("RGB", (len(grids) * (width + GAP), height + TITLE + GAP), "white")
    words, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for at, (name, picture) in enumerate(grids.items()):
        left = at * (width + GAP)
        words.text((left, 0), f"{title}{name}", "black", font)
        sheet.paste(picture, (left, TITLE))
    return sheet


def sheets(panels, folder, name):
    """Write panels, A_SHEET on each PNG file of a folder, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for first in range(0, len(panels), A_SHEET):
        files.append(folder / f"{name}-{first // A_SHEET + 1:02}.png")
        joined(panels[first : first + A_SHEET], ACROSS).save(files[-1])
    return files


def joined(panels, across):
    """Return panels of one size in rows on one picture."""
    width, height = panels[0].size
    sheet = Image.new("RGB", (across * width, -(-len(panels) // across) * height), "white")
    for at, one in enumerate(panels):
        sheet.paste(one, (at % across * width, at // across * height))
    return sheet
