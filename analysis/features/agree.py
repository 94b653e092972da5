"""Compare the rankings of runs by metrics with what was chosen by eye; prints where they differ.

    python -m analysis.features.agree

The records are results/pairs.csv (choose_pairs.py), results/choices.csv (by hand) and results/runs.csv
(measure_runs.py). The tables of docs/features.md are written by write_tables.py.
"""

from pathlib import Path

import pandas as pd

from analysis.features.lib import agreement
from analysis.features.lib.agreement import METRICS
from analysis.features.lib.markdown import code, head, line
from analysis.features.lib.pairs import LOOKS
from analysis.studies.lib.statistics import wilson
from gansweep import SAMPLE_METRICS

RESULTS = Path(__file__).with_name("results")
LABELS = {one.name: one.label for one in SAMPLE_METRICS}


def read():
    """Return the answers and the metrics of the runs."""
    pairs, choices, runs = (pd.read_csv(RESULTS / f"{name}.csv") for name in ("pairs", "choices", "runs"))
    return agreement.answers(pairs, choices), runs


def shares(rows, runs):
    """Return (embedding, samples, metric) → interval of the share of rows that the ranking agrees with."""
    return {
        (embedding, samples, metric): wilson(int(agreement.agrees(rows, ranking, metric).sum()), len(rows))
        for (embedding, samples), of in runs.groupby(["embedding", "samples"], sort=False)
        for metric, ranking in of.set_index("run")[list(METRICS)].items()
    }


def without_one(rows, runs):
    """Return embedding, samples → lowest and highest share of agreement by FD ratio if any one run is left out."""
    kept = [rows[(rows["chosen"] != run) & (rows["other"] != run)] for run in sorted({*rows["chosen"], *rows["other"]})]
    every = [
        {key[:2]: share.estimate for key, share in shares(some, runs).items() if key[2] == METRICS[0]} for some in kept
    ]
    return {key: (min(one[key] for one in every), max(one[key] for one in every)) for key in every[0]}


def looker(rows):
    """Return name → interval: of the share of catches, and of pairs in which looks agree with the first."""
    found = {f"real images chosen, {look} look": share for look, share in agreement.catches(rows).items()}
    for look in LOOKS[1:]:
        same = agreement.repeated(rows, look)
        found[f"{look} look, as the first"] = wilson(int(same.sum()), len(same))
    return found


def differing(rows, runs, metric=METRICS[0], samples=1_000):
    """Yield embedding, pair, and settings and values of the chosen and the other run, where a ranking differs."""
    for embedding, of in runs[runs["samples"] == samples].groupby("embedding", sort=False):
        of = of.set_index("run")
        for row in rows[~agreement.agrees(rows, of[metric], metric)].itertuples():
            yield embedding, row.pair, *((of["settings"][run], of[metric][run]) for run in (row.chosen, row.other))


def tables(rows, runs):
    """Return name of a marker of the document → its content."""
    first, sure = agreement.of_runs(rows[rows["look"] == LOOKS[0]]), agreement.consistent(rows)
    found, surely = shares(first, runs), shares(sure, runs)
    names = [LABELS[name] for name in METRICS]
    columns = [f"{name}, {len(of)} pairs" for of in (first, sure) for name in names]
    lines = [head("embedding", "samples", *columns, f"{names[0]}, any one run left out")]
    fewer = without_one(first, runs)
    for embedding, samples in dict.fromkeys((embedding, samples) for embedding, samples, _ in found):
        cells = [shown(of[embedding, samples, metric]) for of in (found, surely) for metric in METRICS]
        low, high = (f"{100 * share:.0f}" for share in fewer[embedding, samples])
        lines.append(line(code(embedding), f"{samples:,}", *cells, f"{low} to {high} %"))
    looked = [head("the looker", "share", "of"), *(line(name, shown(x), str(x.n)) for name, x in looker(rows).items())]
    return {"agreement": "\n".join(lines), "looker": "\n".join(looked)}


def shown(interval):
    low, high = (f"{100 * bound:.0f}" for bound in (interval.low, interval.high))
    return f"{100 * interval.estimate:.0f} % ({low}–{high})"


def main():
    rows, runs = read()
    for name, share in looker(rows).items():
        print(f"{name}: {share.estimate:.2f} ({share.low:.2f} to {share.high:.2f}, n = {share.n})")
    sure = set(agreement.consistent(rows)["pair"])
    first = agreement.of_runs(rows[rows["look"] == LOOKS[0]])
    for embedding, pair, (better, one), (worse, other) in differing(first, runs):
        unsure = "" if pair in sure else ", looks differ"
        print(f"{embedding}, pair {pair}{unsure}: chosen [{better}] {one:.4g}, not [{worse}] {other:.4g}")


if __name__ == "__main__":
    main()
