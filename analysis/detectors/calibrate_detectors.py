"""Measure the accuracy of verdicts on the labelled runs under analysis/detectors/results; writes detector_accuracy.csv.

    python -m analysis.detectors.calibrate_detectors --from-records          # a minute; CI runs it
    python -m analysis.detectors.calibrate_detectors --retrain HOME [MNIST]  # hours: trains, plants and labels
    python -m analysis.detectors.calibrate_detectors --tuning                # the part that thresholds were tuned on

Labels, split, statistic and baselines: docs/verdicts.md, "Ground truth".
"""

import argparse
import math
import subprocess
import sys

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis.detectors.lib.benchmark import RESULTS, baseline, judge_of, runs

ROOT, BEGIN, END = RESULTS.parents[2], "<!-- accuracy -->", "<!-- end of accuracy -->"
PAGE = ROOT / "docs" / "verdicts.md"
WRITTEN = (RESULTS / "detector_accuracy.csv", ROOT / "gansweep" / "report" / "accuracy.csv")  # reports quote it
ROUNDS = {  # file under results → its sweeps
    "natural": ("natural_digits", "natural_mnist", "low_rate_digits"),
    "natural_long": ("long_digits", "long_mnist", "long_low_rate"),
    "natural_third": ("third_digits", "third_mnist"),
}
KINDS = {
    "planted": ("dead_generator", "mode_collapse", "mode_dropping", "not_learning"),
    "natural": ("mode_collapse", "discriminator_dominance", "dead_generator"),
    "dynamics": ("mode_collapse", "discriminator_dominance", "divergence"),
}


def accuracy(part):
    """Return one row per source and verdict. Planted cases were not used for tuning and are all judged."""
    rows = []
    for source, kinds in KINDS.items():
        judge = judge_of(kinds)
        cases = [run for run in runs(source) if source != "natural" or run["part"] == part]
        for run in cases:
            run["kinds"] = {verdict.kind for verdict in judge(run["history"])}
        mild = [run for run in cases if run["settings"].get("training.learning_rate", 0) <= 0.1]
        for kind in kinds:
            rows.append(row(source, "all", kind, cases))
            if source == "natural":
                rows.append(row(source, "learning rate ≤ 0.1", kind, mild))
    return pd.DataFrame(rows)


def row(source, which, kind, cases):
    known = [run for run in cases if run["truth"].get(kind) is not None]
    flags = [(r["truth"][kind], kind in r["kinds"], source == "natural" and baseline(r, kind)) for r in known]
    t, p, b = np.array(flags, bool).reshape(-1, 3).T
    return {
        "source": source, "runs": which, "verdict": kind, "positives": t.sum(), "negatives": (~t).sum(),
        "grey": len(cases) - len(known), "missed": (t & ~p).sum(), "false": (~t & p).sum(),
        **share("precision", t & p, p), **share("recall", t & p, t), **share("false_positives", ~t & p, ~t),
        **share("baseline_precision", t & b, b), **share("baseline_recall", t & b, t),
    }  # fmt: skip


def markdown(table):
    """Return the table of docs/verdicts.md."""
    lines = ["| runs | verdict | failing / not | precision | recall | false positives | baseline |", f"|{'---|' * 7}"]
    for r in table.itertuples():
        cells = [f"{r.source}, {r.runs}", r.verdict.replace("_", " "), f"{r.positives} / {r.negatives}"]
        cells += [bounded(r.precision, r.precision_bound, "≥"), bounded(r.recall, r.recall_bound, "≥")]
        cells += [bounded(r.false_positives, r.false_positives_bound, "≤")]
        known = r.source == "natural" and r.baseline_precision == r.baseline_precision
        cells += [f"{r.baseline_precision:.2f}, {r.baseline_recall:.2f}" if known else ""]
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
    parser.add_argument("--tuning", action="store_true", help="show the part that thresholds were tuned on")
    given = parser.parse_args()
    if given.retrain:
        retrain(*given.retrain)
    table = accuracy("tuning" if given.tuning else "held-out")
    print(markdown(table))
    if not given.tuning:
        for path in WRITTEN:
            table.round(4).to_csv(path, index=False)
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{markdown(table)}\n{END}{rest.partition(END)[2]}")
        print(f"wrote {', '.join(map(str, WRITTEN))}, {PAGE}", file=sys.stderr)
