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


def reopen(home: Home, sweep: str, trial_id: str, step: int | None = None) -> tuple[Trainer, ImageSet]:
    """Return a trainer restored from the trial's checkpoint at a step, by default the last, and the trial's images.

    The trainer is on the type of device that the trial was trained on. The trial's folder is not changed.

    Raises:
        UserError: The trial has no such checkpoint, its images no longer exist, or its GPU is missing.
        CheckpointError: The checkpoint is damaged.
    """
    import torch

    from gansweep.gan import checkpoint
    from gansweep.gan.training import Trainer

    folder = home.sweep(sweep).trial(trial_id)
    checkpoints = {int(path.stem): path for path in folder.all_checkpoints()}
    if not checkpoints:
        raise UserError(f"{folder.path}: has no checkpoint")
    chosen = checkpoints.get(max(checkpoints) if step is None else step)
    if chosen is None:
        known = ", ".join(map(str, checkpoints))
        raise UserError(f"{folder.path}: has no checkpoint at step {step}; there are checkpoints at {known}")
    on = devices.of_checkpoint(chosen) or devices.CPU
    if on == devices.GPU and not torch.cuda.is_available():
        raise UserError(f"{chosen}: was written on a GPU, but torch finds none; reopen it on a machine with one")
    planned = recorded(home, sweep, trial_id)
    trainer = Trainer.on(planned.images, planned.training, torch.device(on))
    tensors, meta = checkpoint.load(chosen)
    trainer.load_state(tensors, meta["step"], meta["position"])
    return trainer, planned.images
