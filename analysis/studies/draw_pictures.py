"""The pictures of docs/studies.md, from the records and from the sample grids of a home folder.

    python -m analysis.studies.draw_pictures HOME

Pictures of runs that are missing or have no samples in HOME are left unchanged, and named on stderr."""

import importlib.util
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager

from analysis.failures.lib.figures import STYLE
from analysis.studies.lib import curves as curves
from analysis.studies.lib import grids as grids
from analysis.studies.lib.gallery import show
from analysis.studies.lib.runs import chosen, read
from analysis.studies.lib.study_a import arm
from analysis.studies.lib.study_d import BETA, CRITICS, CURES
from analysis.studies.lib.study_e1 import augmented, letter
from gansweep import Home

EPOCHS = (1, *range(11, 100, 10), 100)  # epochs of study E's published grids
RATES = {"2e-4": 2e-4, "2e-2": 2e-2, "2e-1": 2e-1}  # study B's learning rates
LATENT, WIDTH, RATE = "model.latent_dim", "model.feature_maps", "training.learning_rate"
FOLDER = Path(__file__).parents[2] / "docs" / "studies"
FACE = "Source Sans Pro"  # of the reports as well


def first(runs, settings=None):
    """Return the run of the first seed; None if there is none."""
    return min(chosen(runs, settings or {}), key=lambda run: run.seed, default=None)


def pictures(home, of):
    """Return name → figure or None. `of` returns the runs of a sweep by name."""
    a, b, widths, d, cures, e = map(of, ("study-a", "study-b", "study-b-widths", "study-d", "study-d-cures", "study-e"))
    base = {LATENT: 100, WIDTH: 16}
    cured = {name: first(cures, arm) for name, arm in CURES.values()}
    cured["the Wasserstein loss"] = first([run for run in cures if run.get("training.loss") in CRITICS])
    return {
        "a_growth": curves.growth(a),
        "a_samples": grids.final(home, [(words, first(arm(a, kind, 2))) for kind, words in KINDS.items()], 10),
        "b_rates": grids.final(home, [(f"rate {name}", first(plain(b), {RATE: r})) for name, r in RATES.items()]),
        "b_latent": grids.final(home, [(f"latent {n}", first(widths, base | {LATENT: n})) for n in (25, 50, 100, 128)]),
        "b_widths": grids.final(home, [(f"{n} maps", first(widths, base | {WIDTH: n})) for n in (8, 16, 32, 48, 64)]),
        "c_classes": curves.classes(of("study-c")),
        "c_samples": grids.final(home, [(f"seed {run.seed}", run) for run in of("study-c")]),
        "c_conditional": conditional(home, of("study-c-conditional")),
        "d_losses": curves.betas(d),
        "d_samples": turning(home, d),
        "d_cures": grids.final(home, list(cured.items())),
        "e_letters": epochs(home, [run for run in e if run.get(RATE) == 1e-4 and augmented(run)]),
        "e_rates": curves.rates(e),
        "e_conditional": conditional(home, of("study-e-conditional")),
    }


KINDS = {"direct": "direct", "block": "grown by a block", "head": "a new head alone"}


def plain(runs):
    """Return study B's runs that differ from the baseline at most in the learning rate."""
    usual = {LATENT: 100, WIDTH: 16, "model.generator.depth": 1, "model.generator.separable": False}
    return chosen(runs, usual | {"model.discriminator.separable": False})


def conditional(home, runs):
    return grids.asked(home, first(runs)) if runs else None


def turning(home, runs):
    """Show samples of both beta1 near the 24th and the 32nd of 50 logging steps, and at the end."""
    found = []
    for run in filter(None, (first(runs, {BETA: beta}) for beta in (0.9, 0.5))):
        for share in (0.48, 0.64, 1.0):
            words = f"beta1 {run.get(BETA)}\nstep {grids.nearest(home, run, share) or 0:,}"
            found.append((words, grids.samples(home, run, share)[:14]))
    return grids.rows(found)


def epochs(home, runs):
    """Show samples of the same noise at the published epochs, one row per letter."""
    found = []
    for run in runs:
        parts = [grids.samples(home, run, epoch / EPOCHS[-1])[:1] for epoch in EPOCHS]
        found.append((letter(run), np.concatenate(parts)))
    return grids.rows(found, above=[f"epoch {EPOCHS[0]}", *map(str, EPOCHS[1:])], beginning=0.2)


def main(home):
    face = Path(importlib.util.find_spec("font_source_sans_pro").origin).parent / "files"
    for weight in ("Regular", "Semibold"):
        font_manager.fontManager.addfont(face / f"SourceSansPro-{weight}.ttf")
    plt.rcParams.update(STYLE | {"font.family": FACE, "axes.titleweight": "semibold"})
    runs = read()
    found = pictures(Home(home.absolute()), lambda sweep: [run for run in runs if run.sweep == sweep])
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, figure in found.items():
        if figure is None:
            print(f"{name}: not run, or without samples in {home}", file=sys.stderr)
        else:
            figure.savefig(FOLDER / f"{name}.webp", dpi=130, pil_kwargs={"lossless": True, "method": 6})
    show(FOLDER.with_suffix(".md"), FOLDER)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
