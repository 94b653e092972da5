"""Tabulate quality and cost of each loss, network and option; writes results/parts.csv and its table.

    gansweep run sweeps/benchmark/parts_digits.yaml && python -m analysis.networks.parts_table HOME
    python -m analysis.networks.parts_table --from-records  # the table of docs/networks.md from the CSV

With --speeds FILE, speeds are those that tests/benchmarks/cpu_steps.py has written to it: steps per second of CPU time,
which other work on the machine affects less.

FD ratio: at the last evaluation. Ratios are to the first case, the plain DCGAN; a step is one update of G. Cases that
HOME lacks keep their rows, so that new ones can be run by themselves, with the first case for comparison:

    gansweep run sweeps/benchmark/parts_digits.yaml --set 'search.cases=[{}, {training.regularization.r1: 0.1}]'
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from gansweep import read_sweep

ROOT = Path(__file__).parents[2]
CSV, DOCUMENT = Path(__file__).with_name("results") / "parts.csv", ROOT / "docs" / "networks.md"
BEGIN, END = "<!-- parts -->", "<!-- end of parts -->"
SHORT = {"training.": "", "model.": "", "discriminator.": "D ", "generator.": "G ", "regularization.": "", "_": " "}
SHORT |= {"augment.policy": "augment", "augment.": "", "[": "", "]": "", "'": ""}


def collected(home, speeds=None):
    """Return one row per case, in the order of the sweep file."""
    read = read_sweep("parts-digits", home=home)
    trials = read.trials[read.trials["outcome"] == "completed"]
    rows = []
    for _, group in trials.groupby("configuration"):
        first = group.iloc[0]
        rows.append({
            "case": name_of(first, trials.iloc[0], read.settings),
            "seeds": len(group),
            "fd_ratio": group["quality"].median(),
            "worst": group["quality"].max(),
            "failed": int(group["failed"].sum()),
            "steps_per_s": group["steps_per_s"].median(),
            "trial": first["trial"],
            "parameters_g": first["parameters.generator"],
            "parameters_d": first["parameters.discriminator"],
        })  # fmt: skip
    found = pd.DataFrame(rows).round(3)
    trials = found.pop("trial")
    if speeds:
        found["steps_per_s"] = trials.map(json.loads(Path(speeds).read_text()))
    return found.assign(baseline_steps_per_s=found["steps_per_s"].iloc[0])


def merged(known, new):
    """Return the known rows with those of the same case replaced, and rows of further cases after them."""
    rows = {row["case"]: row for part in (known, new) for row in part.to_dict("records")}
    return pd.DataFrame(list(rows.values()))


def name_of(trial, baseline, settings):
    """Describe the changes of a case."""
    changes = []
    for key in settings:
        value = trial[key]
        if pd.isna(value) or (not pd.isna(baseline[key]) and value == baseline[key]):
            continue
        changes.append(shortened(key if value is True else f"{key} {value}"))
    return ", ".join(changes) or "baseline"


def shortened(words):
    for old, new in SHORT.items():
        words = words.replace(old, new)
    return words


def table(rows):
    """Return the table as Markdown."""
    base = rows.iloc[0]
    lines = [
        "| case | FD ratio (worst) | over the baseline's | speed over the baseline's | parameters G, D |",
        "|---|---|---|---|---|",
    ]
    for _, row in rows.iterrows():
        worst = f" ({row['worst']:.1f})" if row["seeds"] > 1 else ""
        lines.append(
            f"| {row['case']} | {row['fd_ratio']:.1f}{worst} | {row['fd_ratio'] / base['fd_ratio']:.2f}"
            f" | {row['steps_per_s'] / row['baseline_steps_per_s']:.2f}"
            f" | {row['parameters_g']:,}, {row['parameters_d']:,} |"
        )
    return "\n".join(lines)


def written(rows):
    """Return the document with the table between its markers."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", nargs="?", help="the home folder with the sweep parts-digits")
    parser.add_argument("--from-records", action="store_true", help=f"take {CSV.name} as it is")
    parser.add_argument("--speeds", metavar="FILE", help="JSON: trial, the first of each case, to steps per second")
    given = parser.parse_args()
    if (given.home is None) != given.from_records:
        parser.error("give a home folder, or --from-records")
    if given.home:
        merged(pd.read_csv(CSV), collected(given.home, given.speeds)).to_csv(CSV, index=False)
    DOCUMENT.write_text(written(pd.read_csv(CSV)))
