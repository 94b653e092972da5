"""Measure how well metrics in each embedding tell degraded real images from real ones: results/degradations.csv.

    python -m analysis.features.degrade HOME DATA                    # all embeddings on all sets: a core for 15 minutes
    python -m analysis.features.degrade HOME DATA --sets cifar10 --embeddings imagenet
    python -m analysis.features.degrade HOME DATA --pictures --sets mnist glyphs cifar10    # those of docs/features/

HOME is a home folder, whose cache holds images and embeddings. DATA has `MNIST`, `cifar10.zip` and `natural_images`.
What was measured before and is not measured again keeps its rows. Degradations, statistic and limits: docs/features.md.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
import torch

from analysis.features.lib import embeddings, sets
from analysis.features.lib.draws import Bench
from analysis.features.lib.names import OF_PIXELS, PIXELS, SETS
from analysis.features.lib.pictures import draw
from analysis.features.lib.separation import Embedded
from gansweep import SAMPLE_METRICS, Home

CSV = Path(__file__).with_name("results") / "degradations.csv"
PICTURES = Path(__file__).parents[2] / "docs" / "features"
SAMPLES = (256, 1_000)


def measured(name, images, embedding, reference):
    """Return the rows of one set in one embedding."""
    bench = Bench(images)
    metrics = [one for one in SAMPLE_METRICS if (one.name in OF_PIXELS) == (embedding == PIXELS)]
    embed = bench.without if embedding == PIXELS else embeddings.embed(reference)
    embedded = Embedded(bench, reference, embed)
    rows = [row for samples in SAMPLES[: 1 if bench.small else len(SAMPLES)] for row in embedded.rows(samples, metrics)]
    return pd.DataFrame([{"set": name, "embedding": embedding, **row} for row in rows])


def merged(known, new):
    """Return the known rows, those of the same set and embedding replaced, and all others; sorted."""
    replaced = known.set_index(["set", "embedding"]).index.isin(new.set_index(["set", "embedding"]).index)
    return pd.concat([known[~replaced], new])


def main(given):
    home, data = Home(given.home.absolute()), given.data
    torch.set_num_threads(1)
    for name in given.sets:
        images = sets.load(name, data, home)
        if given.pictures:
            draw(Bench(images).real, PICTURES / f"{name}.webp")
            continue
        for embedding in given.embeddings:
            reference = embeddings.reference(images, "principal_components" if embedding == PIXELS else embedding)
            if reference is not None:
                save(measured(name, images, embedding, reference))
                print(f"{name}, {embedding}: measured", file=sys.stderr)


def save(new):
    table = merged(pd.read_csv(CSV), new) if CSV.exists() else new
    table = table.sort_values(["set", "embedding", "samples"], kind="stable")
    CSV.parent.mkdir(exist_ok=True)
    table.to_csv(CSV, index=False, float_format="%.4g")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    parser.add_argument("--embeddings", nargs="+", default=[PIXELS, *embeddings.names()], metavar="NAME")
    parser.add_argument("--pictures", action="store_true", help="draw the degradations, and measure nothing")
    main(parser.parse_args())
