"""Options and arguments of several commands, and lookup of sweeps and trials by name."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gansweep.errors import UserError
from gansweep.records.layout import Home, SweepFolder, TrialFolder, write_atomically
from gansweep.words import counted, names_like

F = TypeVar("F", bound=Callable[..., Any])


def _store_uri(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    from gansweep.tracking.places import absolute
    from gansweep.tracking.store import take_password

    return absolute(take_password(given)) if given else given


def _uri_option(words: str) -> Callable[[F], F]:
    return click.option(
        "--tracking-uri", callback=_store_uri, envvar="GANSWEEP_TRACKING_URI", show_envvar=True, help=words
    )


home_option = click.option(
    "--home",
    "home_path",
    envvar="GANSWEEP_HOME",
    default="gansweep-home",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Folder of all sweeps, caches and the local tracking store.",
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the file; repeatable."
)
max_trials_option = click.option(
    "--max-trials", default=10_000, show_default=True, type=click.IntRange(1), help="Refuse sweeps with more trials."
)
uri_option = _uri_option("An MLflow server, or sqlite:///FILE.  [default: the home's store]")
recorded_uri_option = _uri_option(
    "An MLflow server, or sqlite:///FILE.  [default: the store that the sweep was last sent to, else the home's]"
)
source_option = click.option(
    "--from",
    "source",
    type=click.Choice(["store", "folder"]),
    default="store",
    show_default=True,
    help="Read the tracking store, or the sweep's folder in the home.",
)
needed_uri_option = _uri_option("MLflow server that receives the records, as http://MLFLOW:5000.  [required]")
server_option = click.option(
    "--tracking-uri",
    callback=_store_uri,
    help="Read this MLflow server instead of the home folder, for remote sweeps.",
)
storage_option = click.option(
    "--storage",
    envvar="GANSWEEP_STORAGE",
    show_envvar=True,
    help="Storage of the sweep's files, if machines do not share the home folder: a shared folder or"
    " s3://BUCKET/PREFIX.",
)
all_plans_option = click.option(
    "--all-plans",
    is_flag=True,
    help="Include trials of earlier plans of the sweep.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
file_argument = click.argument("file", type=click.Path(path_type=Path))


class Duration(click.ParamType[float]):
    """Type of options that take a duration such as 90s, 30m, 2h or 1h30m. The value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", value)
        if not value or not match:
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 2h or 1h30m", param, ctx)
        hours, minutes, seconds = (int(g or 0) for g in match.groups())
        return float(3600 * hours + 60 * minutes + seconds)


time_budget_option = click.option(
    "--time-budget", type=Duration(), help="Stop gracefully after this time: 90s, 30m, 2h."
)


def lasting(file: Path, copy: Path) -> Path:
    """Return a path by which a later command can read the sweep file of this one.

    This is `file`, or `copy`, the copy in the records, if `file` is a pipe or was opened by a shell (/dev/stdin,
    /dev/fd/63) and will no longer exist.
    """
    opened = file.absolute().is_relative_to("/dev") or file.absolute().is_relative_to("/proc")
    return file if file.is_file() and not opened else copy


def command_line(file: Path, copy: Path) -> str:
    """Return this command line in a form to record and repeat: without passwords, and with the path from `lasting`."""
    from gansweep.tracking.store import without_password

    words = [str(lasting(file, copy)) if word == str(file) else word for word in sys.argv[1:]]
    return without_password(shlex.join(["gansweep", *words]))


def home_of(path: Path) -> Home:
    """Return the home folder with an absolute path, since Ray's processes have another working directory."""
    return Home(path.absolute())


def find_sweep(home: Home, name: str) -> SweepFolder:
    """Return a sweep by its name. Raises UserError with similar names if it does not exist."""
    known = {folder.name: folder for folder in home.sweeps()}
    if name in known:
        return known[name]
    raise UserError(f"{home.path}: no sweep named {name!r}; {names_like(name, known)}")


def find_trial(home: Home, reference: str) -> tuple[SweepFolder, TrialFolder]:
    """Return the folders of a sweep and its trial that a reference names.

    `reference`: ID or SWEEP/ID, where the first characters of the id suffice. Raises UserError unless exactly one trial
    matches.
    """
    sweep_name, _, prefix = reference.rpartition("/")
    sweeps = [find_sweep(home, sweep_name)] if sweep_name else home.sweeps()
    found = [(s, t) for s in sweeps for t in s.all_trials() if prefix and t.id.startswith(prefix) and t.trial.exists()]
    if len(found) == 1:
        return found[0]
    if not found:
        near = difflib.get_close_matches(prefix, [t.id for s in sweeps for t in s.all_trials()], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`gansweep status SWEEP` lists their ids"
        raise UserError(f"no trial {reference!r}; {hint}")
    names = ", ".join(f"{s.name}/{t.id}" for s, t in found[:5])
    raise UserError(f"{reference!r} matches {counted(len(found), 'trial')}: {names}")


def report_left_out(earlier: int, all_plans: bool) -> None:
    """Print on stderr the number of trials of earlier plans that a command does not show."""
    if earlier and not all_plans:
        what = "trial of an earlier plan is" if earlier == 1 else "trials of earlier plans are"
        click.echo(f"{earlier:,} {what} not shown; --all-plans shows all", err=True)


def is_folder(reference: str) -> bool:
    """Whether the reference is the path of a folder of a trial or single run."""
    return is_there(Path(reference) / "trial.json")


def is_there(file: Path) -> bool:
    """Whether a path is an existing file. Unlike Path.is_file, it raises no error for an invalid path."""
    try:
        return file.is_file()
    except OSError:  # too long for a path
        return False


def find_folder(home: Home, reference: str) -> tuple[str, TrialFolder]:
    """Find the folder of a trial or single run.

    Args:
        home: The home folder.
        reference: Path of the folder, or a reference to a trial as in `find_trial`.

    Returns:
        Name of the trial or run for messages, and its folder.

    Raises:
        UserError: No trial matches, or several do.
    """
    if is_folder(reference):
        return reference, TrialFolder(Path(reference).absolute())
    sweep, folder = find_trial(home, reference)
    return f"{sweep.name}/{folder.id}", folder


def checkpoint_file(path: Path) -> Path:
    """Return the path. Raises UserError unless it ends in .safetensors, since pickles are never opened."""
    if path.suffix != ".safetensors":
        raise UserError(f"{path}: not a checkpoint of gansweep; name a .safetensors file")
    return path


def check_output(path: Path, endings: Sequence[str]) -> None:
    """Check, before any work is done, that a file can be written and has one of `endings`. Raises UserError if not."""
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: unknown ending; name a file that ends in {' or '.join(endings)}")
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name a file in it")
        if not path.parent.is_dir():
            raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written (Permission denied); name a file elsewhere")


def write_output(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises UserError if it cannot be written."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
