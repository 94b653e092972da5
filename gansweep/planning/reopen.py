"""Access to trials outside their sweep, for notebooks and analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.planning.plan import recorded
from gansweep.records import devices
from gansweep.records.layout import Home

if TYPE_CHECKING:
    from gansweep.gan.training import Trainer


def reopen(home: Home, sweep: str, trial_id: str) -> tuple[Trainer, ImageSet]:
    """Return a trainer restored from the trial's last checkpoint, and the trial's images.

    The trainer is on the type of device that the trial was trained on. The trial's folder is not changed.

    Raises:
        UserError: The trial has no checkpoint, its images no longer exist, or its GPU is missing.
        CheckpointError: The checkpoint is damaged.
    """
    import torch

    from gansweep.gan import checkpoint
    from gansweep.gan.training import Trainer

    folder = home.sweep(sweep).trial(trial_id)
    checkpoints = folder.all_checkpoints()
    if not checkpoints:
        raise UserError(f"{folder.path}: has no checkpoint")
    on = devices.of_checkpoint(checkpoints[-1]) or devices.CPU
    if on == devices.GPU and not torch.cuda.is_available():
        raise UserError(
            f"{checkpoints[-1]}: was written on a GPU, but torch finds none; reopen it on a machine with one"
        )
    planned = recorded(home, sweep, trial_id)
    trainer = Trainer.on(planned.images, planned.training, torch.device(on))
    tensors, meta = checkpoint.load(checkpoints[-1])
    trainer.load_state(tensors, meta["step"], meta["position"])
    return trainer, planned.images
