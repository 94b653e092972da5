"""Progress of a sweep on stderr: a live table on a terminal, else lines with the time of day.

Starts and ends of trials and notices are also written to the sweep's log; lines of overall progress are not.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gansweep.cli.tables import trial_table
from gansweep.cli.text import measured, varied
from gansweep.gan.gpu_load import LoadReader
from gansweep.health.metrics import LOSS_D, LOSS_G
from gansweep.health.verdict import short_title
from gansweep.records import log
from gansweep.report.words import duration

if TYPE_CHECKING:
    from gansweep.engine.board import Board, Row

LINE_EVERY_S = 15.0
LEAST_ROWS = 3  # minimum of the live table


def view(board: Board, link: str, file: Path) -> LiveView | PlainView:
    """Return a LiveView if stderr is a terminal, else a PlainView.

    Args:
        board: State of the trials.
        link: Text that states where MLflow shows the sweep.
        file: The sweep's log.
    """
    console, diary = Console(stderr=True), Diary(file)
    return LiveView(board, link, diary, console) if console.is_terminal else PlainView(board, diary)


class Diary:
    """Writer of a sweep's log: start and end of each trial, and notices."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: dict[str, str] = {}
        self._crashes: dict[str, str] = {}  # reason → id of the first trial

    def line(self, row: Row) -> str | None:
        """Write a line to the log if the outcome of a trial has changed, and return the line; None if it has not."""
        if self._seen.get(row.id) == row.outcome:
            return None
        self._seen[row.id] = row.outcome
        text = f"{row.id}  {varied(row.varied, row.seed)}  {self._end(row)}"
        self.keep(text)
        return text

    def keep(self, text: str) -> None:
        log.keep(self._file, text)

    def _end(self, row: Row) -> str:
        """Return the outcome of a trial as text. If several trials crashed for one reason, only the first states it."""
        first = self._crashes.setdefault(row.reason, row.id) if row.outcome == "crashed" else row.id
        return _ended(row) if first == row.id else f"crashed at step {row.step}, as {first} did"


class PlainView:
    """View that prints a line when a trial starts or ends, and overall progress at most every LINE_EVERY_S seconds."""

    def __init__(self, board: Board, diary: Diary) -> None:
        self._board, self._diary, self._last = board, diary, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def notice(self, text: str) -> None:
        _print(text)
        self._diary.keep(text)

    def changed(self, row: Row) -> None:
        if text := self._diary.line(row):
            _print(text)
        elif time.monotonic() - self._last > LINE_EVERY_S:
            self._last = time.monotonic()
            running = [f"{r.id} {r.step}/{r.steps}" for r in self._board.rows.values() if r.outcome == "running"]
            _print(f"{_overall(self._board)}; {', '.join(running)}")


class LiveView:
    """View with a live table that fits the terminal.

    If it cannot show all trials, it shows running trials first, then those that ended last, then pending ones.
    """

    def __init__(self, board: Board, link: str, diary: Diary, console: Console) -> None:
        self._board, self._link, self._diary, self._console = board, link, diary, console
        self._recent: list[str] = []
        self._load = LoadReader()
        self._live = Live(console=console, refresh_per_second=2, transient=True, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def notice(self, text: str) -> None:
        self._console.print(f"[yellow]{text}[/yellow]", highlight=False)
        self._diary.keep(text)

    def changed(self, row: Row) -> None:
        self._diary.line(row)
        if row.id in self._recent:
            self._recent.remove(row.id)
        self._recent.append(row.id)

    def _render(self) -> Group:
        board, limit = self._board, max(LEAST_ROWS, self._console.height - 8)
        rows, table = self._table(limit)
        parts: list[Table | Text] = [table]
        if hidden := len(board.rows) - len(rows):
            parts.append(Text(f"  and {hidden} more", style="bright_black"))
        parts.append(Text(f"  {board.sweep}  {_overall(board)}"))
        if board.local_gpus:
            parts.append(Text(f"  {self._of_gpus()}"))
        return Group(*parts, Text(f"  {self._link}", style="bright_black"))

    def _of_gpus(self) -> str:
        """Return the speed of all trials together, and the load of the GPUs if it is known."""
        texts = [f"{self._board.steps_per_s():,.0f} steps/s together"]
        if load := self._load():
            name = "GPU" if load.gpus == 1 else f"{load.gpus} GPUs"
            memory = f"{load.used_bytes / 1e9:.1f} of {load.total_bytes / 1e9:.1f} GB"
            texts.append(f"{name} {load.utilization:.0f} % busy, {memory}")
        return ", ".join(texts)

    def _table(self, limit: int) -> tuple[list[Row], Table]:
        """Return the rows that fit on the screen, in the order of the plan, and their table.

        `limit`: maximum number of rows. On a narrow screen a row takes several lines.
        """
        while True:
            chosen = self._chosen(limit)
            rows = [row for row in self._board.rows.values() if row.id in chosen]
            table = trial_table(rows, self._console.width)
            lines = len(self._console.render_lines(table, pad=False))
            if limit == LEAST_ROWS or lines <= self._console.height - 5:
                return rows, table
            limit = max(LEAST_ROWS, limit // 2)

    def _chosen(self, limit: int) -> set[str]:
        rows = self._board.rows
        running = [i for i, row in rows.items() if row.outcome == "running"]
        recent = [i for i in reversed(self._recent) if i not in running]
        waiting = [i for i in rows if i not in running and i not in recent]
        return set((running + recent + waiting)[:limit])


def _print(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def _ended(row: Row) -> str:
    if row.outcome == "running":
        return f"running from step {row.step}"
    if row.outcome == "pending":
        return f"pending at step {row.step}"
    losses = f"loss D {measured(row.metrics.get(LOSS_D))}, loss G {measured(row.metrics.get(LOSS_G))}"
    words = f"{row.outcome} at step {row.step}" + (f": {row.reason}" if row.reason else f", {losses}")
    return words + "".join(f"; {short_title(kind)} since step {since:,}" for kind, since in row.states)


def _overall(board: Board) -> str:
    text = f"{board.done()}/{board.total} done, {board.slots} at a time, {duration(board.elapsed_s())} so far"
    left = board.remaining_s()
    return f"{text}, about {duration(left)} left" if left is not None else text
