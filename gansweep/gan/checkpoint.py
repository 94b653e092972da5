"""Checkpoints: one safetensors file with tensors, a JSON header, and a digest over both. Pickle is never used."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gansweep.errors import CheckpointError
from gansweep.records.layout import TrialFolder, write_atomically

FORMAT = 1


def save(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically and durably.

    Args:
        path: The file.
        tensors: Name → tensor.
        meta: Contents of the header, which JSON can represent.
    """
    # safetensors needs contiguous tensors with memory of their own
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    header = json.dumps({"format": FORMAT, **meta}, sort_keys=True)
    metadata = {"gansweep": header, "sha256": _digest(plain, header)}
    write_atomically(path, safetensors.torch.save(plain, metadata), durable=True)


def weights_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether every parameter and running statistic of G and D is finite.

    Args:
        tensors: State of a trainer.
    """
    weights = [t for name, t in tensors.items() if name.startswith(("generator.", "discriminator."))]
    norms = torch._foreach_norm([t for t in weights if t.is_floating_point()])
    return bool(torch.stack(norms).isfinite().all())


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a checkpoint, on the CPU, and its header, as given to `save` with the key `format` added.

    Raises:
        CheckpointError: The file cannot be read, is not a checkpoint, or its content does not match its digest.
    """
    try:
        content = path.read_bytes()
        header_bytes = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + header_bytes])["__metadata__"]
        tensors = safetensors.torch.load(content)
        header = metadata["gansweep"]
        if _digest(tensors, header) != metadata["sha256"]:
            raise CheckpointError(f"{path}: damaged (its checksum does not match)")
        meta: dict[str, Any] = json.loads(header)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except KeyError:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of gansweep") from None
    except Exception as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {error})") from None
    return tensors, meta


def load_latest(folder: TrialFolder) -> tuple[tuple[dict[str, Tensor], dict[str, Any]] | None, list[str]]:
    """Return the newest intact checkpoint of a trial, as returned by `load`, and notices for the user.

    The checkpoint is None if none was ever written. Newer checkpoints that are damaged are renamed to *.damaged, and
    notices name them.

    Raises:
        CheckpointError: All checkpoints are damaged. The user decides whether to train the trial from the start.
    """
    notices: list[str] = []
    for path in reversed(folder.all_checkpoints()):
        try:
            found = load(path)
        except CheckpointError as error:
            path.rename(path.with_suffix(".damaged"))
            notices.append(str(error))
            continue
        if notices:
            notices.append(f"resuming from the previous checkpoint, step {found[1]['step']:,}")
        return found, notices
    if notices or any(folder.checkpoints.glob("*.damaged")):
        raise CheckpointError(
            f"{folder.checkpoints}: no checkpoint is intact; delete {folder.path} to train this trial from the start"
        )
    return None, []


def keep(folder: TrialFolder, newest: int, best: Callable[[Sequence[int]], int], before: float | None = None) -> None:
    """Delete old checkpoints of a trial.

    Args:
        folder: Folder of the trial.
        newest: Number of newest checkpoints to keep, at least 1.
        best: Takes the steps of the checkpoints, ascending, and returns the step of the best checkpoint, which is kept
            too.
        before: Time in seconds since the epoch. Of the checkpoints written before it, the newest is kept too; of the
            others, the oldest is kept too, as it will be the newest one before a later `before`.
    """
    paths = folder.all_checkpoints()
    if len(paths) <= newest:
        return
    kept = {folder.checkpoint(best([int(path.stem) for path in paths]))}
    if before is not None:
        count = sum(path.stat().st_mtime < before for path in paths)
        kept.update(paths[max(0, count - 1) : count + 1])
    for path in paths[:-newest]:
        if path not in kept:
            path.unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.contiguous()
        digest.update(ctypes.string_at(flat.data_ptr(), flat.nbytes))  # without NumPy, which torch does not require
    return digest.hexdigest()
