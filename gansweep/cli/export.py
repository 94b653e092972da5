"""`gansweep export`: write a sweep's tables as CSV files."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.errors import UserError
from gansweep.records.layout import write_atomically
from gansweep.report.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from gansweep.tracking.reader import Source

TABLES = ("sweeps", "trials", "histories", "evaluations", "verdicts", "samples")
NESTED = ("evidence", "real_shares", "overrides")  # columns of dicts and lists, written as JSON


@click.command()
@click.argument("sweeps", metavar="SWEEP...", nargs=-1, required=True)
@click.option(
    "--csv",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write to; created if it does not exist.",
)
@options.home_option
@options.recorded_uri_option
@options.source_option
@options.all_plans_option
def export(
    sweeps: tuple[str, ...],
    folder: Path,
    home_path: Path,
    tracking_uri: str | None,
    source: Source,
    all_plans: bool,
) -> None:
    """Write the tables of each SWEEP as CSV files: sweeps, trials, histories, evaluations, verdicts and samples."""
    _check_writable(folder)
    from gansweep.report.tables import read_sweep

    tables = read_sweep(*sweeps, home=home_path, tracking_uri=tracking_uri, source=source, all_plans=all_plans)
    for name in TABLES:
        table: pd.DataFrame = getattr(tables, name)
        path = folder / f"{name}.csv"
        try:
            write_atomically(path, _csv(table).encode())
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error
        click.echo(f"{path}: {counted(len(table), 'row')}", err=True)
    options.report_left_out(int(tables.sweeps["earlier"].sum()), all_plans)


def _check_writable(folder: Path) -> None:
    """Raise UserError if a folder cannot be created or written."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"--csv {folder}: cannot be written ({error.strerror}); name another folder") from error


def _csv(table: pd.DataFrame) -> str:
    """Return a table as CSV: nested values as JSON, NaN and missing values as empty cells."""
    plain = table.assign(**{name: table[name].map(json.dumps) for name in NESTED if name in table})
    text: str = plain.to_csv(index=False)
    return text
