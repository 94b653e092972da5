"""Access to trials outside their sweep, for notebooks and analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.planning.plan import recorded
from gansweep.records.layout import Home

if TYPE_CHECKING:
    from gansweep.gan.training import Trainer


def reopen(home: Home, sweep: str, trial_id: str) -> tuple[Trainer, ImageSet]:
    """Return a trainer on the CPU, restored from the trial's last checkpoint, and the trial's images.

    The trial's folder is not changed.

    Raises:
        UserError: The trial has no checkpoint, or its images no longer exist.
        CheckpointError: The checkpoint is damaged.
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
