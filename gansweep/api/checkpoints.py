"""The checkpoints of a trial: which one to draw from, and what its generator makes."""

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
    """The best checkpoint of those that a trial has kept.

    Args:
        kept: number of checkpoints.
        ranking: the objective.
        at: its value at the checkpoint: at the last evaluation before; None where there was none.
        reached: what the trial reached in all.
    """

    path: Path
    kept: int
    ranking: Ranking
    at: Value | None
    reached: Quality


def best_kept(name: str, folder: TrialFolder) -> Chosen:
    """Return the best checkpoint of a trial; the last one where the objective was never measured.

    Args:
        name: of the trial, in messages.

    Raises:
        UserError: there is no checkpoint.
    """
    paths = _kept(name, folder)
    ranking = ranking_of(SweepFolder(folder.path.parents[1]))
    values = journal.column(folder.journal, ranking.metric)
    best = best_step([(at, ranking.score(value)) for at, value in values], [int(path.stem) for path in paths])
    at = ranking.quality(value for value in values if value[0] <= best).final
    return Chosen(folder.checkpoint(best), len(paths), ranking, at, ranking.quality(values))


def of_step(name: str, folder: TrialFolder, step: int) -> Path:
    """Return the checkpoint of a step. Raises UserError where it was not kept."""
    paths = _kept(name, folder)
    if folder.checkpoint(step) not in paths:
        steps = ", ".join(str(int(path.stem)) for path in paths)
        raise UserError(f"{name}: no checkpoint of step {step} is kept; those of {steps} are")
    return folder.checkpoint(step)


def restore(path: Path) -> Restored:
    """Return the generator in a checkpoint file. Raises UserError where there is none that can be trusted."""
    from gansweep.gan.restore import generator_of

    try:
        return generator_of(path)
    except CheckpointError as error:
        raise UserError(str(error)) from None


def classes_to_draw(found: Restored, path: Path, wanted: Sequence[str], option: str) -> list[int]:
    """Return the class of each row of a grid; none for a generator that knows no classes.

    Args:
        path: of its checkpoint.
        wanted: names of classes; all where it is empty.
        option: by which they were named, in messages.

    Raises:
        UserError: the generator does not know a class.
    """
    if wanted and not found.classes:
        raise UserError(f"{option}: the generator in {path} is not conditional; it knows no classes")
    for name in wanted:
        if name not in found.classes:
            raise UserError(f"{option} {name}: unknown to the generator in {path}; it has {', '.join(found.classes)}")
    return [found.classes.index(name) for name in dict.fromkeys(wanted or found.classes)]


def columns_of(count: int, rows: Sequence[int]) -> int | None:
    """Return the columns of a grid with a row a class; None for a near-square one, of one class or without any."""
    return math.ceil(count / len(rows)) if len(rows) > 1 else None


def draw(found: Restored, z: Tensor, rows: Sequence[int]) -> NDArray[np.uint8]:
    """Return images (N, C, H, W): one for each noise vector, or one for each class and noise vector, by class.

    Args:
        z: (n, latent_dim).
        rows: classes, as `classes_to_draw` returns them.
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
