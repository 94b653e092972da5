"""`gansweep report`: write a PDF report on sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.cli.settle import answers, correct_paths, settle
from gansweep.cli.text import say
from gansweep.records.layout import Home
from gansweep.records.writable import check_writable

if TYPE_CHECKING:
    from gansweep.tracking.reader import Source


@click.command()
@click.argument("sweeps", nargs=-1, required=True, metavar="SWEEP...")
@click.option(
    "-o",
    "--output",
    default="report.pdf",
    show_default=True,
    type=click.Path(path_type=Path),
    help="PDF file to write.",
)
@click.option("--log", "to_mlflow", is_flag=True, help="Also add the PDF to the sweep's parent run in MLflow.")
@click.option("--verbose", is_flag=True, help="Print the time of each part.")
@options.home_option
@options.recorded_uri_option
@options.source_option
@options.all_plans_option
@answers
def report(
    sweeps: tuple[str, ...],
    output: Path,
    to_mlflow: bool,
    verbose: bool,
    home_path: Path,
    tracking_uri: str | None,
    source: Source,
    all_plans: bool,
    answer: str | None,
) -> None:
    """Write a PDF report on each SWEEP: what was tried, what worked, what failed and why, and how certain that is.

    Sweeps may be finished, running or interrupted; several are compared. Terms and metrics: docs/glossary.md.
    """
    options.check_output(output, (".pdf",))
    home = options.home_of(home_path)
    if to_mlflow:
        _may_write(home, sweeps, tracking_uri, answer)

    def timing(what: str, seconds: float) -> None:
        if verbose:
            click.echo(f"{what:<20} {seconds:5.1f} s", err=True)

    from gansweep.report.make import make

    earlier = make(sweeps, output, home, tracking_uri, timing, to_mlflow=to_mlflow, source=source, all_plans=all_plans)
    click.echo(f"wrote {output}", err=True)
    options.report_left_out(earlier, all_plans)


def _may_write(home: Home, sweeps: tuple[str, ...], tracking_uri: str | None, answer: str | None) -> None:
    """Check that the home may write the records of the named sweeps. Raises UserError if it may not."""
    from gansweep.tracking.reader import where

    check_writable(home)
    for folder in home.sweeps():
        if folder.name in sweeps:
            settle(home, folder, where(home, folder.name, tracking_uri), answer, say, ask_store=True)
    correct_paths(home, say)
