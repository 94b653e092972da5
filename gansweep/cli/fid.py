"""`gansweep fid`: FID, KID and the inception score of trials that have ended."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gansweep.cli import options
from gansweep.cli.settle import answers, settle
from gansweep.cli.text import measured, say, to_json
from gansweep.errors import UserError
from gansweep.gan.network_file import identify
from gansweep.health.fid import LEAST
from gansweep.health.metrics import label
from gansweep.records.layout import Home, SweepFolder, TrialFolder
from gansweep.records.writable import check_writable
from gansweep.report.words import duration
from gansweep.words import counted

if TYPE_CHECKING:
    from gansweep.api.fid import Result
    from gansweep.gan.fid import Progress

FIRST_S, EVERY_S = 5.0, 30.0  # seconds of a phase until its progress is told, and between two messages


def _enough(_: click.Context, __: click.Parameter, samples: int) -> int:
    if samples < LEAST:
        raise click.BadParameter(
            f"must be at least {LEAST:,}, got {samples:,}: with fewer, the covariance of as many features is singular"
        )
    return samples


@click.command()
@click.argument("subject", metavar="TRIAL|SWEEP")
@click.option(
    "--weights", required=True, type=click.Path(path_type=Path),
    help="The Inception network, pt_inception-2015-12-05-6726825d.pth.",
)  # fmt: skip
@click.option(
    "--samples", default=10_000, show_default=True, type=click.IntRange(max=1_000_000), callback=_enough,
    help="Samples to compare with all real images; publications use 10000 or 50000.",
)  # fmt: skip
@options.home_option
@options.recorded_uri_option
@answers
@options.json_option
def fid(
    subject: str,
    weights: Path,
    samples: int,
    home_path: Path,
    tracking_uri: str | None,
    answer: str | None,
    as_json: bool,
) -> None:
    """Measure FID, KID and the inception score of a trial, or of each completed trial of a sweep.

    The results are recorded with the trials and sent to the tracking store. What is known is not measured again, so the
    command can be interrupted and called again. docs/features.md describes the weights.
    """
    from gansweep.api.fid import measure_trial
    from gansweep.api.holding import extending

    home = options.home_of(home_path)
    sweep, trials = _trials(home, subject)
    file = identify(weights)
    check_writable(home)
    uri = _uri(home, sweep, tracking_uri)
    settle(home, sweep, uri, answer, say, ask_store=False)
    found: dict[TrialFolder, Result] = {}
    with extending(sweep, f"gansweep fid {subject}", say) as storage:
        for number, folder in enumerate(trials, 1):
            name = f"{sweep.name}/{folder.id}"
            of = f" ({number} of {len(trials)})" if len(trials) > 1 else ""
            work = measure_trial(home, sweep, folder, file, samples, storage)
            found[folder] = _watched(work, f"{name}{of}")
            if not as_json:
                _print(name, found[folder])
            if why := found[folder].unrecorded:
                say(f"{name}: kept in {folder.fid}, but not among the trial's metrics: {why}")
    if as_json:
        document = {
            "sweep": sweep.name,
            "network": file.name or "Inception",
            "samples": samples,
            "trials": [
                {"id": folder.id, **one.measured.to_json(), "recorded": not one.unrecorded}
                for folder, one in found.items()
            ],
        }
        click.echo(to_json(document))
    _send(home, sweep, uri)


def _trials(home: Home, subject: str) -> tuple[SweepFolder, list[TrialFolder]]:
    """Return the sweep and the trials to measure: the trial that `subject` names, or all completed ones of a sweep."""
    from gansweep.api.fid import completed

    sweep = next((one for one in home.sweeps() if one.name == subject), None)
    if sweep is None:
        sweep, folder = options.find_trial(home, subject)
        return sweep, [folder]
    trials, others = completed(sweep)
    if others:
        say(f"{subject}: without {counted(others, 'trial')} that did not train all steps; name one by its id")
    return sweep, trials


def _watched(work: Generator[Progress, None, Result], name: str) -> Result:
    """Carry out a measurement and return its result. Progress and the remaining time are printed to stderr."""
    what, began, told = "", time.monotonic(), 0.0
    while True:
        try:
            progress = next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        now = time.monotonic()
        if progress.what != what:
            what, began, told = progress.what, now, now + FIRST_S - EVERY_S
        if now >= told + EVERY_S:
            told = now
            say(f"{name}: {what}{_numbers(progress, now - began)}")


def _numbers(progress: Progress, seconds: float) -> str:
    """Return the progress and the remaining time as text; "" while the measurement waits for another process."""
    if not progress.total:
        return ""
    left = seconds / progress.done * (progress.total - progress.done)
    return f": {progress.done:,} of {progress.total:,}, about {duration(left)} left"


def _print(name: str, result: Result) -> None:
    found = result.measured
    click.echo(f"{name} after {counted(found.step, 'step')}")
    names = {metric: label(metric) for metric in found.metrics}
    width = max(map(len, names.values()))
    for metric, value in found.metrics.items():
        click.echo(f"  {names[metric]:<{width}}  {measured(value)}")
    grey = ", all grey and repeated to three channels" if found.channels == 1 else ""
    click.echo(f"  {counted(found.samples, 'sample')} against {counted(found.images, 'image')}{grey}", err=True)


def _uri(home: Home, sweep: SweepFolder, given: str | None) -> str:
    from gansweep.tracking import places, store

    return store.take_password(given or places.recorded(home, sweep) or store.local_uri(home))


def _send(home: Home, sweep: SweepFolder, uri: str) -> None:
    """Send the results to the tracking store. An unusable store is only reported, since the results are recorded."""
    from gansweep.cli.upkeep import send

    try:
        send(home, sweep, uri)
    except UserError as error:
        say(f"{error}; the results are recorded, and `gansweep sync {sweep.name}` sends them")
