"""`gansweep diagnose`: judge a recorded sweep again, from the tracking store or its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.cli.text import COLOURS, columns_of, to_json, verdict_colour
from gansweep.errors import UserError
from gansweep.health.metrics import label
from gansweep.health.verdict import CONCLUSIONS, ORDER, Verdict, title
from gansweep.records.outcome import OUT_OF_MEMORY, failure_of
from gansweep.report.remarks import remarks

if TYPE_CHECKING:
    from rich.table import Table

    from gansweep.health.judge import Judge
    from gansweep.sweeps.sweep import RecordedSweep, RecordedTrial
    from gansweep.tracking.reader import Source

    Judged = list[tuple[RecordedTrial, tuple[Verdict, ...]]]

# Characters of a line for the reason. If fewer are left, the verdict is wrapped and includes the outcome; if less than
# half are left, the settings are printed below the trial.
LEAST_REASON = 40
LONGEST_WORD = "(interrupted)"


@click.command()
@click.argument("sweep")
@options.home_option
@options.recorded_uri_option
@options.source_option
@click.option(
    "--thresholds",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Judge by these thresholds instead of the sweep's. YAML, as in `mode_collapse: {coverage: 0.4}`.",
)
@options.all_plans_option
@options.json_option
def diagnose(
    sweep: str,
    home_path: Path,
    tracking_uri: str | None,
    source: Source,
    thresholds: Path | None,
    all_plans: bool,
    as_json: bool,
) -> None:
    """List the verdict on each trial of SWEEP, with its onset and reason, and who has won the game between D and G.

    The sweep may be finished, running or interrupted.
    """
    from gansweep.tracking.reader import reader_of

    home = options.home_of(home_path)
    own_judge = _judge(thresholds) if thresholds else None
    found = reader_of(home, sweep, source, tracking_uri).read(all_plans=all_plans, verdicts_only=True)
    judge = own_judge or found.judge
    judged = [(trial, judge.conclude(trial.history)) for trial in found.in_plan_order()]
    _check_judgeable(sweep, judged)
    beside = _beside(found, judged)
    if as_json:
        trials = [
            {
                "id": trial.id,
                "varied": found.differing(trial),
                "rule": trial.rule,
                "verdicts": [verdict.to_json() for verdict in verdicts],
                "remark": beside.get(trial.id, ""),
            }
            for trial, verdicts in judged
        ]
        click.echo(to_json({"sweep": sweep, "earlier": found.earlier, "trials": trials}))
        return
    from gansweep.cli.tables import output, show

    console = output()
    show(_table(judged, _settings(found, judged), beside, console.width), console)
    click.echo(f"{sweep}: {_counts(judged)}", err=True)
    options.report_left_out(found.earlier, all_plans)


def _beside(sweep: RecordedSweep, judged: Judged) -> dict[str, str]:
    """Return trial id → remark: how its value of the objective compares with that of the best ranked trial."""
    values = {trial.id: final.value for trial, _ in judged if (final := sweep.quality(trial).final)}
    failures = {trial.id: failure_of(trial.outcome, verdicts[0].kind) for trial, verdicts in judged}
    ranked = sweep.ranking.admitted({trial: sweep.ranking.score(value) for trial, value in values.items()}, failures)
    called = label(sweep.ranking.metric)
    return {trial: f"{called} {words}" for trial, words in remarks(sweep.ranking, values, ranked).items()}


def _judge(file: Path) -> Judge:
    """Return the judge (which gives verdicts) with the thresholds in a file. Notes on these are printed to stderr.

    Raises:
        SweepFileError: The file contains unknown keys or invalid values.
        UserError: The file cannot be read.
    """
    from gansweep.health.judge import judge_of
    from gansweep.sweepfile.document import read
    from gansweep.sweepfile.loader import THRESHOLDS_FILE, thresholds_of

    thresholds = thresholds_of(read(file, THRESHOLDS_FILE), str(file))
    for sentence in thresholds.sentences:
        click.echo(f"{file}: {sentence}", err=True)
    return judge_of(thresholds.changed())


def _check_judgeable(sweep: str, judged: Judged) -> None:
    """Raise UserError if no trial has started, or if none was evaluated and none has a failure verdict."""
    if not judged:
        raise UserError(f"{sweep}: no trial has started yet; `gansweep status {sweep}` shows its progress")
    evaluated = any(len(trial.history.evaluations()) for trial, _ in judged)
    if not evaluated and not any(verdict.is_failure for _, verdicts in judged for verdict in verdicts):
        if crashed := [trial for trial, _ in judged if trial.outcome == "crashed"]:
            raise UserError(
                f"{sweep}: {len(crashed)} of {len(judged)} trials crashed before an evaluation;"
                f" `gansweep show {crashed[0].id}` shows the traceback"
            )
        raise UserError(
            f"{sweep}: no evaluations are recorded, which verdicts need; set evaluation.per_run: 25 in its"
            " sweep file and run it again"
        )


def _table(judged: Judged, settings: list[list[str]], remarks: Mapping[str, str], width: int) -> Table:
    """Return a table with one row per verdict, grouped by trial. The column of reasons takes the remaining width.

    A trial's remark, which is no verdict, follows in a row of its own.

    Args:
        judged: Trials with their verdicts.
        settings: Columns of settings, as returned by `_settings`.
        remarks: Trial id → remark, as returned by `_beside`.
        width: Width of a line in characters.
    """
    from rich.text import Text

    from gansweep.tracking.notes import finding

    wide, stacked = _fit(judged, settings, width)
    columns = [] if stacked else settings
    table = _empty_table([heading for heading, *_ in columns], wide)
    for row, (trial, verdicts) in enumerate(judged, 1):
        below = [f"\n{heading}={values[row - 1]}" for heading, *values in settings] if stacked else []
        cells = [Text("".join([trial.id[:8], *below])), *(Text(column[row]) for column in columns)]
        cells += [Text(_ending(trial), style=COLOURS.get(trial.outcome, ""))] if wide else []
        for verdict in verdicts:
            kind = Text(title(verdict.kind), style=verdict_colour(verdict.kind))
            if not wide and verdict is verdicts[0] and trial.outcome != "completed":
                kind.append(f" ({_ending(trial)})", style="not bold bright_black")
            since = "" if verdict.kind in CONCLUSIONS else f"{verdict.since_step:,}"
            table.add_row(*cells, kind, since, Text(finding(verdict)))
            cells = [Text()] * len(cells)
        if remark := remarks.get(trial.id):
            table.add_row(*cells, *(Text(words, style="bright_black") for words in ("remark", "", remark)))
    return table


def _ending(trial: RecordedTrial) -> str:
    """Return the outcome of a trial as text. A crash for lack of memory is named as such instead of `crashed`."""
    return title(OUT_OF_MEMORY) if trial.rule == OUT_OF_MEMORY else trial.outcome


def _fit(judged: Judged, settings: list[list[str]], width: int) -> tuple[bool, bool]:
    """Return whether outcomes fit in a column of their own, and whether settings must be printed below each trial."""
    kinds = [title(verdict.kind) for _, verdicts in judged for verdict in verdicts]
    left = width - _taken(["trial id", *(max(column, key=len) for column in settings), "since"])
    endings = [_ending(trial) for trial, _ in judged]
    wide = left - _taken([max([*endings, "interrupted"], key=len), max(kinds, key=len)]) >= LEAST_REASON
    return wide, left - _taken([LONGEST_WORD]) < LEAST_REASON / 2


def _taken(columns: Sequence[str]) -> int:
    """Return the total width in characters of columns, given the longest text of each."""
    return sum(len(text) + 2 for text in columns)


def _empty_table(settings: Sequence[str], wide: bool) -> Table:
    from gansweep.cli.tables import plain_table

    table = plain_table()
    table.add_column("trial", style="bright_black", no_wrap=True)
    for heading in settings:
        table.add_column(heading, justify="right", no_wrap=True)
    if wide:
        table.add_column("outcome", no_wrap=True)
    table.add_column("verdict", no_wrap=wide, max_width=None if wide else len(LONGEST_WORD))
    table.add_column("since", justify="right", no_wrap=True)
    table.add_column("reason")
    return table


def _settings(sweep: RecordedSweep, judged: Judged) -> list[list[str]]:
    """Return a column (heading, then one cell per trial) per setting that differs, and for the seed if it differs."""
    trials = [trial for trial, _ in judged]
    columns = columns_of([sweep.differing(trial) for trial in trials])
    seeds = [str(trial.seed) for trial in trials]
    return columns + ([["seed", *seeds]] if len(set(seeds)) > 1 else [])


def _counts(judged: Judged) -> str:
    """Return the number of trials per primary verdict, as in "3 healthy, 1 mode collapse"."""
    counts = Counter(str(verdicts[0].kind) for _, verdicts in judged)
    return ", ".join(f"{counts[kind]} {title(kind)}" for kind in ORDER if kind in counts)
