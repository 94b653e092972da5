"""`gansweep train`: train one configuration without a sweep."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gansweep.cli import options
from gansweep.cli.streams import outlive_stdout
from gansweep.cli.text import COLOURS, to_json, verdict_colour
from gansweep.gan.notes import lines
from gansweep.records import disk, outcome
from gansweep.records.layout import RunFolder, SweepFolder
from gansweep.records.writable import check_writable
from gansweep.report.words import counted, duration, number

if TYPE_CHECKING:
    from gansweep.cli.train_view import TrainView
    from gansweep.engine.ending import Ending
    from gansweep.planning.single import SingleJob, Start
    from gansweep.records.outcome import Outcome

SLICE_S = 0.25  # maximum delay until a request to end is noticed
WRONG, CRASHED = 1, 4  # exit codes


@click.command()
@options.file_argument
@options.set_option
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Resume from this .safetensors file of a single run or a trial.",
)
@options.home_option
@options.json_option
def train(file: Path, overrides: tuple[str, ...], checkpoint: Path | None, home_path: Path, as_json: bool) -> int:
    """Train the single configuration of FILE in this process, without a sweep.

    Log, samples, checkpoints and plots are written to a new folder, named by the time, in runs/ of the home folder. Its
    path is printed at the end. Nothing is sent to MLflow.
    """
    from gansweep.planning import single
    from gansweep.planning.plan import check_disk
    from gansweep.sweepfile.document import read
    from gansweep.sweepfile.loader import sweep_of

    outlive_stdout()
    text = read(file)
    sweep = sweep_of(text, str(file), overrides)
    home = options.home_of(home_path)
    check_writable(home)
    plan = single.make_plan(sweep, home)
    check_disk(plan, home)
    start = single.start_from(options.checkpoint_file(checkpoint)) if checkpoint else None
    differing = single.differences(plan, start) if start else []
    job = single.begin(plan, home, start, text, partial(options.command_line, file))
    notices = [f"only seed {sweep.seed} of {sweep.replicates} replicates is trained"] if sweep.replicates > 1 else []
    notices += [f"images {line}" for images in plan.image_sets for line in lines(images.notes)]
    if differing:
        words = ", ".join(f"{key} {number(here)} (was {number(there)})" for key, here, there in differing)
        notices.append(f"settings differ from the checkpoint's: {words}")
    ended, ending = _train(job, start, notices, _again(options.lasting(file, job.folder.source), overrides))
    if as_json:
        click.echo(to_json(_document(job.folder)))
    else:
        click.echo(job.folder.path)
    if ending.signal:
        return 128 + ending.signal
    if ending.failure:
        return WRONG
    return CRASHED if ended.kind == "crashed" else 0


def _train(job: SingleJob, start: Start | None, notices: list[str], again: str) -> tuple[Outcome, Ending]:
    """Train until the run ends, is interrupted or crashes, show its outcome, and draw the plots.

    Args:
        job: The run to train.
        start: Checkpoint to resume from; None to train from the first step.
        notices: Messages to show before training.
        again: Command line that trains the same settings, for the message on how to resume.

    Returns:
        The outcome of the run, and the request to end it, if there was any.
    """
    from gansweep.cli.train_view import TrainView
    from gansweep.engine.ending import Ending

    folder = job.folder
    ending = Ending(SweepFolder(folder.path), None)  # the folder of a run has its `stop` file in the same place
    with ending.catching_signals(), TrainView(folder.log) as view:
        begins = f", from step {start.step:,} of {start.path}" if start else ""
        view.say(f"{counted(job.run.steps, 'step')}{begins}, in {folder.path}")
        for text in notices:
            view.say(text, "yellow")
        ended = _to_the_end(job, start, ending, view)
        folder.stop.unlink(missing_ok=True)
        _say_outcome(folder, ended, view, again)
        if not ending.failure:
            _draw(folder, view)
    return ended, ending


def _to_the_end(job: SingleJob, start: Start | None, ending: Ending, view: TrainView) -> Outcome:
    """Train and return the outcome. An error in training becomes an outcome; one in opening the run is raised."""
    from gansweep.gan.gpu import is_out_of_memory
    from gansweep.planning.single import open_run
    from gansweep.records.outcome import Outcome

    run = open_run(job, start)
    view.training(run)
    try:
        ended = None
        while ended is None:
            view.advanced()
            ended = run.suspend(ending.reason or "") if ending.requested() else run.advance(SLICE_S)
    except Exception as error:
        if sentence := disk.lack(error):
            ending.fail()
            return Outcome("interrupted", run.step, sentence)  # not recorded, since it cannot be written
        rule = outcome.OUT_OF_MEMORY if is_out_of_memory(error) else ""
        ended = outcome.crashed(job.folder, run.step, error, rule)
    finally:
        run.close()
    return ended


def _say_outcome(folder: RunFolder, ended: Outcome, view: TrainView, again: str) -> None:
    view.ended()
    reason = f": {ended.reason}" if ended.kind in ("crashed", "interrupted") else ""
    view.say(
        f"{ended.kind} after {counted(ended.step, 'step')} ({duration(view.elapsed_s())}){reason}", COLOURS[ended.kind]
    )
    for verdict in ended.verdicts:
        view.say(verdict.reason, verdict_colour(verdict.kind))
    if ended.kind == "crashed":
        view.say(f"the traceback is in {folder.traceback}")
    kept = folder.all_checkpoints()
    if ended.kind in ("crashed", "interrupted") and kept:
        view.say(f"resume with: {again} --checkpoint {shlex.quote(str(kept[-1]))}")


def _draw(folder: RunFolder, view: TrainView) -> None:
    """Draw the plots. An error in drawing is reported and does not fail the run."""
    from gansweep.report.plots import draw

    try:
        draw(folder, folder.plots)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        view.say(f"plots could not be drawn ({what})", "yellow")


def _again(file: Path, overrides: tuple[str, ...]) -> str:
    """Return the command for the same settings in the same home."""
    from click.core import ParameterSource

    words = ["gansweep", "train", str(file), *(word for one in overrides for word in ("--set", one))]
    context = click.get_current_context()
    if context.get_parameter_source("home_path") is ParameterSource.COMMANDLINE:
        words += ["--home", str(context.params["home_path"])]
    return shlex.join(words)


def _document(folder: RunFolder) -> dict[str, Any]:
    """Return the description of a run for --json."""
    summary = outcome.summary(folder)
    del summary["run_id"], summary["varied"]  # exist only for trials of sweeps
    samples, checkpoints = folder.all_samples(), folder.all_checkpoints()
    return {
        **summary,
        "verdicts": [v.to_json() for v in ended.verdicts] if (ended := outcome.read(folder)) else [],
        "folder": str(folder.path),
        "samples": str(samples[-1]) if samples else None,
        "checkpoint": str(checkpoints[-1]) if checkpoints else None,
        "plots": sorted(str(path) for path in folder.plots.glob("*.png")),
    }
