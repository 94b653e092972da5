"""Rows of samples for draw_pictures.py, cut from the grids that trials of a home folder keep."""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from analysis.failures.lib.figures import GREY

GAP = 2  # white pixels between the images of a grid
A_CLASS = 8  # images per row in the grid of a conditional network


def nearest(home, run, share):
    """Return the step of the grid nearest to a share of the run; None if the home has none."""
    steps = [int(grid.stem) for grid in home.sweep(run.sweep).trial(run.id).all_samples()]
    return min(steps, key=lambda step: abs(step - share * run.steps), default=None)


def samples(home, run, share=1.0):
    """Return the images of a grid, (images, height, width[, 3]); none if the home lacks it."""
    step = nearest(home, run, share)
    if step is None:
        return np.empty((0, 1, 1))
    sheet = np.asarray(Image.open(home.sweep(run.sweep).trial(run.id).sample(step)))
    side = run.get("dataset.image_size")
    rows, columns = ((length + GAP) // (side + GAP) for length in sheet.shape[:2])
    corners = [(row * (side + GAP), column * (side + GAP)) for row in range(rows) for column in range(columns)]
    return np.stack([sheet[top : top + side, left : left + side] for top, left in corners])


def beside(images):
    """Join images to one picture with white gaps."""
    edges = ((0, 0), (0, 0), (0, GAP), *[(0, 0)] * (images.ndim - 3))
    return np.concatenate([*np.pad(images, edges, constant_values=255)], axis=1)


def rows(labelled, width=8.0, above=(), beginning=1.25):
    """Return a figure with rows of images, each next to its label.

    Args:
        labelled: Pairs (label, images), with equally many images.
        above: Captions over equal parts of the rows.
        width: Width in inches.
        beginning: Width of the labels in inches.
    """
    strips = [(words, beside(images)) for words, images in labelled if len(images)]
    if not strips:
        return None
    tall, wide = strips[0][1].shape[:2]
    height = (width - beginning) * tall / wide + 0.06
    size, ratios = (width, height * len(strips) + 0.25 * bool(above)), (beginning, width - beginning)
    figure, axes = plt.subplots(len(strips), 2, figsize=size, width_ratios=ratios, squeeze=False)
    for (words, strip), (left, right) in zip(strips, axes, strict=True):
        left.text(0, 0.5, words, va="center", transform=left.transAxes)
        right.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="none")
        left.set_axis_off()
        right.set_axis_off()
    for number, words in enumerate(above):
        place = ((number + 0.5) / len(above), 1.05)
        axes[0, 1].text(*place, words, transform=axes[0, 1].transAxes, ha="center", va="bottom", color=GREY)
    return figure


def final(home, named, count=14):
    """Return a figure with the last samples of each (label, run) and its metrics; runs that are None are left out."""
    there = [(words, run) for words, run in named if run is not None]
    return rows([(f"{words}\n{figures(run)}", samples(home, run)[:count]) for words, run in there])


def figures(run):
    verdict = run.verdicts[0].replace("_", " ") if run.verdicts else ""
    return f"FD {run.fd(1):.3g}, {verdict}"


def asked(home, run):
    """Return a figure with one row per class of a conditional network."""
    images, names = samples(home, run), run.get("dataset.classes") or [str(number) for number in range(10)]
    parts = [images[start : start + A_CLASS] for start in range(0, len(images), A_CLASS)]
    return rows(list(zip(names, parts, strict=False)), width=3.5, beginning=0.2)
