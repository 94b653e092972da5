"""Files that somebody else made execute nothing: pickles under every name that gansweep loads, headers that lie about
sizes, and JSON that is not what it should be. Each gives one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from bad_calls import Call

from gansweep.config import FeaturesConfig
from gansweep.errors import CheckpointError, UserError
from gansweep.gan import checkpoint, data, reference
from gansweep.gan.data import ImageSet
from gansweep.gan.reader import Source
from gansweep.records import journal, outcome, suggestions
from gansweep.records.layout import TrialFolder, read_json
from gansweep.usercode.code import Code

DIGITS = Source("digits", 8)


class Payload:
    """Unpickled, it makes a file: the same way would run any program."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """What is there once a payload was executed."""
    return tmp_path / "executed"


@pytest.fixture(params=["pickle", "torch", "numpy"])
def payload(request: pytest.FixtureRequest, proof: Path, tmp_path: Path) -> bytes:
    """A payload, in three wrappings; each does execute where it is loaded carelessly."""
    thing, file = Payload(proof), tmp_path / "payload"
    careless: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "pickle": (lambda: file.write_bytes(pickle.dumps(thing)), lambda: pickle.loads(file.read_bytes())),
        "torch": (lambda: torch.save({"x": thing}, file), lambda: torch.load(file, weights_only=False)),
        "numpy": (
            lambda: file.write_bytes(_npy(np.array([thing], object))),
            lambda: np.load(file, allow_pickle=True),
        ),
    }
    write, load = careless[request.param]
    write()
    load()
    assert proof.is_dir()
    proof.rmdir()
    return file.read_bytes()


@pytest.fixture
def trial(tmp_path: Path) -> TrialFolder:
    folder = TrialFolder(tmp_path / "home" / "sweeps" / "small" / "trials" / "0123456789ab")
    folder.checkpoints.mkdir(parents=True)
    return folder


def test_checkpoints(payload: bytes, proof: Path, trial: TrialFolder) -> None:
    trial.checkpoint(10).write_bytes(payload)
    with pytest.raises(CheckpointError, match="damaged") as caught:
        checkpoint.load(trial.checkpoint(10))
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no checkpoint is intact"):
        checkpoint.load_latest(trial)
    assert not proof.exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.pth", "x.ckpt", "x.pkl", "x.bin"])
def test_files_named_by_hand(call: Call, payload: bytes, proof: Path, tmp_path: Path, name: str) -> None:
    file, sweep = tmp_path / name, tmp_path / "a.yaml"
    file.write_bytes(payload)
    sweep.write_text("name: a\ndataset: {image_size: 16}\ntraining: {steps: 10}\n")
    commands = (
        ("sample", file, "-o", tmp_path / "x.png"),
        ("animate", file, "-o", tmp_path / "x.gif"),
        ("train", sweep, "--checkpoint", file),
    )
    for command in commands:
        line = call(*command)
        assert line.count("\n") == 1, line
        assert str(file) in line
    assert not proof.exists()


def test_cached_images_and_labels(payload: bytes, proof: Path, tmp_path: Path) -> None:
    whole = data.prepare(DIGITS, tmp_path)
    for file in (Path(whole.file), Path(whole.file).with_suffix(".labels.npy"), *tmp_path.glob("digits-*.json")):
        file.write_bytes(payload)
        again = data.prepare(DIGITS, tmp_path)  # what cannot be read is made anew
        assert np.array_equal(again.load(), whole.load())
        assert again.fingerprint == whole.fingerprint
    assert not proof.exists()


def test_the_reference_of_evaluations(
    payload: bytes, proof: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = data.prepare(DIGITS, tmp_path)
    images.reference(FeaturesConfig("classifier").key(Code())).write_bytes(payload)
    made: list[ImageSet] = []
    monkeypatch.setattr(reference, "_make", lambda images, *_: made.append(images))
    with pytest.raises(CheckpointError, match="damaged"):  # it still is: nothing was made in its place
        reference.reference_of(images)
    assert made == [images]
    assert not proof.exists()


def test_records(payload: bytes, proof: Path, trial: TrialFolder) -> None:
    """JSON is parsed as JSON, whatever lies there."""
    readers: dict[Path, Callable[[], object]] = {
        trial.trial: lambda: read_json(trial.trial),
        trial.outcome: lambda: outcome.read(trial),
        trial.journal: lambda: journal.read(trial.journal),
        trial.path / "suggestions.jsonl": lambda: suggestions.read(trial.path / "suggestions.jsonl", "s"),
    }
    for path, read in readers.items():
        path.write_bytes(payload + b"\n")
        with pytest.raises((UserError, ValueError)):
            read()
    assert not proof.exists()


def _header(entries: dict[str, Any], length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


HOSTILE = {
    "empty": b"",
    "no header": b"\x00" * 8,
    "a header of 2^63 bytes": _header({}, 2**63),
    "a header beyond the file": _header({}, 10**9),
    "a header that is a list": struct.pack("<Q", 2) + b"[]",
    "deep JSON": struct.pack("<Q", 400_000) + b"[" * 400_000,
    "a number of 10,000 digits": struct.pack("<Q", 10_000) + b"9" * 10_000,
    "metadata of another kind": _header({"__metadata__": ["gansweep"]}),
    "a shape of 2^60": _header(
        {"__metadata__": {"gansweep": "{}", "sha256": "0"},
         "x": {"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 4]}}
    ) + b"\x00" * 4,
    "a negative shape": _header({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + b"\x00" * 4,
    "offsets outside": _header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4096, 4100]}}) + b"\x00" * 4,
    "an unknown type": _header({"x": {"dtype": "EVIL", "shape": [1], "data_offsets": [0, 4]}}) + b"\x00" * 4,
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_headers_that_lie(content: bytes, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    line = call("sample", file, "-o", tmp_path / "x.png")
    assert line.startswith(f"{file}: damaged")
    assert line.count("\n") == 1, line
    assert len(line) < 500, "a header is not repeated to the reader"


def _sealed(path: Path, settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """With a checksum that holds: a forger can make one as well."""
    checkpoint.save(path, tensors, {"step": 1, "position": {}, "settings": settings})


@pytest.mark.parametrize(
    "sizes",
    [
        {"latent_dim": 2**40},
        {"generator_maps": 10**9},
        {"image_size": 2**62},
        {"image_size": -16},
        {"channels": 10**12},
        {"latent_dim": "8"},
        {"image_size": 16.5},
        {"networks": {"generator_depth": 10**9}},
        {"networks": {"classes": ["x"] * 10**5, "conditioning": "embedding"}},
        {"networks": {"architecture": "os.system"}},
        {"networks": {"__class__": "x"}},
    ],
    ids=str,
)
def test_settings_that_lie(sizes: dict[str, Any], call: Call, tmp_path: Path) -> None:
    """Sound by its checksum, and its settings ask for networks of any size: refused at once, with no memory taken."""
    file = tmp_path / "x.safetensors"
    settings = {"latent_dim": 8, "generator_maps": 4, "image_size": 16, "channels": 1, **sizes}
    _sealed(file, settings, {"generator.weights.0": torch.zeros(8, 8, 4, 4)})
    line = call("sample", file, "-o", tmp_path / "x.png")
    assert line.startswith(f"{file}: its ")
    assert line.count("\n") == 1, line


def test_names_of_tensors_are_names(tmp_path: Path, call: Call) -> None:
    """Nothing of a checkpoint is ever written under a name that stands in it."""
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors.torch.save({"../../escaped": torch.zeros(1)}))
    before = sorted(tmp_path.rglob("*"))
    call("sample", file, "-o", tmp_path / "x.png")
    assert sorted(tmp_path.rglob("*")) == before


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()
