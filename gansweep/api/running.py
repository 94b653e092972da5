"""Trains a sweep for a Python caller, in a process of its own.

Ray, its environment variables, its signal handlers and its worker processes stay out of the caller's process. So a
script needs no `if __name__ == "__main__"`, and a notebook can train one sweep after another.
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
MAPPING = "sweep"  # what messages call a sweep that was given as a mapping


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
    """Train what is missing of a sweep, as `gansweep run` does.

    An interrupt (Ctrl-C, or a notebook's stop button) ends the sweep in good order before KeyboardInterrupt is raised;
    a second one ends it at once. Run the same call again to continue.

    Args:
        sweep: path of a sweep file, or its content as a mapping.
        home: folder of all sweeps; GANSWEEP_HOME by default, else ./gansweep-home.
        overrides: dotted key → value, in the place of what the file has.
        tracking_uri: an MLflow server, or sqlite:///FILE; the home's own store by default.
        max_trials: larger sweeps are refused.
        address: HOST:PORT of a Ray cluster to join.
        storage: URI of the place of the sweep's files, where machines do not share the home.
        time_budget_s: seconds after which the sweep ends in good order.
        home_was: what became of a home that lies elsewhere than before, where gansweep cannot tell.
        progress: whether to print on stderr how the sweep goes.

    Returns:
        The sweep, finished or not: see its `trials["outcome"]`.

    Raises:
        UserError: the file, the data, the machine or a store stand in the way.
        KeyboardInterrupt: the sweep was interrupted.
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
    """Return the answer of a driver; an empty one where it died without."""
    # A notebook's backend of matplotlib is no other process's.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    with subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # an interrupt reaches it once: from here
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
    """Print what a driver says until it has ended. Return whether it was interrupted; it is handed every interrupt."""
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
    """Return the name of the sweep in an answer. Raises UserError, or RuntimeError for a bug of gansweep's."""
    if "problems" in answer:
        raise SweepFileError([_without_place(one) for one in answer["problems"]])
    if "error" in answer:
        raise UserError(_without_place(answer["error"]))
    if "bug" in answer:
        raise RuntimeError(f"our bug; the process of the sweep failed:\n{answer['bug']}")
    if "sweep" not in answer:
        raise UserError("the process of the sweep was killed; call run_sweep again to continue")
    return str(answer["sweep"])


def _without_place(problem: str) -> str:
    """Return a problem without line and column where the sweep was given as a mapping, which has none."""
    return re.sub(rf"^{MAPPING}:\d+:\d+: ", "", problem)


def _yaml(sweep: Mapping[str, Any]) -> str:
    """Return a sweep as the text of a sweep file."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML().dump(json.loads(json.dumps(sweep, default=_plain)), text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Return a path as text, a NumPy number as a number, and another mapping or sequence as a plain one."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise UserError(f"{MAPPING}: {value!r} cannot be written in a sweep file; give numbers, text, lists and mappings")
