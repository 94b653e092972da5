"""Measure the runs that are compared by eye, in each embedding: results/runs.csv.

    python -m analysis.features.measure_runs HOME cifar10-train.zip             # a core for 6 minutes
    python -m analysis.features.measure_runs HOME cifar10-train.zip --picture imagenet    # docs/features/ranked.webp

HOME has the sweep of cifar10.yaml. The metrics are those of evaluations, of 256 and of 1,000 samples of the final
generators, against the real images that evaluations use. Noise is other than that of the grids.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
import torch

from analysis.features.choose_pairs import STEP, SWEEP, photographs
from analysis.features.lib import embeddings, sheets
from analysis.features.lib.agreement import METRICS
from gansweep import SAMPLE_METRICS, Home, Samples, open_sweep

CSV = Path(__file__).with_name("results") / "runs.csv"
PICTURE = Path(__file__).parents[2] / "docs" / "features" / "ranked.webp"
SAMPLES, SEED = (256, 1_000), 1_000
RATE = "training.learning_rate"
SHOWN = 6  # runs of the picture


def settings(trials):
    """Return identifier of a run → its settings that most runs do not have, as text.

    Rates of G and D are left out where they are that of both.
    """
    table = pd.DataFrame({trial.id: pd.Series(trial.settings).astype(str) for trial in trials}).T
    table = table.where(table.ne(table[RATE], axis=0) | (table.columns == RATE))
    usual = table.mode(dropna=False).iloc[0]
    kept = {run: row[row.notna() & (row != usual)] for run, row in table.iterrows()}
    return {run: ", ".join(f"{name} {value}" for name, value in row.items()) or "usual" for run, row in kept.items()}


def values(reference, pixels, samples):
    """Return name → value of the metrics that runs are ranked by."""
    features, labels = embeddings.embed(reference)(pixels[:samples])
    made = Samples(pixels[:samples], features, labels, None, reference.at(samples))
    return {
        name: value
        for one in SAMPLE_METRICS
        if one.name in METRICS and not one.is_family
        for name, value in one.record(made).items()
    }


def measured(images, trials):
    pixels = {trial.id: trial.sample(max(SAMPLES), seed=SEED, step=STEP) for trial in trials}
    of_run = settings(trials)
    for name in embeddings.names():
        reference = embeddings.reference(images, name)
        for samples in SAMPLES:
            for run, made in pixels.items():
                found = {"run": run, "settings": of_run[run], "embedding": name, "samples": samples}
                yield found | values(reference, made, samples)
        print(f"{name}: measured", file=sys.stderr)


def draw(trials, embedding):
    """Write grids of SHOWN runs at even distances in the order of their FD ratios."""
    runs = pd.read_csv(CSV).query(f"embedding == '{embedding}' and samples == {max(SAMPLES)}").sort_values(METRICS[0])
    of = {trial.id: trial for trial in trials}
    at = [round(k * (len(runs) - 1) / (SHOWN - 1)) for k in range(SHOWN)]
    panels = []
    for row in runs.iloc[at].itertuples():
        made = of[row.run].sample(sheets.IMAGES, step=STEP)
        panels.append(sheets.panel("", {f"FD ratio {row.fd_ratio:,.0f}": sheets.grid(made)}))
    sheets.joined(panels, SHOWN // 2).save(PICTURE, quality=75, method=6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--picture", metavar="EMBEDDING", help="draw runs in the order of its FD ratio")
    given = parser.parse_args()
    torch.set_num_threads(1)
    home = Home(given.home.absolute())
    trials = list(open_sweep(SWEEP, home=home.path))
    if given.picture:
        draw(trials, given.picture)
    else:
        rows = pd.DataFrame(measured(photographs(given.archive, home), trials))
        rows.to_csv(CSV, index=False, float_format="%.6g")
