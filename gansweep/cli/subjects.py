"""The argument by which commands name a generator: a trial, the folder of a run, or a file."""

from __future__ import annotations

from pathlib import Path

import click

from gansweep.api.checkpoints import Chosen, best_kept, of_step
from gansweep.cli import options
from gansweep.cli.text import at_step, measured
from gansweep.errors import UserError
from gansweep.gan.formats.registry import FORMATS, IN_FOLDER, listed
from gansweep.records.layout import Home, TrialFolder
from gansweep.words import counted

SUBJECT = "TRIAL|FOLDER|FILE"


def generator_file(subject: str, home: Home) -> Path | None:
    """Return the path of a generator's file, or of a saved or imported folder.

    Returns None for a trial or the folder of a run, which may have several checkpoints.

    Args:
        subject: Argument of the command: a path, the name of imported weights, or a trial.
        home: The home folder.

    Raises:
        UserError: The file does not have the ending of a generator's file. Pickles are never opened.
    """
    path = Path(subject)
    if options.is_folder(subject):
        return None
    for folder in (path, home.runs / subject):
        if options.is_there(folder / IN_FOLDER):
            return folder
    if not path.suffix:
        return None
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: not a checkpoint of gansweep; name a {listed()} file")
    return path


def find_checkpoint(subject: str, home: Home, step: int | None) -> tuple[Path, str, TrialFolder | None]:
    """Find the generator that a command names.

    Args:
        subject: Argument of the command.
        home: The home folder.
        step: Step of a trial's checkpoint; None for the best kept checkpoint.

    Returns:
        The path of the checkpoint or other file, a description for messages, and the folder of the trial or run (None
        if `subject` is a file or a saved folder).

    Raises:
        UserError: No trial or checkpoint matches, or several trials do.
        click.UsageError: `step` is given for a file.
    """
    if path := generator_file(subject, home):
        if step is not None:
            raise click.UsageError(f"--step: selects a checkpoint of a trial, but {path} is a file; omit the option")
        return path, subject, None
    name, folder = options.find_folder(home, subject)
    if step is not None:
        return of_step(name, folder, step), name, folder
    chosen = best_kept(name, folder)
    return chosen.path, ", ".join([name, *_why(chosen)]), folder


def _why(chosen: Chosen) -> list[str]:
    """Return phrases that give the objective at a checkpoint, and the trial's best and final value if they differ."""
    at, reached, metric = chosen.at, chosen.reached, chosen.ranking.metric
    if at is None or reached.final is None:
        return [f"the last of {counted(chosen.kept, 'checkpoint')} kept"]
    words = [f"best of {counted(chosen.kept, 'checkpoint')} kept", at_step(metric, at.value, at.step)]
    if reached.best and reached.best != at:
        words.append(f"its best, {measured(reached.best.value)} at step {reached.best.step:,}, was not kept")
    if reached.final != at:
        words.append(f"it is ranked by {measured(reached.final.value)} at step {reached.final.step:,}")
    return words
