"""Tables of trials, for the live view and the end of `run`, and for `status`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gansweep.cli.text import COLOURS, MANY_SETTINGS, SettingColumns, measured, setting_columns, varied, verdict_colour
from gansweep.health.metrics import D_FAKE, D_REAL, FD_RATIO, LOSS_D, LOSS_G
from gansweep.health.verdict import short_title, title
from gansweep.records.outcome import OUT_OF_MEMORY

if TYPE_CHECKING:
    from gansweep.engine.board import Row

MOST_ROWS = 200  # more trials are not read, and rich takes a millisecond for each
# Order in which outcomes are shown if there are more trials: those that need attention first.
FIRST = ("running", "crashed", "interrupted", "stopped", "completed", "pending")
UNBOUND = 100_000  # characters of a line that is not wrapped


@dataclass(frozen=True)
class Layout:
    """Columns of a table of trials.

    Args:
        figures: Heading of a column → function that returns the number in the column for a trial's row.
        bar: Width of the progress bar in characters.
        outcome_in_full: Whether to show the outcome in addition to the verdict.
    """

    figures: Mapping[str, Callable[[Row], float | None]]
    bar: int
    outcome_in_full: bool


def newest(metric: str) -> Callable[[Row], float | None]:
    """Return a function that returns the last value of a metric in a trial's row; None if there is none."""
    return lambda row: row.metrics.get(metric)


USUAL = Layout({"FD": newest(FD_RATIO)}, 8, outcome_in_full=False)
EVERYTHING = Layout(
    {
        "steps/s": attrgetter("steps_per_s"),
        "loss D": newest(LOSS_D),
        "loss G": newest(LOSS_G),
        "σ(D(x))": newest(D_REAL),
        "σ(D(G(z)))": newest(D_FAKE),
        "FD": newest(FD_RATIO),
    },
    16,
    outcome_in_full=True,
)


def plain_table() -> Table:
    """Return an empty table in the common style."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))


def output() -> Console:
    """Return a console on stdout. If stdout is not a terminal, lines are not wrapped unless COLUMNS is set."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=UNBOUND)


def show(table: Table, console: Console) -> None:
    """Print a table without truncating cells: the terminal wraps longer lines."""
    whole = Console(width=max(console.width, _least(table, console)))
    if console.is_terminal:
        whole.print(table)
        return
    with whole.capture() as captured:
        whole.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_trials(rows: Sequence[Row], sweep: str) -> None:
    """Print a table of trials to stdout, in the order of `rows`.

    It has at most MOST_ROWS rows. If there are more trials, those whose outcome comes first in FIRST are shown.
    """
    console = output()
    chosen = {row.id for row in sorted(rows, key=lambda row: FIRST.index(row.outcome))[:MOST_ROWS]}
    show(trial_table([row for row in rows if row.id in chosen], console.width), console)
    if len(rows) > len(chosen):
        click.echo(f"and {len(rows) - len(chosen):,} more (all with `gansweep status {sweep} --json`)")


def _least(table: Table, console: Console) -> int:
    """Return the minimum width of a table in characters. A column that may wrap counts with its longest word."""
    measures = [[Measurement.get(console, console.options, cell) for cell in (column.header, *column.cells)]
                for column in table.columns]  # fmt: skip
    widths = [max(one.maximum if column.no_wrap else one.minimum for one in cells)
              for column, cells in zip(table.columns, measures, strict=True)]  # fmt: skip
    return sum(width + 2 for width in widths)


def trial_table(rows: Sequence[Row], width: int) -> Table:
    """Return a table with one row per trial: settings, progress, figures and outcome.

    It has as many columns as fit in `width` characters; on a narrow screen settings are below each trial.
    """
    console = Console(width=width)
    tables = (_table(rows, width, layout) for layout in (EVERYTHING, USUAL))
    return next((table for table in tables if _least(table, console) <= width), _narrow_table(rows))


def _table(rows: Sequence[Row], width: int, layout: Layout) -> Table:
    settings = setting_columns([row.varied for row in rows], width)
    with_seed = len({row.seed for row in rows}) > 1
    table = plain_table()
    table.add_column("trial", style="bright_black", no_wrap=True)
    add_settings(table, settings)
    if with_seed:
        table.add_column("seed", justify="right", no_wrap=True)
    table.add_column("progress", no_wrap=True)
    for heading in ("step", *layout.figures):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for at, row in enumerate(rows, 1):
        table.add_row(
            row.id[:8],
            *(column[at] for column in settings.columns),
            *([str(row.seed)] if with_seed else []),
            _bar(row, layout.bar),
            f"{row.step:,}",
            *(_measured(figure(row)) for figure in layout.figures.values()),
            _outcome(row, in_full=layout.outcome_in_full),
        )
    return table


def _narrow_table(rows: Sequence[Row]) -> Table:
    """Return a table without progress bars, with wrapped outcomes, and varied settings below each trial."""
    seeds = len({row.seed for row in rows}) > 1
    lines = [("trial", "step", "FD", Text("outcome"))]
    lines += [(r.id[:8], f"{r.step:,}", measured(r.metrics.get(FD_RATIO)), _outcome(r, in_full=False)) for r in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(3)]
    table = plain_table()
    for row, cells in zip((None, *rows), lines, strict=True):
        line = Table.grid(padding=(0, 2, 0, 0))
        for at, one in enumerate(widths):
            line.add_column(width=one, justify="right" if at else "left")
        line.add_column()
        line.add_row(*cells)
        if row is None:
            table.add_column(line)
        else:
            below = Text(varied(row.varied, row.seed if seeds else None), style="bright_black")
            table.add_row(Group(line, Padding(below, (0, 0, 0, 2))) if below else line)
    return table


def add_settings(table: Table, settings: SettingColumns) -> None:
    """Add columns of settings to a table, and the settings of most trials as its caption if the columns omit them.

    A column that combines several settings may wrap; others may not.
    """
    for heading, *_ in settings.columns:
        many = heading == MANY_SETTINGS
        table.add_column(heading, justify="left" if many else "right", no_wrap=not many, overflow="fold")
    if settings.usual:
        table.caption, table.caption_justify = f"most have {settings.usual}", "left"


def _bar(row: Row, width: int) -> ProgressBar:
    colour = COLOURS[row.outcome]
    return ProgressBar(
        row.steps, row.step, width=width, complete_style=colour, finished_style=colour, style="bright_black"
    )


def beside(tag: Text, states: Iterable[str]) -> Text:
    """Return the outcome or verdict of a trial, followed by the states of its game, as in `healthy · D won`."""
    return Text.assemble(tag, *((f" · {short_title(kind)}", verdict_colour(kind)) for kind in states))


def _outcome(row: Row, *, in_full: bool) -> Text:
    """Return the outcome or the verdict of a trial, followed by the states of its game.

    In full, both outcome and verdict are returned, and the step since which each state holds.
    """
    if not in_full:
        return beside(_tag(row, in_full=in_full), (kind for kind, _ in row.states))
    since = ((f" · {short_title(kind)} since {step:,}", verdict_colour(kind)) for kind, step in row.states)
    return Text.assemble(_tag(row, in_full=in_full), *since)


def _tag(row: Row, *, in_full: bool) -> Text:
    if row.rule == OUT_OF_MEMORY:
        return Text(f"{row.outcome}: {title(row.rule)}" if in_full else title(row.rule), style=COLOURS[row.outcome])
    if row.verdict in (None, "undecided") or (row.outcome == "running" and not in_full):
        return Text(row.outcome, style=COLOURS[row.outcome])
    assert row.verdict is not None
    verdict = title(row.verdict)
    label = f"{row.outcome}: {verdict}" if in_full else verdict
    return Text(label, style=verdict_colour(row.verdict))


def _measured(value: float | None) -> Text:
    bad = value is not None and not math.isfinite(value)
    return Text(measured(value), style="red" if bad else "")
