"""Reference data that a process computes while Ray starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from children import children_since

from gansweep.config import to_plain
from gansweep.engine import references
from gansweep.engine.references import COMMAND, computing
from gansweep.gan import checkpoint
from gansweep.gan.data import ImageSet
from gansweep.gan.reference import reference_of


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """200 images of noise without classes."""
    file = tmp_path / "0123456789abcdef.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (200, 1, 16, 16), np.uint8))
    np.save(file.with_suffix(".labels.npy"), np.zeros(200, np.int64))
    return ImageSet(str(file), file.stem, 200, 1, 16, ("all",))


def test_a_process_computes_what_is_missing_and_its_notices_are_passed_on(images: ImageSet) -> None:
    notices_seen: list[str] = []
    children = children_since()
    with computing([images], notices_seen.append):
        (process,) = children()
        process.wait(60)
    assert images.reference.exists()
    assert notices_seen == [
        "the images have one class: they are evaluated without labels (no missing classes, no label entropy)"
    ]
    reference, notices = reference_of(images)
    assert (len(reference.features), notices) == (100, []), "found, not computed again"
    computed, meta = checkpoint.load(images.reference)
    images.reference.unlink()
    reference_of(images)
    tensors, same_meta = checkpoint.load(images.reference)
    assert meta == same_meta
    assert all(torch.equal(tensors[name], computed[name]) for name in computed | tensors), "as in a trial's process"
    children = children_since()
    with computing([images], notices_seen.append):
        assert children() == [], "nothing is missing"


def test_the_process_ends_with_the_block(images: ImageSet) -> None:
    children = children_since()
    with computing([images], print):
        (process,) = children()
    assert not process.is_running()


def test_the_process_ends_with_its_caller(images: ImageSet) -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, text=True) as process:
        process.communicate(json.dumps([to_plain(images)]) + "\n")
        assert process.wait(30) == 1
    assert not images.reference.exists()


def test_a_process_that_dies_is_no_error(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "COMMAND", ("false",))
    with computing([images], print):
        pass
    assert not images.reference.exists()
