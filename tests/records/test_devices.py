"""Devices of a trial: the record, what a checkpoint tells, and the refusal of another type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gansweep.errors import UserError
from gansweep.records.devices import CPU, GPU, Device, began_on, label, of_checkpoint, read, record
from gansweep.records.layout import TrialFolder

CARD = Device(GPU, "NVIDIA H100 80GB HBM3", "580.65", "2.11.0+cu130", ("convolutions",))
OTHER = Device(GPU, "NVIDIA H200", "580.65", "2.11.0+cu130", ("convolutions",))
HOST = Device(CPU, torch="2.11.0+cu130")


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    path = tmp_path / "trials" / "0123456789ab"
    path.mkdir(parents=True)
    return TrialFolder(path)


def begin(folder: TrialFolder) -> TrialFolder:
    folder.journal.write_text('{"step": 0}\n')
    return folder


def checkpoint(path: Path, meta: dict[str, Any], state: int | None) -> Path:
    """A header of safetensors as gansweep writes it, without tensors."""
    streams = {} if state is None else {"noise_rng": {"dtype": "U8", "shape": [state], "data_offsets": [0, state]}}
    header = json.dumps({"__metadata__": {"gansweep": json.dumps({"step": 6, **meta})}, **streams}).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(state or 0))
    return path


@pytest.mark.parametrize(
    ("meta", "state", "expected"),
    [
        ({"device": "cuda"}, 16, GPU),
        ({"device": "cpu"}, 5_056, CPU),
        ({"device": "xpu"}, 16, ""),
        ({}, 16, GPU),  # written by 0.1.0
        ({}, 5_056, CPU),
        ({}, 17, ""),
        ({}, None, ""),
    ],
)
def test_a_checkpoint_names_its_device_or_the_size_of_a_random_streams_state_tells(
    folder: TrialFolder, meta: dict[str, Any], state: int | None, expected: str
) -> None:
    path = checkpoint(folder.checkpoint(6), meta, state)
    assert of_checkpoint(path) == expected
    assert began_on(folder) == expected


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\2\0\0\0\0\0\0\0[]", b"\2\0\0\0\0\0\0\0{}", b"\1"])
def test_a_damaged_checkpoint_tells_nothing_and_an_older_one_is_asked(folder: TrialFolder, content: bytes) -> None:
    checkpoint(folder.checkpoint(6), {}, 16)
    folder.checkpoint(12).write_bytes(content)
    assert of_checkpoint(folder.checkpoint(12)) == ""
    assert began_on(folder) == GPU


def test_devices_are_recorded_in_order_and_a_repetition_is_not(folder: TrialFolder) -> None:
    assert (read(folder), began_on(folder), label(folder)) == ([], "", "")
    for device in (CARD, CARD, OTHER, CARD):
        record(folder, device)
        begin(folder)
    assert read(folder) == [CARD, OTHER, CARD]
    assert began_on(folder) == GPU
    assert label(folder) == "NVIDIA H100 80GB HBM3 + NVIDIA H200"


@pytest.mark.parametrize(
    "content", ['{"devices": 3}', '{"devices": [{}]}', '{"devices": [{"tf32": [], "a": 1}]}', "[]"]
)
def test_a_damaged_record_is_one_line_that_names_the_file(folder: TrialFolder, content: str) -> None:
    begin(folder).devices.write_text(content)
    with pytest.raises(UserError, match=rf"^{folder.devices}: damaged.*$"):
        label(folder)


def test_a_trial_without_records_may_begin_anywhere(folder: TrialFolder) -> None:
    record(folder, CARD)
    assert began_on(folder) == ""
    record(folder, HOST)
    assert read(folder) == [HOST]
    assert label(begin(folder)) == "CPU"


def test_devices_that_were_not_recorded_are_told_by_a_checkpoint(folder: TrialFolder) -> None:
    checkpoint(folder.checkpoint(6), {}, 16)
    assert label(folder) == "GPU"
    with pytest.raises(UserError):
        record(folder, HOST)
    record(folder, CARD)
    assert label(folder) == CARD.name


@pytest.mark.parametrize(
    ("first", "second", "began", "now", "where"),
    [(HOST, CARD, "the CPU", "a GPU", ""), (CARD, HOST, "a GPU", "the CPU", " on a machine with a GPU")],
)
def test_another_type_of_device_is_refused(
    folder: TrialFolder, first: Device, second: Device, began: str, now: str, where: str
) -> None:
    record(folder, first)
    begin(folder)
    with pytest.raises(UserError) as refused:
        record(folder, second)
    assert str(refused.value) == (
        f"trial 0123456789ab: began on {began}, but would continue on {now}, whose numbers differ; continue it with"
        f" --set resources.gpus=auto{where}, or delete {folder.path} to train it again from the start"
    )
    assert read(folder) == [first]
