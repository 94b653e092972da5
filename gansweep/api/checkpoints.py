"""Choice of a trial's checkpoint, and images drawn from its generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gansweep.errors import CheckpointError, UserError
from gansweep.records import journal
from gansweep.records.layout import SweepFolder, TrialFolder
from gansweep.records.ranking import Quality, Ranking, Value, best_step, ranking_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gansweep.gan.restore import Restored


@dataclass(frozen=True)
class Chosen:
    """Best checkpoint that a trial has kept.

    Args:
        path: Path of the checkpoint.
        kept: Number of checkpoints that the trial has kept.
        ranking: The objective.
        at: Value of the objective at the last evaluation at or before the checkpoint's step; None if there was none.
        reached: Final and best value of the objective in the whole trial.
    """

    path: Path
    kept: int
    ranking: Ranking
    at: Value | None
    reached: Quality


def best_kept(name: str, folder: TrialFolder) -> Chosen:
    """Return the best checkpoint of a trial; the last one if the objective was never measured.

    Args:
        name: Name of the trial in messages.
        folder: Folder of the trial.

    Raises:
        UserError: The trial has no checkpoint.
    """
    paths = _kept(name, folder)
    ranking = ranking_of(SweepFolder(folder.path.parents[1]))
    values = journal.column(folder.journal, ranking.metric)
    best = best_step([(at, ranking.score(value)) for at, value in values], [int(path.stem) for path in paths])
    at = ranking.quality(value for value in values if value[0] <= best).final
    return Chosen(folder.checkpoint(best), len(paths), ranking, at, ranking.quality(values))


def of_step(name: str, folder: TrialFolder, step: int) -> Path:
    """Return the path of a trial's checkpoint at a step. Raises UserError if that checkpoint was not kept."""
    paths = _kept(name, folder)
    if folder.checkpoint(step) not in paths:
        steps = ", ".join(str(int(path.stem)) for path in paths)
        raise UserError(f"{name}: no checkpoint of step {step} is kept; those of {steps} are")
    return folder.checkpoint(step)


def restore(path: Path) -> Restored:
    """Return the generator in a file or a saved folder. Raises UserError if it is missing or damaged."""
    from gansweep.gan.formats.registry import read

    try:
        return read(path)
    except CheckpointError as error:
        raise UserError(str(error)) from None


def classes_to_draw(found: Restored, path: Path, wanted: Sequence[str], option: str) -> list[int]:
    """Return the index of the class that each row of an image grid shows; empty for an unconditional generator.

    Args:
        found: The generator.
        path: Path of the generator's checkpoint, for messages.
        wanted: Names of the classes to draw; empty for all.
        option: Name of the option or parameter that gave `wanted`, for messages.

    Raises:
        UserError: The generator does not have one of the wanted classes.
    """
    if wanted and not found.classes:
        raise UserError(f"{option}: the generator in {path} is not conditional; it knows no classes")
    for name in wanted:
        if name not in found.classes:
            raise UserError(f"{option} {name}: unknown to the generator in {path}; it has {', '.join(found.classes)}")
    return [found.classes.index(name) for name in dict.fromkeys(wanted or found.classes)]


def columns_of(count: int, rows: Sequence[int]) -> int | None:
    """Return the number of columns of an image grid with one row per class.

    Returns None for fewer than two classes, whose grid is nearly square.

    Args:
        count: Number of images in all rows together.
        rows: Class of each row, as returned by `classes_to_draw`.
    """
    return math.ceil(count / len(rows)) if len(rows) > 1 else None


def draw(found: Restored, z: Tensor, rows: Sequence[int]) -> NDArray[np.uint8]:
    """Draw images from a generator.

    Returns pixels from 0 to 255 of shape (N, C, H, W). Without classes there is one image per noise vector. With
    classes there is one image per class and noise vector, ordered by class.

    Args:
        found: The generator.
        z: Noise vectors (n, latent_dim).
        rows: Classes, as returned by `classes_to_draw`.
    """
    import numpy as np
    import torch

    from gansweep.gan.sampling import in_chunks

    if not rows:
        return in_chunks(found.generator, z)
    return np.concatenate([in_chunks(found.generator, z, torch.full((len(z),), row)) for row in rows])


def _kept(name: str, folder: TrialFolder) -> list[Path]:
    paths = folder.all_checkpoints()
    if not paths:
        raise UserError(f"{name}: no checkpoint is recorded so far; see cadence.checkpoints")
    return paths
