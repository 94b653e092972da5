"""`gansweep run`: train the unfinished trials of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.cli.call import Call
from gansweep.cli.settle import answers, settle
from gansweep.cli.streams import outlive_stdout
from gansweep.cli.text import at_step, say, varied
from gansweep.health.verdict import title
from gansweep.records import outcome
from gansweep.records.figures import figures_of
from gansweep.records.layout import Home, SweepFolder
from gansweep.report.words import counted, duration
from gansweep.stopwatch import Stopwatch

if TYPE_CHECKING:
    from gansweep.api.training import Ended
    from gansweep.engine.board import Board, Row, View
    from gansweep.planning.plan import Plan

WRONG, CRASHED = 1, 4  # exit codes


@click.command()
@options.file_argument
@options.set_option
@options.home_option
@options.uri_option
@options.max_trials_option
@click.option(
    "--address",
    help="Join the Ray cluster at HOST:PORT (Ray's own port is 6379); it must share the home folder or a --storage.",
)
@options.storage_option
@options.time_budget_option
@click.option("--verbose", is_flag=True, help="Print where the time until the first step goes.")
@answers
@click.make_pass_decorator(Call, ensure=True)
def run(
    call: Call,
    file: Path,
    overrides: tuple[str, ...],
    home_path: Path,
    tracking_uri: str | None,
    max_trials: int,
    address: str | None,
    storage: str | None,
    time_budget: float | None,
    verbose: bool,
    answer: str | None,
) -> int:
    """Train the unfinished trials of the sweep in FILE.

    Finished trials are skipped, interrupted ones resume from their checkpoints, and new ones start. The command can be
    killed at any moment and run again.
    """
    from gansweep.api.training import Order, train
    from gansweep.sweepfile.document import read

    outlive_stdout()
    home = options.home_of(home_path)
    order = Order(
        read(file),
        str(file),
        lambda copy: (options.command_line(file, copy), str(options.lasting(file, copy))),
        home,
        overrides,
        tracking_uri,
        max_trials,
        address,
        storage,
        time_budget,
        Stopwatch(call.began, say if verbose else lambda _: None),
    )
    terminal = Terminal(call, home, answer)
    train(order, terminal)
    return terminal.code


class Terminal:
    """Presenter for a terminal: progress and messages on stderr, the result on stdout.

    Args:
        call: The call of the command line.
        home: The home folder.
        answer: "moved" or "copied", as given by --moved or --new-identity; None if neither was given.

    Attributes:
        code: Exit code of the command.
    """

    def __init__(self, call: Call, home: Home, answer: str | None) -> None:
        self._call, self._home, self._answer = call, home, answer
        self.code = 0

    def tell(self, text: str) -> None:
        """Print a message to stderr."""
        say(text)

    def settle(self, folder: SweepFolder, uri: str, tell: Callable[[str], None]) -> None:
        """Check, using `answer`, that the folder may write the records of its sweep. Raises UserError if it may not."""
        settle(self._home, folder, uri, self._answer, tell, ask_store=False)

    def starting(self) -> None:
        """Make the command end without exit handlers from now on, since those of Ray would delay it."""
        from gansweep.engine.ending import leave_at_once

        self._call.leave = leave_at_once

    def view(self, board: Board, uri: str, log: Path) -> AbstractContextManager[View]:
        """Return the live table on a terminal, else a view that prints lines."""
        from gansweep.cli.views import view
        from gansweep.tracking import store

        link = f"MLflow: {uri}" if store.is_server(uri) else "MLflow: `gansweep ui` in another terminal"
        return view(board, link, log)

    def ended(self, ended: Ended, tell: Callable[[str], None]) -> None:
        """Print the table of trials, how the sweep ended and the best trial, and set the exit code.

        If there was nothing to train, print this and the best trial only.
        """
        if ended.board is None:
            tell(f"{ended.plan.sweep.name}: nothing to train, {_all_finished(len(ended.plan.trials))}")
            _say_best(ended.plan, tell)
            return
        self.show(list(ended.board.rows.values()), ended.board.sweep)
        self.code = _report(ended, tell)

    def show(self, rows: Sequence[Row], sweep: str) -> None:
        """Print the table of trials."""
        from gansweep.cli.tables import show_trials

        show_trials(rows, sweep)


def _all_finished(count: int) -> str:
    return "its only trial is finished" if count == 1 else f"all {count:,} trials are finished"


def _report(ended: Ended, tell: Callable[[str], None]) -> int:
    """Print how the sweep ended, its best trial, and the command to continue with. Return the exit code."""
    from gansweep.tracking import store

    plan, board, ending = ended.plan, ended.board, ended.ending
    assert board is not None
    assert ending is not None
    rows = list(board.rows.values())
    before = {planned.trial.id for planned in plan.trials if planned.finished}
    for text in _ends([row for row in rows if row.id not in before]):
        tell(text)
    if stopped := sum(row.outcome == "stopped" and row.id in before for row in rows):
        tell(f"{counted(stopped, 'trial')} stopped in earlier runs; `gansweep diagnose {board.sweep}` shows why")
    left = sum(row.outcome in ("pending", "running", "interrupted") for row in rows) + len(board.to_come)
    crashed = [row for row in rows if row.outcome == "crashed"]
    if crashed:
        tell(
            f"{counted(len(crashed), 'trial')} crashed; `gansweep show {crashed[0].id}` shows the traceback;"
            " run the same command to retry"
        )
    judged = _say_best(plan, tell)
    if left:
        why = f" ({ending.reason})" if ending.reason else ""
        finished = sum(row.outcome in ("completed", "stopped") for row in rows)
        trials = counted(board.total, "trial")
        tell(f"Interrupted{why}: {finished} of {trials} finished. Run the same command to resume.")
    if not left and not crashed:
        took = duration(board.elapsed_s())
        shown = ended.uri if store.is_server(ended.uri) else "`gansweep ui`"
        tell(f"{_all_finished(len(rows))} after {took}; {shown} shows {'it' if len(rows) == 1 else 'them'}")
    if ending.signal:
        return 128 + ending.signal
    if ending.failure:
        return WRONG
    return CRASHED if crashed else 0 if judged else WRONG


def _ends(rows: Sequence[Row]) -> list[str]:
    """Return one line per reason for which trials were stopped or crashed, with the first of these trials."""
    ids: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reason and row.outcome in ("stopped", "crashed"):
            ids.setdefault((row.outcome, row.reason), []).append(row.id)
    return [
        f"{first}{f' and {len(others)} more' if others else ''}: {outcome}: {reason}"
        for (outcome, reason), (first, *others) in ids.items()
    ]


def _say_best(plan: Plan, tell: Callable[[str], None]) -> bool:
    """Print the best trial, if there are several.

    Returns:
        False if the sweep needs the objective, trials have completed or were stopped, and none of them recorded it.
    """
    ranking, trials = plan.ranking, {plan.folder.trial(p.trial.id): p.trial for p in plan.trials}
    states = {folder: outcome.state(folder, trial.steps) for folder, trial in trials.items()}
    whole = [folder for folder, now in states.items() if now in ("completed", "stopped")]
    if whole and plan.sweep.needs_objective and not any(map(ranking.is_recorded, whole)):
        there = f"`gansweep show {whole[0].id}` lists the recorded metrics"
        tell(f"search.objective.metric: no run recorded {ranking.metric}; {there}")
        return False
    ranked = ranking.ranked(states)
    if len(trials) > 1 and ranked:
        best = next(iter(ranked))
        settings = varied(trials[best].varied, trials[best].config.seed)
        final = figures_of(best, ranking)
        value = at_step(ranking.metric, final["quality"], final["quality_step"])
        ended = outcome.read(best)
        poor = f"; {title(ended.failure)}, as no trial ended without failing" if ended and ended.failure else ""
        tell(f"best: {best.id}, {settings}: {value}{poor}")
    return True
