"""Training of a sweep for a Python caller, in a separate process.

The caller's process has no part of Ray: no environment variables, signal handlers or worker processes. A script
therefore needs no `if __name__ == "__main__"`, and a notebook can train one sweep after another.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from gansweep.api.results import SweepResult, open_sweep
from gansweep.errors import SweepFileError, UserError
from gansweep.records.layout import home_at
from gansweep.sweepfile.document import read
from gansweep.tracking.places import absolute
from gansweep.tracking.store import take_password

COMMAND = [sys.executable, "-P", "-m", "gansweep.cli.driver"]  # -P: the working directory is not searched for modules
MAPPING = "sweep"  # name in messages of a sweep given as a mapping


def run_sweep(
    sweep: str | os.PathLike[str] | Mapping[str, Any],
    *,
    home: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    tracking_uri: str | None = None,
    max_trials: int = 10_000,
    address: str | None = None,
    storage: str | None = None,
    time_budget_s: float | None = None,
    home_was: Literal["moved", "copied"] | None = None,
    progress: bool = True,
) -> SweepResult:
    """Train the unfinished trials of a sweep, as `gansweep run` does.

    An interrupt (Ctrl-C, or a notebook's stop button) stops the sweep gracefully, and KeyboardInterrupt is then raised.
    A second interrupt ends the sweep at once. Call the function again to resume.

    Args:
        sweep: Path of a sweep file, or its content as a mapping.
        home: Folder of all sweeps. Defaults to GANSWEEP_HOME, else ./gansweep-home.
        overrides: Dotted key → value that replaces the value of this key in the sweep file.
        tracking_uri: URI of the tracking store: an MLflow server, or sqlite:///FILE. Defaults to
            GANSWEEP_TRACKING_URI, else the home's own store.
        max_trials: Maximum number of trials; larger sweeps are refused.
        address: HOST:PORT of a Ray cluster to join.
        storage: URI of the storage of the sweep's files, if machines do not share the home. Defaults to
            GANSWEEP_STORAGE, else none.
        time_budget_s: Seconds after which the sweep is stopped gracefully.
        home_was: Whether a home at a new path was moved or copied, if gansweep cannot tell.
        progress: Whether to print progress on stderr.

    Returns:
        The recorded sweep. Some of its trials may be unfinished: see its `trials["outcome"]`.

    Raises:
        UserError: The sweep file or the data are invalid, or the machine or a store cannot be used.
        KeyboardInterrupt: The sweep was interrupted.
    """
    place = home_at(home)
    uri = tracking_uri or os.environ.get("GANSWEEP_TRACKING_URI")
    file = "" if isinstance(sweep, Mapping) else os.fspath(sweep)
    order = {
        "text": _yaml(sweep) if isinstance(sweep, Mapping) else read(Path(sweep)),
        "name": file or MAPPING,
        "file": file,
        "home": str(place.path),
        "overrides": [f"{key}={json.dumps(value, default=_plain)}" for key, value in (overrides or {}).items()],
        "tracking_uri": absolute(take_password(uri)) if uri else None,
        "max_trials": max_trials,
        "address": address,
        "storage": storage or os.environ.get("GANSWEEP_STORAGE"),
        "time_budget_s": time_budget_s,
        "home_was": home_was,
    }
    name = _name_in(_drive(order, progress=progress))
    return open_sweep(name, home=place.path)


def _drive(order: Mapping[str, Any], *, progress: bool) -> dict[str, Any]:
    """Train a sweep in a new driver process, and return the answer of the driver; empty if it died without one.

    Raises KeyboardInterrupt, after the driver has ended, if it was interrupted.
    """
    # A notebook's backend of matplotlib does not work in other processes.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    with subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # so that it receives an interrupt only once, from this process
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        with suppress(BrokenPipeError):  # it died at once
            driver.stdin.write(json.dumps(order) + "\n")
            driver.stdin.flush()
        interrupted = _relay(driver, progress=progress)
        answer = driver.stdout.read()
        with suppress(BrokenPipeError):
            driver.stdin.close()
    if interrupted:
        raise KeyboardInterrupt
    found: dict[str, Any] = json.loads(answer or "{}")
    return found


def _relay(driver: subprocess.Popen[str], *, progress: bool) -> bool:
    """Print the output of a driver until it ends, and pass interrupts on to it. Return whether it was interrupted."""
    assert driver.stderr is not None
    interrupted = False
    while True:
        try:
            for line in driver.stderr:
                if progress:
                    print(line, end="", file=sys.stderr, flush=True)
            return interrupted
        except KeyboardInterrupt:
            interrupted = True
            driver.send_signal(signal.SIGINT)


def _name_in(answer: Mapping[str, Any]) -> str:
    """Return the name of the sweep in a driver's answer.

    Raises:
        UserError: The answer contains an error or problems of the sweep file, or is empty.
        RuntimeError: The answer contains a bug of gansweep.
    """
    if "problems" in answer:
        raise SweepFileError([_without_place(one) for one in answer["problems"]])
    if "error" in answer:
        raise UserError(_without_place(answer["error"]))
    if "bug" in answer:
        raise RuntimeError(f"internal error in the process of the sweep:\n{answer['bug']}")
    if "sweep" not in answer:
        raise UserError("the process of the sweep was killed; call run_sweep again to continue")
    return str(answer["sweep"])


def _without_place(problem: str) -> str:
    """Remove line and column from the text of a problem, since they mean nothing for a mapping."""
    return re.sub(rf"^{MAPPING}:\d+:\d+: ", "", problem)


def _yaml(sweep: Mapping[str, Any]) -> str:
    """Convert the content of a sweep given as a mapping to the text of a sweep file."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML().dump(json.loads(json.dumps(sweep, default=_plain)), text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Convert a value that `json` cannot write: a path to str, NumPy values to numbers or lists, a mapping to dict.

    Raises UserError for any other value.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise UserError(f"{MAPPING}: {value!r} cannot be written in a sweep file; give numbers, text, lists and mappings")
