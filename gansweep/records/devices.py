"""Devices that a trial was trained on: the CPU, or GPUs.

The state of a random stream cannot be transferred between the CPU and a GPU, so a trial continues on the type of device
that it began on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gansweep.errors import UserError
from gansweep.health.metrics import GPU_MEMORY
from gansweep.records import journal
from gansweep.records.layout import TrialFolder, read_json, write_json

CPU, GPU = "cpu", "cuda"  # types of devices, as torch names them
NAMES = {CPU: "the CPU", GPU: "a GPU"}
LABELS = {CPU: "CPU", GPU: "GPU"}
MOST_NAMED = 3  # trials in one message
STATE_BYTES = {5_056: CPU, 16: GPU}  # size of a random stream's state


@dataclass(frozen=True)
class Device:
    """A device, and the versions of software on which the numbers of a training depend.

    Attributes:
        type: CPU or GPU.
        name: Name of the card; "" for the CPU.
        driver: Version of the GPU's driver; "" for the CPU, or if it is unknown.
        torch: Version of torch.
        tf32: Kinds of operations that round float32 to TF32.
    """

    type: str
    name: str = ""
    driver: str = ""
    torch: str = ""
    tf32: Sequence[str] = ()


def record(folder: TrialFolder, device: Device) -> None:
    """Record the device on which a trial is about to be trained, unless it equals the device recorded last.

    Raises:
        UserError: The trial began on another type of device.
    """
    began = began_on(folder)
    if began not in ("", device.type):
        raise refusal([folder], began, device.type)
    earlier = read(folder) if _has_begun(folder) else []
    if device not in earlier[-1:]:
        document = {"devices": [asdict(one) for one in (*earlier, device)]}
        write_json(folder.devices, document, durable=True)


def refusal(folders: Sequence[TrialFolder], began: str, now: str) -> UserError:
    """Return the error for trials that would continue on another type of device than they began on.

    Args:
        folders: Folders of the trials, all of one sweep.
        began: Type of device that they began on.
        now: Type of device that they would be trained on.
    """
    (first, *others), names = folders, ", ".join(folder.id for folder in folders[:MOST_NAMED])
    more = f" and {len(folders) - MOST_NAMED:,} more" if len(folders) > MOST_NAMED else ""
    it, path = ("them", f"their folders in {first.path.parent}") if others else ("it", str(first.path))
    where = " on a machine with a GPU" if began == GPU else ""
    return UserError(
        f"trial{'s' if others else ''} {names}{more}: began on {NAMES[began]}, but would continue on {NAMES[now]},"
        f" whose numbers differ; continue {it} with --set resources.gpus=auto{where}, or delete {path} to train {it}"
        " again from the start"
    )


def read(folder: TrialFolder) -> list[Device]:
    """Return the recorded devices of a trial, first one first; [] if there are none, as in trials of version 0.1.0.

    Raises:
        UserError: The file is damaged.
    """
    document = read_json(folder.devices)
    try:
        return [Device(**{**one, "tf32": tuple(one["tf32"])}) for one in document.get("devices", [])]
    except (TypeError, LookupError):
        raise UserError(f"{folder.devices}: damaged; delete it, since checkpoints name the type of device") from None


def began_on(folder: TrialFolder) -> str:
    """Return the type of device that a trial began on; "" if the trial has not begun, or the type is unknown."""
    return _first_type(folder, read(folder)) if _has_begun(folder) else ""


def _first_type(folder: TrialFolder, recorded: Sequence[Device]) -> str:
    """Return the type of the first device of a trial that has begun; "" if it is unknown."""
    if recorded:
        return recorded[0].type
    return next(filter(None, map(of_checkpoint, reversed(folder.all_checkpoints()))), "")


def label(folder: TrialFolder) -> str:
    """Return the devices of a trial as text for users.

    Returns:
        `CPU`, the name of a card, or `GPU` for an unknown card; several are joined by " + ". "" if the trial has not
        begun.
    """
    if not _has_begun(folder):
        return ""
    recorded = read(folder)
    if recorded:
        return " + ".join(dict.fromkeys(one.name or LABELS.get(one.type, one.type) for one in recorded))
    return LABELS[_first_type(folder, ()) or (GPU if journal.column(folder.journal, GPU_MEMORY) else CPU)]


def of_checkpoint(path: Path) -> str:
    """Return the type of device on which a checkpoint was written; "" if it cannot be read from the file.

    Only the header of the file is read. If it does not name the type, as in version 0.1.0, the type follows from the
    size of a random stream's state.
    """
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError), path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(size, path.stat().st_size)))
        named = json.loads(header["__metadata__"]["gansweep"]).get("device")
        found = named or STATE_BYTES[header["noise_rng"]["shape"][0]]
        return found if found in NAMES else ""
    return ""


def _has_begun(folder: TrialFolder) -> bool:
    """Whether the trial has records that would be continued."""
    # The journal first: to list checkpoints takes longer, which tells in plans of thousands of trials.
    return folder.has_records or bool(folder.all_checkpoints())
