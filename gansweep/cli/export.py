"""`gansweep export`: write sweeps as CSV files, or as event files of TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.errors import UserError
from gansweep.records.layout import home_at
from gansweep.report.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from gansweep.sweeps.sweep import RecordedSweep
    from gansweep.tracking.reader import Source

TABLES = ("sweeps", "trials", "histories", "evaluations", "verdicts", "samples")
NESTED = ("evidence", "real_shares", "overrides")  # columns of dicts and lists, written as JSON


@click.command()
@click.argument("sweeps", metavar="SWEEP...", nargs=-1, required=True)
@click.option(
    "--csv",
    "csv_folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of CSV files: sweeps, trials, histories, evaluations, verdicts and samples.",
)
@click.option(
    "--tensorboard",
    "event_folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of event files for `tensorboard --logdir DIR`: metrics, sample grids and settings of each trial.",
)
@options.home_option
@options.recorded_uri_option
@options.source_option
@options.all_plans_option
def export(
    sweeps: tuple[str, ...],
    csv_folder: Path | None,
    event_folder: Path | None,
    home_path: Path,
    tracking_uri: str | None,
    source: Source,
    all_plans: bool,
) -> None:
    """Write each SWEEP as CSV files (--csv), as event files of TensorBoard (--tensorboard), or both.

    Folders are created if they do not exist. Files of an earlier export are replaced.
    """
    if not (csv_folder or event_folder):
        raise click.UsageError("Missing option '--csv' or '--tensorboard': name the folder to write to.")
    for option, folder in (("--csv", csv_folder), ("--tensorboard", event_folder)):
        if folder:
            _check_writable(option, folder)
    from gansweep.tracking.reader import reader_of

    home = home_at(home_path)
    found = [reader_of(home, name, source, tracking_uri).read(all_plans=all_plans) for name in dict.fromkeys(sweeps)]
    if csv_folder:
        _write_tables(found, csv_folder)
    if event_folder:
        _write_events(found, event_folder)
    options.report_left_out(sum(sweep.earlier for sweep in found), all_plans)


def _check_writable(option: str, folder: Path) -> None:
    """Raise UserError if a folder, or if it does not exist its nearest existing parent, cannot be written."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be written ({error.strerror}); name another folder") from error


def _write_tables(sweeps: Sequence[RecordedSweep], folder: Path) -> None:
    from gansweep.report.tables import tables_of

    tables = tables_of(sweeps)
    for name in TABLES:
        table: pd.DataFrame = getattr(tables, name)
        path = folder / f"{name}.csv"
        options.write_output(path, _csv(table).encode())
        click.echo(f"{path}: {counted(len(table), 'row')}", err=True)


def _write_events(sweeps: Sequence[RecordedSweep], folder: Path) -> None:
    from gansweep.report.tensorboard import write_runs

    for sweep in sweeps:
        try:
            runs = write_runs(sweep, folder)
        except OSError as error:
            raise UserError(f"--tensorboard {folder}: cannot be written ({error})") from error
        click.echo(f"{runs}: {counted(len(sweep.trials), 'trial')}", err=True)


def _csv(table: pd.DataFrame) -> str:
    """Return a table as CSV: nested values as JSON, NaN and missing values as empty cells."""
    plain = table.assign(**{name: table[name].map(json.dumps) for name in NESTED if name in table})
    text: str = plain.to_csv(index=False)
    return text
