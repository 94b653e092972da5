"""Draw the sheets that lookers see: grids of samples beside grids of real images, under numbers alone.

    python -m analysis.verdicts.draw_sheets SET LOOK FOLDER

LOOK is 1, 2 or 3: each has its own order and numbers, chosen by a fixed seed and written to results/looks_SET.csv
(look, number, what). In looks 1 and 2 a fifth of the runs appears twice, and catches are mixed in: real images, a pool
of four images, one image, uniform noise. The third has the runs that the others disagree about, among as many others.
Nothing on a sheet tells which run it is of. A looker writes results/answers_SET.csv (look, number, label) by the
anchors of PROTOCOL.md.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.features.lib import sheets
from analysis.verdicts.lib import looks
from analysis.verdicts.lib.sets import SETS

RESULTS = Path(__file__).with_name("results")
A_SHEET, ACROSS, ENLARGED = 6, 2, 2
TWICE = 0.2
CATCHES = {"real": 3, "pool of 4": 3, "one image": 3, "uniform noise": 3}


def shown(name, look, runs):
    """Return what is shown in a look: the identifiers of runs and names of catches, in order."""
    rng = np.random.default_rng([look, [*SETS].index(name)])
    if look == looks.DECIDING:
        disputed = looks.disputed(name)
        others = [run for run in runs if run not in disputed]
        return rng.permutation([*disputed, *rng.choice(others, len(disputed), replace=False)]).tolist()
    twice = rng.choice(runs, round(TWICE * len(runs)), replace=False)
    catches = [f"{kind} {number}" for kind, many in CATCHES.items() for number in range(many)]
    return rng.permutation([*runs, *twice, *catches]).tolist()


def catch(what, real):
    """Return the 36 images of a catch."""
    kind, _, number = what.rpartition(" ")
    rng = np.random.default_rng([*kind.encode(), int(number)])
    if kind == "uniform noise":
        return rng.integers(0, 256, (sheets.IMAGES, *real.shape[1:]), np.uint8)
    pool = {"real": sheets.IMAGES, "pool of 4": 4, "one image": 1}[kind]
    few = rng.choice(len(real), pool, replace=False)
    return real[few[np.arange(sheets.IMAGES) % pool]]


def framed(images):
    """Return images (N, C, H, W) with a grey border of a pixel, so that strokes do not run from one into the next."""
    return np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=110)


def draw(name, look, folder):
    with gzip.open(RESULTS / f"fourth_{name}.jsonl.gz", "rt") as file:
        runs = [json.loads(line) for line in file]
    arrays = np.load(RESULTS / f"fourth_{name}.npz")
    samples, real = dict(zip((run["id"] for run in runs), arrays["samples"], strict=True)), arrays["real"]
    order = shown(name, look, [run["id"] for run in runs if run["of_d"]])
    panels = []
    for number, what in enumerate(order, 1):
        made = samples[what] if what in samples else catch(what, real)
        beside = real[np.random.default_rng([look, number]).choice(len(real), sheets.IMAGES, replace=False)]
        grids = {
            title: sheets.grid(framed(images), ENLARGED) for title, images in (("", made), ("real images", beside))
        }
        panels.append(sheets.panel(f"{number} ", grids))
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(panels), A_SHEET):
        page = sheets.joined(panels[first : first + A_SHEET], ACROSS)
        page.save(folder / f"{name}-{look}-{first // A_SHEET + 1:02}.png")
    path = RESULTS / f"looks_{name}.csv"
    known = pd.read_csv(path).query(f"look != {look}") if path.exists() else pd.DataFrame()
    rows = pd.DataFrame({"look": look, "number": range(1, len(order) + 1), "what": order})
    pd.concat([known, rows]).to_csv(path, index=False)


if __name__ == "__main__":
    draw(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
