"""Generators as programs of torch.export (.pt2), which run without gansweep."""

from __future__ import annotations

import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gansweep.errors import CheckpointError, UserError
from gansweep.gan.formats.called import DESCRIPTION, described, dynamic_batch, exportable, inputs
from gansweep.gan.restore import Restored
from gansweep.records.layout import write_atomically

# Members of an archive that holds a graph and tensors. Others may be pickles or compiled code.
MEMBERS = re.compile(
    r"(data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|models/model\.json|data/sample_inputs/model\.pt|extra/[\w.]+|archive_format|archive_version|byteorder"
    r"|version|\.data/\w+)"
)
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # read by torch.load: no object but tensors is unpickled


def write(found: Restored, path: Path) -> None:
    """Write a generator as a program for batches of any size.

    Raises:
        UserError: torch.export cannot export the generator.
    """
    given, content = inputs(found, 2), io.BytesIO()
    try:
        with _quiet():
            program = torch.export.export(
                exportable(found), (*given.values(),), dynamic_shapes=dynamic_batch(given), strict=False
            )
            torch.export.save(program, content, extra_files={DESCRIPTION: json.dumps(found.meta)})
    except Exception as error:  # of many types, and of the user's network as well
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"{path}: torch.export cannot export the generator ({what}); save it as .safetensors") from None
    write_atomically(path, content.getvalue(), durable=True)


def read(path: Path) -> Restored:
    """Return the generator in the file of a program, which must be trusted like code (see `open_program`).

    Raises:
        CheckpointError: The file cannot be read, is damaged, holds more than a graph and tensors, or was not written
            by `gansweep save`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    # A bound method: a module inside of ours would be switched to eval mode, which programs refuse.
    function, description = open_program(content, path)
    return described(description, function, path)


def open_program(content: bytes, path: Path) -> tuple[Callable[..., Any], str]:
    """Return a program as a function, and the description in its file; empty if the file has none.

    Nothing but tensors is unpickled. PyTorch's loader evaluates expressions in the graph, so a stranger's program is to
    be trusted as little as a stranger's code.

    Args:
        content: Content of the file.
        path: The file, for messages.

    Raises:
        CheckpointError: The file is damaged, or holds more than a graph and tensors.
    """
    extra: dict[str, Any] = {DESCRIPTION: ""}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
        if others := [name for name in names if not MEMBERS.fullmatch(name)]:
            raise CheckpointError(f"{path}: refused, since it holds {others[0]!r} besides a graph and weights")
        with _quiet(), _weights_only():
            program = torch.export.load(io.BytesIO(content), extra_files=extra)
            return program.module().__call__, extra[DESCRIPTION]
    except CheckpointError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise CheckpointError(f"{path}: damaged, or written by another version of torch ({what})") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide all warnings within the block, since those of torch.export concern only its internals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _weights_only() -> Iterator[None]:
    before = os.environ.get(WEIGHTS_ONLY)
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        del os.environ[WEIGHTS_ONLY]
        if before is not None:
            os.environ[WEIGHTS_ONLY] = before
