"""Choose the pairs of runs whose grids are compared by eye, and draw the grids: results/pairs.csv and PNG files.

    gansweep run analysis/features/cifar10.yaml --home HOME
    python -m analysis.features.choose_pairs HOME                              # pairs, orders and sides
    python -m analysis.features.choose_pairs HOME --sheets FOLDER cifar10-train.zip

A sheet has four pairs, titled by their places and A or B alone. Both grids of a pair are drawn from the same noise,
which is another one for each pair. Nothing is printed that tells which run a grid is from. The answers, A or B for each
place of each look, are written by hand into results/choices.csv (look, place, choice).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.features.lib import pairs, sheets
from analysis.features.lib.names import REAL
from gansweep import Home, Source, evaluation_halves, open_sweep, prepare

SWEEP, STEP = "features-cifar10", 3_000
CSV = Path(__file__).with_name("results") / "pairs.csv"


def photographs(archive, home):
    """Return the images that the runs were trained on."""
    return prepare(Source("archive", 32, path=str(archive)), home.cache)


def images_of(run, pair, trials, real):
    """Return the images (IMAGES, C, H, W) of one grid."""
    if run == REAL:
        return real[np.random.default_rng(pair).choice(len(real), sheets.IMAGES, replace=False)]
    return trials[run].sample(sheets.IMAGES, seed=pair, step=STEP)


def draw(home, archive, folder):
    """Write the sheets of all looks."""
    images = photographs(archive, home)
    real = images.load()[evaluation_halves(images.images)[1]]
    trials = {trial.id: trial for trial in open_sweep(SWEEP, home=home.path)}
    for look, shown in pd.read_csv(CSV).groupby("look", sort=False):
        panels = []
        for one in shown.itertuples():
            grids = {"A": one.a, "B": one.b}
            made = {side: sheets.grid(images_of(run, one.pair, trials, real)) for side, run in grids.items()}
            panels.append(sheets.panel(f"{one.place} ", made))
        sheets.sheets(panels, folder, look)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--sheets", nargs=2, type=Path, metavar=("FOLDER", "ARCHIVE"))
    given = parser.parse_args()
    home = Home(given.home.absolute())
    if given.sheets:
        draw(home, given.sheets[1], given.sheets[0])
    else:
        pairs.looks([trial.id for trial in open_sweep(SWEEP, home=home.path)]).to_csv(CSV, index=False)
