"""Measure verdicts on planted distributions and dynamics under analysis/detectors/results.

    python -m analysis.detectors.calibrate_detectors --from-records          # writes detector_accuracy.csv; CI runs it
    python -m analysis.detectors.calibrate_detectors --retrain HOME [MNIST]  # hours: trains, plants and labels

Labels and statistic: docs/verdicts.md, "Ground truth". Natural runs are measured by analysis.verdicts.measure_tags.
"""

import argparse
import math
import subprocess
import sys

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis.detectors.lib.benchmark import RESULTS, judge_of, runs

ROOT, BEGIN, END = RESULTS.parents[2], "<!-- accuracy -->", "<!-- end of accuracy -->"
PAGE = ROOT / "docs" / "verdicts.md"
WRITTEN = RESULTS / "detector_accuracy.csv"
ROUNDS = {  # file under results → its sweeps
    "natural": ("natural_digits", "natural_mnist", "low_rate_digits"),
    "natural_long": ("long_digits", "long_mnist", "long_low_rate"),
    "natural_third": ("third_digits", "third_mnist"),
}
KINDS = {
    "planted": ("dead_generator", "mode_collapse", "mode_dropping", "never_took_off"),
    "dynamics": ("mode_collapse", "divergence"),
}


def accuracy():
    """Return one row per source and verdict."""
    rows = []
    for source, kinds in KINDS.items():
        judge, cases = judge_of(kinds), [*runs(source)]
        for run in cases:
            run["kinds"] = {verdict.kind for verdict in judge(run["history"])}
        rows += [row(source, kind, cases) for kind in kinds]
    return pd.DataFrame(rows)


def row(source, kind, cases):
    known = [run for run in cases if run["truth"].get(kind) is not None]
    t, p = np.array([(r["truth"][kind], kind in r["kinds"]) for r in known], bool).reshape(-1, 2).T
    return {
        "source": source, "verdict": kind, "positives": t.sum(), "negatives": (~t).sum(),
        "grey": len(cases) - len(known), "missed": (t & ~p).sum(), "false": (~t & p).sum(),
        **share("precision", t & p, p), **share("recall", t & p, t), **share("false_positives", ~t & p, ~t),
    }  # fmt: skip


def markdown(table):
    """Return the table of docs/verdicts.md."""
    lines = ["| runs | verdict | failing / not | precision | recall | false positives |", f"|{'---|' * 6}"]
    for r in table.itertuples():
        cells = [r.source, r.verdict.replace("_", " "), f"{r.positives} / {r.negatives}"]
        cells += [bounded(r.precision, r.precision_bound, "≥"), bounded(r.recall, r.recall_bound, "≥")]
        cells += [bounded(r.false_positives, r.false_positives_bound, "≤")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def bounded(value, bound, sign):
    """Format to two digits, with the bound rounded to the side on which it stays valid."""
    outward = math.floor if sign == "≥" else math.ceil
    return "–" if pd.isna(value) else f"{value:.2f} ({sign} {outward(100 * bound) / 100:.2f})"


def share(name, hits, of):
    """Return a proportion and its one-sided 95 % Wilson bound (upper for false positives); None without cases."""
    if not of.any():
        return {name: None, f"{name}_bound": None}
    interval = binomtest(int(hits.sum()), int(of.sum())).proportion_ci(0.9, "wilson")
    bound = interval.high if name == "false_positives" else interval.low
    return {name: hits.sum() / of.sum(), f"{name}_bound": bound}


def retrain(home, mnist=None):
    """Rerun the sweeps, the plants and the labels."""
    data, folder = (["--set", f"dataset.data_dir={mnist}"], [mnist]) if mnist else ([], [])
    for sweep in (sweep for sweeps in ROUNDS.values() for sweep in sweeps):
        extra = data if "mnist" in sweep else []
        subprocess.run(["gansweep", "run", f"sweeps/benchmark/{sweep}.yaml", "--home", home, *extra], check=True)
    for script, into, rest in (
        ("plant_distributions", "planted", folder),
        ("plant_dynamics", "dynamics", folder),
        *(("label_runs", file, [sweep.replace("_", "-") for sweep in sweeps]) for file, sweeps in ROUNDS.items()),
    ):
        subprocess.run(
            [sys.executable, "-m", f"analysis.detectors.{script}", home, RESULTS / f"{into}.jsonl.gz", *rest],
            check=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from-records", action="store_true", help="judge the recorded runs (default)")
    parser.add_argument("--retrain", nargs="+", metavar=("HOME", "MNIST"), help="train and record the runs first")
    given = parser.parse_args()
    if given.retrain:
        retrain(*given.retrain)
    table = accuracy()
    print(markdown(table))
    table.round(4).to_csv(WRITTEN, index=False)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(table)}\n{END}{rest.partition(END)[2]}")
    print(f"wrote {WRITTEN}, {PAGE}", file=sys.stderr)
