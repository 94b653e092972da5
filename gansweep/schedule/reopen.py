"""A trial, opened again outside its sweep: for notebooks and analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.records.layout import Home
from gansweep.schedule.prepare import recorded

if TYPE_CHECKING:
    from gansweep.gan.training import Trainer


def reopen(home: Home, sweep: str, trial_id: str) -> tuple[Trainer, ImageSet]:
    """A trainer as the trial's last checkpoint left it, on the CPU, and its images; the trial's folder stays as it is.

    Raises UserError where the trial has no checkpoint, CheckpointError where it is damaged.
    """
    import torch

    from gansweep.gan import checkpoint
    from gansweep.gan.training import Trainer

    folder = home.sweep(sweep).trial(trial_id)
    checkpoints = folder.all_checkpoints()
    if not checkpoints:
        raise UserError(f"{folder.path}: has no checkpoint")
    planned = recorded(home, sweep, trial_id)
    trainer = Trainer.on(planned.images, planned.training, torch.device("cpu"))
    tensors, meta = checkpoint.load(checkpoints[-1])
    trainer.load_state(tensors, meta["step"], meta["position"])
    return trainer, planned.images
