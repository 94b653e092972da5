"""`gansweep submit`: run a sweep as a job of a Ray cluster."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

import click

from gansweep.cli import options
from gansweep.cli.settle import OPTIONS, answers
from gansweep.cli.text import to_json
from gansweep.errors import UserError

HOME = '"${GANSWEEP_HOME:-$HOME/gansweep-home}"'  # evaluated on the head; Ray deletes the job's folder


@click.command()
@options.file_argument
@options.set_option
@click.option("--address", required=True, help="Dashboard of the head, as http://HEAD:8265.")
@options.needed_uri_option
@options.storage_option
@click.option("--home", help="Home folder on the head.  [default: its GANSWEEP_HOME, or ~/gansweep-home]")
@options.max_trials_option
@options.time_budget_option
@options.json_option
@answers
def submit(
    file: Path,
    overrides: tuple[str, ...],
    address: str,
    tracking_uri: str | None,
    storage: str | None,
    home: str | None,
    max_trials: int,
    time_budget: float | None,
    as_json: bool,
    answer: str | None,
) -> None:
    """Submit the sweep in FILE to a Ray cluster and return.

    It runs as a job on the head, as `gansweep run` does. The job's id is printed. `logs`, `status` and `stop` with
    --tracking-uri follow the sweep from any machine. A sweep that is submitted again resumes.
    """
    from gansweep.engine.submission import submit as hand_over
    from gansweep.planning.codes import modules_of
    from gansweep.sweepfile.document import read
    from gansweep.sweepfile.loader import sweep_of
    from gansweep.sync.storage import check_uri

    text = read(file)
    sweep = sweep_of(text, str(file), overrides, max_trials)
    path = sweep.dataset.path
    if path is not None and not PurePosixPath(path).is_absolute():
        raise UserError(f"{file}: dataset.path: {path} does not exist on the cluster; give an absolute path")
    server = _server(tracking_uri)
    if storage is not None:
        check_uri(storage)
    if home is not None and not PurePosixPath(home).is_absolute():
        raise UserError(f"--home {home}: give an absolute path on the head")
    name = options.lasting(file, Path(f"{sweep.name}.yaml")).name
    words = ["gansweep", "run", f"./{name}", "--address", "auto", "--tracking-uri", server]
    words += [word for one in overrides for word in ("--set", one)]
    words += ["--storage", storage] if storage else []
    words += ["--max-trials", str(max_trials)]
    words += ["--time-budget", f"{time_budget:.0f}s"] if time_budget is not None else []
    words += [OPTIONS[answer]] if answer else []
    entrypoint = f"{shlex.join(words)} --home {shlex.quote(home) if home else HOME}"
    files = {**modules_of(sweep), name: text.encode()}
    job = hand_over(address, sweep.name, home or "", files, entrypoint)
    if as_json:
        click.echo(to_json({"job": job, "sweep": sweep.name, "address": address, "tracking_uri": server}))
    else:
        click.echo(job)
    _tell_what_follows(sweep.name, server, job, address)


def _tell_what_follows(sweep: str, server: str, job: str, address: str) -> None:
    """Print the commands that follow a submitted sweep from this machine."""
    from gansweep.engine.submission import port_of
    from gansweep.tracking import store

    from_here = server
    try:
        store.check(server)
    except UserError:
        from_here = "URI"
        click.echo(
            f"{server} does not answer from here: for URI below give an address by which this machine reaches the same"
            f" server, such as http://127.0.0.1:{port_of(server)} through `ssh -L`",
            err=True,
        )
    click.echo(f"submitted {sweep}; once it has started, follow it with:", err=True)
    for command in ("logs --follow", "status", "stop"):
        click.echo(f"  gansweep {command} {shlex.join([sweep, '--tracking-uri', from_here])}", err=True)
    click.echo(f"if it does not start: {shlex.join(['ray', 'job', 'logs', job, '--address', address])}", err=True)


def _server(uri: str | None) -> str:
    """Return the URI. Raises UserError if it is not that of an MLflow server, which other machines can reach."""
    from gansweep.tracking import store

    if uri is None or not store.is_server(uri):
        given = f" {uri}" if uri else ""
        raise UserError(
            f"--tracking-uri{given}: a detached sweep needs an MLflow server, through which it is followed;"
            " give its http:// or https:// address"
        )
    return uri
