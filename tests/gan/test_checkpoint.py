from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint
from gansweep.records.layout import TrialFolder
from gansweep.records.ranking import best_step

TENSORS = {
    "weights": torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "steps": torch.tensor(3),
    "rng": torch.arange(9, dtype=torch.uint8),
    "none yet": torch.empty(0, 6),
    "not finite": torch.tensor([float("nan"), float("inf"), -0.0]),
    "half": torch.ones(3, dtype=torch.bfloat16),
}
META = {"step": 7, "position": 70, "note": "naïve “quotes” \\ \n"}
ON_DISK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "00000007.safetensors"
    checkpoint.save(path, TENSORS, META)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    """With checkpoints of the steps 1, 2 and 3."""
    folder = TrialFolder(tmp_path / "trial")
    for step in (1, 2, 3):
        checkpoint.save(folder.checkpoint(step), {"at": torch.tensor(step)}, {"step": step})
    return folder


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def assert_same(found: dict[str, Tensor]) -> None:
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_gives_back_what_was_saved(file: Path) -> None:
    tensors, meta = checkpoint.load(file)
    assert_same(tensors)
    assert meta == {"format": checkpoint.FORMAT, **META}


def test_saves_tensors_that_require_gradients_or_share_memory(tmp_path: Path) -> None:
    weight = torch.ones(2, 3, requires_grad=True)
    checkpoint.save(tmp_path / "c", {"one": weight, "same": weight, "turned": weight.t(), "row": weight[1]}, {})
    tensors, _ = checkpoint.load(tmp_path / "c")
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "one": (2, 3), "same": (2, 3), "turned": (3, 2), "row": (3,),
    }  # fmt: skip


def test_every_truncation_is_detected(file: Path) -> None:
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=f"^{file}: damaged"):
            checkpoint.load(file)
    file.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match=f"^{file}: damaged"):
        checkpoint.load(file)


@ON_DISK
@given(st.data())
def test_every_flipped_bit_is_detected(file: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = file.with_name("damaged")
    content[at] ^= 1 << bit
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{damaged}: damaged"):
        checkpoint.load(damaged)


def test_every_inverted_byte_is_detected(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for at in range(len(content)):
        content[at] ^= 0xFF
        file.write_bytes(content)
        content[at] ^= 0xFF
        with pytest.raises(CheckpointError, match=f"^{file}: damaged"):
            checkpoint.load(file)


@ON_DISK
@given(st.data())
def test_any_other_byte_is_detected_or_means_the_same(file: Path, data: st.DataObject) -> None:
    """The header is padded with blanks: another white space there changes nothing."""
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    other = file.with_name("other")
    other.write_bytes(content)
    try:
        tensors, meta = checkpoint.load(other)
    except CheckpointError:
        return
    assert_same(tensors)
    assert meta == {"format": checkpoint.FORMAT, **META}


@ON_DISK
@given(st.binary(max_size=60))
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_a_safetensors_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    import safetensors.torch

    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "c", {"by": "somebody else"})
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(tmp_path / "c")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone: cannot be read \(No such file or directory\)$"):
        checkpoint.load(tmp_path / "gone")


def test_a_folder_without_checkpoints_has_no_latest(tmp_path: Path) -> None:
    assert checkpoint.load_latest(TrialFolder(tmp_path)) == (None, [])


def test_the_latest_is_the_newest(folder: TrialFolder) -> None:
    found, notices = checkpoint.load_latest(folder)
    assert found is not None
    assert (int(found[0]["at"]), found[1]["step"], notices) == (3, 3, [])


def test_a_damaged_newest_falls_back_aloud_and_is_set_aside(folder: TrialFolder) -> None:
    damage(folder.checkpoint(3))
    found, notices = checkpoint.load_latest(folder)
    assert found is not None
    assert found[1]["step"] == 2
    assert notices[0].startswith(f"{folder.checkpoint(3)}: damaged (")
    assert notices[1:] == ["resuming from the previous checkpoint, step 2"]
    assert (folder.checkpoints / "00000003.damaged").exists()
    assert checkpoint.load_latest(folder) == (found, [])  # reported once


def test_refuses_for_good_when_all_are_damaged(folder: TrialFolder) -> None:
    for path in folder.all_checkpoints():
        damage(path)
    for _ in range(2):
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load_latest(folder)
        assert str(caught.value) == (
            f"{folder.checkpoints}: no checkpoint is intact; delete {folder.path} to train this trial from the start"
        )


INF = math.inf


@pytest.mark.parametrize(
    ("newest", "scores", "steps"),
    [
        (1, [5, 5, 5], [3]),  # of equals the last
        (1, [INF, INF, INF], [3]),
        (2, [5, 5, 5], [2, 3]),
        (9, [5, 5, 5], [1, 2, 3]),
        (1, [1, 5, 5], [1, 3]),
        (1, [5, 1, 5], [2, 3]),
        (2, [1, 5, 5], [1, 2, 3]),
        (2, [5, 1, 5], [2, 3]),
        (1, [1, 1, 5], [2, 3]),
        (1, [INF, 7, INF], [2, 3]),
    ],
)
def test_keeps_the_newest_and_the_best(folder: TrialFolder, newest: int, scores: list[float], steps: list[int]) -> None:
    checkpoint.keep(folder, newest, partial(best_step, list(enumerate(scores, 1))))
    assert folder.all_checkpoints() == [folder.checkpoint(step) for step in steps]


def test_one_that_is_older_than_five_seconds_is_always_kept(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    folder.checkpoints.mkdir()
    for second in range(1, 40):
        folder.checkpoint(second).touch()
        os.utime(folder.checkpoint(second), (second, second))
        checkpoint.keep(folder, 2, max, second - 5)
        kept = [int(path.stem) for path in folder.all_checkpoints()]
        assert kept[-2:] == [second - 1, second] if second > 1 else [1]
        assert len(kept) <= 4
        if second > 6:
            assert any(second - 11 <= step < second - 5 for step in kept)
