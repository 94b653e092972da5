"""Export of a generator to a file, or to a folder with a model card, for use elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gansweep.api.card import Provenance, card
from gansweep.api.checkpoints import columns_of, draw, restore
from gansweep.errors import UserError
from gansweep.gan.formats.registry import FORMATS, IN_FOLDER, format_of, listed
from gansweep.health.metrics import is_evaluation
from gansweep.records import journal, outcome
from gansweep.records.layout import SweepFolder, TrialFolder, read_json, write_atomically, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from gansweep.gan.restore import Restored

CARD, CONFIG, METRICS, SAMPLES = "README.md", "config.json", "metrics.json", "samples.png"


def save(checkpoint: Path, output: Path, folder: TrialFolder | None = None) -> None:
    """Write the generator of a checkpoint to a file in the format of its ending, or to a folder with a model card.

    Args:
        checkpoint: Path of a checkpoint, or of another file or saved folder of a generator.
        output: Path to write. Without an ending it is a folder, which must be new, empty, or one that was saved before.
        folder: Folder of the trial, whose settings, verdicts and metrics the card states; None if there is none.

    Raises:
        UserError: The checkpoint cannot be read or holds a program without weights, the ending is unknown, the format
            cannot hold the generator, or the path cannot be written.
    """
    check_target(output)
    found = restore(checkpoint)
    if not found.generator.state_dict():
        raise UserError(f"{checkpoint}: is a program without separate weights; name a trial, a checkpoint or a folder")
    try:
        if output.suffix:
            format_of(output).write(found, output)
        else:
            write_folder(found, output, _provenance(found, folder))
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); name another place") from None


def check_target(output: Path) -> None:
    """Check, before any work is done, that a generator can be saved at a path. Raises UserError if it cannot."""
    if output.suffix and output.suffix.lower() not in FORMATS:
        raise UserError(f"{output}: unknown ending; name a {listed()} file, or a folder (without an ending)")
    try:
        if output.suffix and output.is_dir():
            raise UserError(f"{output}: is a folder; name a file in it")
        if not output.suffix and output.exists() and not output.is_dir():
            raise UserError(f"{output}: is a file; name a folder, or a {listed()} file")
        if not output.suffix and output.is_dir() and any(output.iterdir()) and not (output / IN_FOLDER).exists():
            raise UserError(f"{output}: the folder holds other files; name a new or an empty one")
        if not output.parent.is_dir():
            raise UserError(f"{output}: the folder {output.parent} does not exist; create it first")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); name another place") from None


def write_folder(
    found: Restored, folder: Path, provenance: Provenance, more: Mapping[str, Tensor] = MappingProxyType({})
) -> None:
    """Write a generator to a folder with a model card.

    Args:
        found: The generator.
        folder: Folder to write. It is created if it does not exist.
        provenance: Records about the generator, for the card.
        more: Name → further tensor to write to the file of weights, such as those of D.
    """
    from gansweep.gan import checkpoint

    folder.mkdir(exist_ok=True)
    found.code.copy_to(SweepFolder(folder).code)
    state = {f"generator.{name}": tensor for name, tensor in found.generator.state_dict().items()}
    checkpoint.save(folder / IN_FOLDER, {**state, **more}, found.meta)
    write_json(folder / CONFIG, {"library": "gansweep", **found.meta})
    write_json(folder / METRICS, {name: finite(value) for name, value in provenance.metrics.items()})
    write_atomically(folder / SAMPLES, _grid(found))
    write_atomically(folder / CARD, card(folder.name, found, provenance).encode())


def _grid(found: Restored) -> bytes:
    from gansweep.gan.data import FIXED_NOISE, grid_side, grid_size
    from gansweep.gan.sampling import grid_png, noise, reduced

    rows = list(range(len(found.classes)))
    columns = columns_of(grid_size(len(rows)), rows)
    images = draw(found, noise(found.latent_dim, columns or FIXED_NOISE, 0), rows)
    return grid_png(reduced(images, grid_side(images.shape[2], len(rows))), columns)


def _provenance(found: Restored, folder: TrialFolder | None) -> Provenance:
    """Return the records about a generator: settings and verdicts of its trial, and metrics up to its step."""
    document = read_json(folder.trial) if folder else {}
    if folder is None or not document:
        return Provenance()
    ended = outcome.read(folder)
    records = [record for record in journal.read(folder.journal) if record.step <= found.step]
    evaluated = [record.step for record in records if any(map(is_evaluation, record.values))]
    last = [record for record in records if evaluated and record.step == evaluated[-1]]
    return Provenance(
        document=document,
        verdicts=ended.verdicts if ended else (),
        metrics={k: v for record in last for k, v in record.values.items() if is_evaluation(k)},
        measured_at=evaluated[-1] if evaluated else None,
    )


def finite(value: float) -> float | None:
    """Return a number unchanged; None for NaN and infinities, which JSON does not have."""
    return value if math.isfinite(value) else None
