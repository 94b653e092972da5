"""Progress of a single run on stderr and in its log: a bar on a terminal, else lines with the time."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gansweep.cli.text import measured, verdict_colour
from gansweep.engine.board import BASIS_S
from gansweep.health.metrics import FD_RATIO, LOSS_D, LOSS_G
from gansweep.health.verdict import short_title, tag_of, title
from gansweep.records import log
from gansweep.report.words import duration

if TYPE_CHECKING:
    from gansweep.gan.run import Run

LINE_EVERY_S = 5.0
BAR = 24  # characters


class TrainView:
    """Context manager that shows a run. `file`: log that receives every message and line, with the time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._console = Console(stderr=True)
        self._run: Run | None = None
        self._live: Live | None = None
        self._began, self._first_step = time.monotonic(), 0
        self._last_line = self._began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended()

    def say(self, text: str, style: str = "") -> None:
        """Print a message to stderr, in a style of rich on a terminal, and write it to the log."""
        if self._console.is_terminal:
            self._console.print(Text(text, style), soft_wrap=True)
        else:
            print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
        self._write(text)

    def training(self, run: Run) -> None:
        """Start showing a run; its speed is measured from now on."""
        self._run, self._began, self._first_step = run, time.monotonic(), run.step
        self._last_line = self._began
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, refresh_per_second=4, transient=True, get_renderable=lambda: self._bar(run)
            )
            self._live.start()

    def advanced(self) -> None:
        """Print the run's notices, and a line of progress if LINE_EVERY_S seconds have passed since the last line.

        Called between slices of training.
        """
        self._say_notices()
        if self._run is None or time.monotonic() - self._last_line < LINE_EVERY_S:
            return
        self._last_line = time.monotonic()
        line = ", ".join([_progress(self._run), *self._figures(self._run)])
        if self._console.is_terminal:
            self._write(line)
        else:
            self.say(line)

    def ended(self) -> None:
        """Print the run's last notices and remove the bar. Further messages may be printed afterwards."""
        self._say_notices()
        if self._live:
            self._live.stop()

    def _say_notices(self) -> None:
        if self._run:
            for text in self._run.notices:
                self.say(text, "yellow")
            self._run.notices.clear()

    def elapsed_s(self) -> float:
        """Return the seconds since training started."""
        return time.monotonic() - self._began

    def _write(self, text: str) -> None:
        log.keep(self._file, text)

    def _figures(self, run: Run) -> list[str]:
        names = {LOSS_D: "loss D", LOSS_G: "loss G", FD_RATIO: "FD ratio"}
        found = [f"{words} {measured(run.latest[name])}" for name, words in names.items() if name in run.latest]
        found += [words for words, _ in _named(run)]
        speed = self._speed(run)
        if not speed or run.step == run.config.steps:
            return found
        found += [f"{measured(run.steps_per_s)} steps/s"] if run.steps_per_s else []
        left = (run.config.steps - run.step) / speed
        return [*found, f"about {duration(left)} left"] if self.elapsed_s() >= BASIS_S else found

    def _speed(self, run: Run) -> float:
        """Return the steps per second, including evaluations and records; 0 before the first step."""
        return (run.step - self._first_step) / max(1e-9, self.elapsed_s())

    def _bar(self, run: Run) -> Group:
        bar = ProgressBar(run.config.steps, run.step, width=BAR, complete_style="cyan", style="bright_black")
        first = Table.grid(padding=(0, 2, 0, 0))
        first.add_row(Text(" "), bar, Text(_progress(run)))
        second = Text("   " + "  ".join(self._figures(run)))
        for words, kind in _named(run):
            second.highlight_words([words], verdict_colour(kind))
        return Group(first, second)


def _named(run: Run) -> list[tuple[str, str]]:
    """Return (text, kind) for the verdict that names the run, if there is one, and for each state of the game."""
    tag = tag_of(run.verdicts)
    states = [one for one in run.verdicts if one.is_state]
    return [
        *([(title(tag), tag)] if tag else []),
        *((f"{short_title(one.kind)} since step {one.since_step:,}", one.kind) for one in states),
    ]


def _progress(run: Run) -> str:
    return f"step {run.step:,} of {run.config.steps:,}"
