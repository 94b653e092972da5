"""Decide the claims of the five studies by studies.yaml; writes results/studies.csv and its tables.

    python -m analysis.studies.check_studies --from-records      # seconds; CI runs it
    python -m analysis.studies.check_studies --collect HOME      # first records the trials of a home folder
    python -m analysis.studies.check_studies --rerun [A B …]     # hours: first trains these studies, or all

Statistics: study_a.py … study_e7.py; intervals: statistics.py; rules: rules.py. The tables are in docs/studies.md."""

import argparse
import subprocess
import sys
from pathlib import Path
from textwrap import fill

from analysis.studies.lib.runs import RECORDS, read
from analysis.studies.lib.tables import STUDIES, decide, load, of_study, put, summary, trained

ROOT = Path(__file__).parents[2]
WIDTH = 100  # characters per line


def retrain(studies, home, data_dir, persons):
    """Run the reduced sweeps of the studies one after the other; finished trials are skipped."""
    places = {"mnist": ("dataset.data_dir", data_dir), "image_folder": ("dataset.path", persons)}
    for study in studies:
        for file in sorted((ROOT / "sweeps" / "studies").glob(f"{study.lower()}_*_reduced.yaml")):
            key, place = places.get(load(file)["dataset"]["name"], (None, None))
            options = ["--set", f"{key}={place.absolute()}"] if place else []
            command = [sys.executable, "-m", "gansweep.cli", "run", file, "--home", home, *options]
            subprocess.run(command, check=True)


def publish(runs, rows):
    """Write the CSV file and the tables of docs/studies.md."""
    table, page = RECORDS.with_name("studies.csv"), ROOT / "docs" / "studies.md"
    rows.to_csv(table, index=False, float_format="%.4g")
    put(page, "studies", summary(rows))
    put(page, "runs", trained(runs))
    for study in STUDIES:
        put(page, f"claims of {study}", of_study(rows, study))
    print(f"wrote {table}, {page}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from-records", action="store_true", help="decide by the recorded runs (default)")
    parser.add_argument("--collect", type=Path, metavar="HOME", help="first record the trials of this home folder")
    parser.add_argument("--rerun", nargs="*", choices=STUDIES, metavar="STUDY", help="train in --home, and record")
    parser.add_argument("--home", type=Path, default=Path("gansweep-home"), help="for --rerun")
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST (default: it is downloaded)")
    parser.add_argument("--persons", type=Path, help="folder of study A's photographs")
    given = parser.parse_args()
    if given.rerun is not None:
        retrain(given.rerun or STUDIES, given.home, given.data_dir, given.persons)
        given.collect = given.home
    if given.collect:
        from analysis.studies.lib.records import collect  # loads torch

        collect(given.collect)
    runs = read()
    rows = decide(runs)
    print(summary(rows), end="\n\n")
    for row in rows.itertuples():
        print(fill(f"{row.claim}  {row.verdict:13}  {row.measured}", WIDTH, subsequent_indent=" " * 19))
    publish(runs, rows)
