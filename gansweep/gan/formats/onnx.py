"""Generators as ONNX graphs, which run in onnxruntime and in browsers. Needs the extra `onnx`."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gansweep.errors import CheckpointError, UserError
from gansweep.gan.formats.called import DESCRIPTION, described, dynamic_batch, exportable, inputs
from gansweep.gan.restore import Restored
from gansweep.records.layout import write_atomically

WRITES, READS = ("onnx", "onnxscript", "onnxruntime"), ("onnxruntime",)  # packages
TOLERANCE = 1e-4  # between images of onnxruntime and of torch, in [-1, 1]
CHECKED = (1, 5)  # sizes of the batches that are compared


def write(found: Restored, path: Path) -> None:
    """Write a generator as a graph for batches of any size. Its images are compared with torch's before.

    Raises:
        UserError: The extra `onnx` is not installed, the generator cannot be exported, or the images of the graph
            differ from torch's by more than TOLERANCE.
    """
    _check_installed(path, WRITES)
    network, given = exportable(found), inputs(found, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                network, (*given.values(),), dynamo=True, verbose=False, output_names=["images"],
                input_names=[*given], dynamic_shapes=dynamic_batch(given),
            )  # fmt: skip
            program.model.metadata_props[DESCRIPTION] = json.dumps(found.meta)
            content = program.model_proto.SerializeToString()
    except Exception as error:  # of many types, and of the user's network as well
        what = " ".join(str(error.__cause__ or error).split()).partition(". ")[0]
        raise UserError(
            f"{path}: the generator cannot be exported to ONNX ({type(error).__name__}: {what[:200]});"
            " save it as .pt2 or .safetensors"
        ) from None
    _compare(network, _session(content), found, path)
    write_atomically(path, content, durable=True)


def read(path: Path) -> Restored:
    """Return the generator in the file of a graph. Its images are computed by onnxruntime.

    Raises:
        UserError: onnxruntime is not installed.
        CheckpointError: The file cannot be read, is damaged, or was not written by `gansweep save`.
    """
    _check_installed(path, READS)
    try:
        session = _session(path.read_bytes())
        text = session.get_modelmeta().custom_metadata_map.get(DESCRIPTION)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise CheckpointError(f"{path}: damaged ({what})") from None
    return described(text, _function(session), path)


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _function(session: Any) -> Callable[..., Tensor]:
    names = [one.name for one in session.get_inputs()]

    def generate(*given: Tensor) -> Tensor:
        (images,) = session.run(None, {name: x.cpu().numpy() for name, x in zip(names, given, strict=True)})
        return torch.from_numpy(images)

    return generate


def _compare(network: torch.nn.Module, session: Any, found: Restored, path: Path) -> None:
    """Raise UserError if the images of a session differ from those of torch by more than TOLERANCE."""
    function = _function(session)
    for count in CHECKED:
        given = inputs(found, count).values()
        with torch.no_grad():
            difference = float((network(*given) - function(*given)).abs().max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path}: images of onnxruntime differ from those of torch by up to {difference:.1e};"
                " save the generator as .pt2 or .safetensors"
            )


def _check_installed(path: Path, packages: tuple[str, ...]) -> None:
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise UserError(f"{path}: needs {', '.join(missing)}; install with pip install 'gansweep[onnx]'")
