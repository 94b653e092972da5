"""FID, KID and the inception score of trials that have ended."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.errors import TakenOverError, UserError
from gansweep.gan.network_file import NetworkFile
from gansweep.records import fid, journal, outcome
from gansweep.records.fid import Measured
from gansweep.records.layout import Home, SweepFolder, TrialFolder, read_json
from gansweep.records.lock import Locked

if TYPE_CHECKING:
    from gansweep.gan.fid import Progress
    from gansweep.sync.storage import Storage


@dataclass(frozen=True)
class Result:
    """Result of measuring one trial.

    Attributes:
        measured: The entry in the trial's fid.json.
        unrecorded: Why the measured metrics are in fid.json only; empty if the trial's journal has them as well.
    """

    measured: Measured
    unrecorded: str


def completed(sweep: SweepFolder) -> tuple[list[TrialFolder], int]:
    """Return the planned trials of a sweep that have trained all their steps, and the number of the other ones.

    Raises:
        UserError: No trial has trained all its steps.
    """
    planned = sweep.planned()
    found = [one for one in planned if outcome.state(one, read_json(one.trial)["steps"]) == "completed"]
    if not found:
        raise UserError(f"{sweep.name}: no trial has trained all its steps; name a trial that was stopped by its id")
    return found, len(planned) - len(found)


def measure_trial(
    home: Home, sweep: SweepFolder, folder: TrialFolder, file: NetworkFile, samples: int, storage: Storage | None = None
) -> Generator[Progress, None, Result]:
    """Measure FID, KID and the inception score of a trial's last checkpoint, and record the result.

    If fid.json already has an entry for this checkpoint, network and number of samples, nothing is measured again. This
    is a Python generator: it yields its progress after each batch and returns the result. A caller may close it early;
    then nothing is recorded.

    Args:
        home: The home folder.
        sweep: Folder of the sweep.
        folder: Folder of the trial.
        file: File of the Inception network.
        samples: Number of samples.
        storage: Storage of the sweep, on which the caller holds the lease; None if the sweep is in no storage.

    Raises:
        UserError: The trial has not ended or has no checkpoint, its images are too few, missing or changed, the
            network cannot be used, or another process claimed the trial in the storage.
    """
    name = f"{sweep.name}/{folder.id}"
    if outcome.state(folder, read_json(folder.trial)["steps"]) in ("running", "pending"):
        raise UserError(f"{name}: has not ended; measure it when it has")
    checkpoints = folder.all_checkpoints()
    if not checkpoints:
        raise UserError(f"{name}: has no checkpoint")
    step = int(checkpoints[-1].stem)
    with _copied(storage, sweep, folder):
        measured = fid.known(folder, step, samples, file.sha256)
        if measured is None:
            measured = yield from _measured(home, sweep, folder, file, samples)
            fid.add(folder, measured)
        return Result(measured, _record(folder, measured))


@contextmanager
def _copied(storage: Storage | None, sweep: SweepFolder, folder: TrialFolder) -> Iterator[None]:
    """Claim a trial in the storage before the block, and upload the changes of the trial's folder after it.

    Does nothing without a storage. Raises UserError if another process has claimed the trial meanwhile.
    """
    if storage is None:
        yield
        return
    from gansweep.sync.copies import Pushed, trial_prefix
    from gansweep.sync.storage import with_retries

    pushed = Pushed(storage, trial_prefix(sweep.name, folder.id), folder)
    with_retries(pushed.claim)
    yield
    try:
        with_retries(pushed.push)
    except TakenOverError as error:
        raise UserError(f"{sweep.name}/{error}; call the command again when that has ended") from None


def _measured(
    home: Home, sweep: SweepFolder, folder: TrialFolder, file: NetworkFile, samples: int
) -> Generator[Progress, None, Measured]:
    import torch
    from torch import Tensor

    from gansweep.api.checkpoints import restore
    from gansweep.gan.fid import Samples, measure
    from gansweep.gan.sampling import sample_on_device
    from gansweep.planning.plan import recorded

    planned = recorded(home, sweep.name, folder.id)
    images = planned.images
    if images.fingerprint != (trained_on := read_json(folder.trial)["data"]["fingerprint"]):
        raise UserError(
            f"{sweep.name}/{folder.id}: was trained on images of the fingerprint {trained_on}, and the data set now has"
            f" {images.fingerprint}; restore the images"
        )
    found = restore(folder.all_checkpoints()[-1])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = found.generator.to(device)

    def generate(z: Tensor, labels: Tensor | None) -> Tensor:
        on_device = z.to(device), None if labels is None else labels.to(device)
        return sample_on_device(network, *on_device, images.image_size)

    drawn = Samples(generate, found.latent_dim, bool(found.classes), samples, planned.training.seed)
    distances = yield from measure(file, images, drawn, device)
    return Measured(found.step, samples, file.sha256, images.images, images.channels, distances.record())


def _record(folder: TrialFolder, measured: Measured) -> str:
    """Add metrics to the journal of a trial. Return why the journal does not have them; "" if it has them."""
    try:
        if not fid.add_to_journal(folder, measured):
            return f"they end at another step than its last checkpoint, {measured.step:,}"
    except Locked:
        return "it is being trained"
    recorded = journal.latest(folder.journal)
    if recorded is None or any(recorded.values[name] != value for name, value in measured.metrics.items()):
        return "they hold what was measured first, of another number of samples"
    return ""
