"""The claims of studies.yaml as a table, and its insertion as Markdown between the markers of a document."""

from collections import defaultdict
from itertools import groupby
from pathlib import Path
from statistics import median

import pandas as pd
from ruamel.yaml import YAML

from analysis.studies.lib import study_a, study_b, study_c, study_d, study_e
from analysis.studies.lib.rules import HOLDS, NOT, UNDECIDED

CLAIMS = Path(__file__).parents[1] / "studies.yaml"
STUDIES = {"A": study_a, "B": study_b, "C": study_c, "D": study_d, "E": study_e}
TITLES = {
    "A": "two-stage training on photographs of persons",
    "B": "width, latent size, learning rate, separable layers",
    "C": "classes of MNIST digits, plain and conditional",
    "D": "beta1 0.9 against 0.5 on MNIST",
    "E": "letters, one at a time",
}
RERUN = "python -m analysis.studies.check_studies --rerun {}"
COMMANDS = {
    **{study: RERUN.format(study) for study in STUDIES},
    "A": RERUN.format("A --persons FOLDER"),
    "E7": "python -m analysis.studies.check_studies --from-records",  # it runs `gansweep plan` and trains nothing
}


def decide(runs):
    """Return one row per claim, in the order of studies.yaml."""
    sweeps = defaultdict(list)
    for run in runs:
        sweeps[run.sweep].append(run)
    found = {claim: finding for study in STUDIES.values() for claim, finding in study.claims(sweeps).items()}
    return pd.DataFrame([row(claim, found[claim["id"]]) for claim in load(CLAIMS)])


def row(claim, finding):
    name = claim["id"]
    return {
        "claim": name,
        "kind": claim["kind"],
        "published": claim["published"],
        "measured": finding.measured,
        "low": finding.interval.low,
        "high": finding.interval.high,
        "seeds": finding.seeds,
        "verdict": finding.verdict,
        "command": COMMANDS.get(name, COMMANDS[name[0]]),
    }


def load(path):
    return YAML(typ="safe").load(path)


def of_study(rows, study):
    """Return the table of one study, one line per claim."""
    lines = ["| | claim | measured | seeds | verdict |", "|---|---|---|---:|---|"]
    for r in rows[rows["claim"].str.startswith(study)].itertuples():
        kind = "" if r.kind == "published" else f" ({r.kind})"
        lines.append(f"| {r.claim} | {r.published}{kind} | {r.measured} | {r.seeds or ''} | {r.verdict} |")
    return "\n".join(lines)


def summary(rows):
    """Return the summary, one line per study with the outcome of its claims."""
    rows = rows.assign(shown=rows["claim"].where(rows["seeds"] > 0, rows["claim"] + " (not run)"))
    lines = ["| study | holds | does not hold | undecided |", "|---|---|---|---|"]
    for study, title in TITLES.items():
        own = rows[rows["claim"].str.startswith(study)]
        cells = (", ".join(own["shown"][own["verdict"] == verdict]) for verdict in (HOLDS, NOT, UNDECIDED))
        lines.append(f"| {study}: {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def trained(runs):
    """Return the table of runs, one line per sweep."""
    lines = ["| sweep | runs | steps | median steps/s | minutes of training |", "|---|---:|---:|---:|---:|"]
    for sweep, group in groupby(runs, key=lambda run: run.sweep):
        own = list(group)
        speed, minutes = median(run.steps_per_s for run in own), sum(run.wall_s for run in own) / 60
        lines.append(f"| {sweep} | {len(own)} | {own[0].steps:,} | {speed:.3g} | {minutes:.0f} |")
    return "\n".join(lines)


def put(path, name, text):
    """Insert text between the markers of that name.

    Raises:
        ValueError: The document has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path}: has no {begin} … {end}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
