"""Do the claims of the five studies hold? Decides them by studies.yaml; writes results/studies.csv and its tables.

    python -m analysis.studies.check_studies --from-records      # seconds; CI runs it
    python -m analysis.studies.check_studies --collect HOME      # records first what a home folder has trained
    python -m analysis.studies.check_studies --rerun [A B …]     # hours: trains these studies first, or all

Statistics: study_a.py … study_e7.py; intervals and rules: statistics.py. The tables stand in docs/studies.md."""

import argparse
import subprocess
import sys
from pathlib import Path
from textwrap import fill

from analysis.studies.lib.runs import RECORDS, read
from analysis.studies.lib.tables import STUDIES, decide, load, of_study, put, summary, trained

ROOT = Path(__file__).parents[2]
WIDTH = 100  # characters of a line


def retrain(studies, home, data_dir, persons):
    """Their reduced sweeps, one after the other; what the home has finished is skipped."""
    places = {"mnist": ("dataset.data_dir", data_dir), "image_folder": ("dataset.path", persons)}
    for study in studies:
        for file in sorted((ROOT / "sweeps" / "studies").glob(f"{study.lower()}_*_reduced.yaml")):
            key, place = places.get(load(file)["dataset"]["name"], (None, None))
            options = ["--set", f"{key}={place.absolute()}"] if place else []
            command = [sys.executable, "-m", "gansweep.cli", "run", file, "--home", home, *options]
            subprocess.run(command, check=True)


def publish(runs, rows):
    """The CSV file and the tables of docs/studies.md."""
    table, page = RECORDS.with_name("studies.csv"), ROOT / "docs" / "studies.md"
    rows.to_csv(table, index=False, float_format="%.4g")
    put(page, "studies", summary(rows))
    put(page, "runs", trained(runs))
    for study in STUDIES:
        put(page, f"claims of {study}", of_study(rows, study))
    print(f"wrote {table}, {page}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from-records", action="store_true", help="decide by what is recorded: the default")
    parser.add_argument("--collect", type=Path, metavar="HOME", help="record first what was trained there")
    parser.add_argument("--rerun", nargs="*", choices=STUDIES, metavar="STUDY", help="train in --home, and record")
    parser.add_argument("--home", type=Path, default=Path("gansweep-home"), help="of --rerun: ./gansweep-home")
    parser.add_argument("--data-dir", type=Path, help="where MNIST lies; else it is downloaded")
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
