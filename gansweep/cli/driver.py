"""Process in which `gansweep.run_sweep` trains a sweep: `python -m gansweep.cli.driver`.

It reads its order as a line of JSON from stdin, which the caller keeps open. When stdin closes, the caller has ended,
and the sweep is stopped gracefully. Progress is printed on stderr, and the answer on stdout as JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.cli import options, surroundings
from gansweep.cli.call import Call
from gansweep.cli.run import Terminal
from gansweep.errors import SweepFileError, UserError
from gansweep.records import disk
from gansweep.records.layout import Home
from gansweep.stopwatch import Stopwatch

if TYPE_CHECKING:
    from gansweep.engine.board import Row


class Caller(Terminal):
    """Presenter for a Python caller. It prints no table of trials, since the caller gets a DataFrame."""

    def show(self, rows: Sequence[Row], sweep: str) -> None:
        """Print no table."""


def main() -> None:
    """Train the sweep that the order on stdin describes, print the answer, and exit."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # output of libraries and children is not part of the answer
        surroundings.settle()
        given = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_caller, daemon=True).start()
        call = Call()
        answers.write(json.dumps(_answer(call, given)))
    call.leave(0)


def _end_with_caller() -> None:
    """Wait until stdin closes, which means that the caller has ended, and then send this process SIGTERM."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _answer(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    """Train the sweep and return the answer for the caller, a mapping with one key.

    The key is `sweep` with the name of the sweep; or else `problems` (of the sweep file), `error` (another one that the
    user can mend) or `bug` (an unexpected exception), with messages.
    """
    try:
        return {"sweep": _train(call, given)}
    except SweepFileError as error:
        return {"problems": error.problems}
    except UserError as error:
        return {"error": str(error)}
    except Exception as error:
        if sentence := disk.lack(error):
            return {"error": sentence}
        return {"bug": traceback.format_exc()}


def _train(call: Call, given: Mapping[str, Any]) -> str:
    from gansweep.api.training import Order, train

    home = Home(Path(given["home"]))
    file = Path(given["file"]) if given["file"] else None

    def named(copy: Path) -> tuple[str, str]:
        path = str(options.lasting(file, copy) if file else copy)
        changes = [word for one in given["overrides"] for word in ("--set", one)]
        return shlex.join(["gansweep", "run", path, *changes]), path

    order = Order(
        given["text"],
        given["name"],
        named,
        home,
        tuple(given["overrides"]),
        given["tracking_uri"],
        given["max_trials"],
        given["address"],
        given["storage"],
        given["time_budget_s"],
        Stopwatch(call.began),
    )
    return train(order, Caller(call, home, given["home_was"])).plan.sweep.name


if __name__ == "__main__":
    main()
