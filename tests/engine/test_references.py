"""Reference data that a process computes while Ray starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from children import children_since

from gansweep.config import FeaturesConfig, to_plain
from gansweep.engine import references
from gansweep.engine.references import COMMAND, Wanted, computing
from gansweep.gan import checkpoint
from gansweep.gan.data import ImageSet
from gansweep.gan.reference import reference_of
from gansweep.usercode.code import Code


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """The reference data of 200 images of noise without classes."""
    file = tmp_path / "0123456789abcdef.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (200, 1, 16, 16), np.uint8))
    np.save(file.with_suffix(".labels.npy"), np.zeros(200, np.int64))
    return Wanted(ImageSet(str(file), file.stem, 200, 1, 16, ("all",)), FeaturesConfig("principal_components"), Code())


def test_a_process_computes_what_is_missing_and_its_notices_are_passed_on(wanted: Wanted) -> None:
    notices_seen: list[str] = []
    children = children_since()
    with computing([wanted], notices_seen.append):
        (process,) = children()
        process.wait(60)
    assert wanted.path.exists()
    assert notices_seen == [
        "the images have one class: they are evaluated without labels (no missing classes, no label entropy)"
    ]
    reference, notices = reference_of(wanted.images)
    assert (len(reference.features), notices) == (100, []), "found, not computed again"
    computed, meta = checkpoint.load(wanted.path)
    wanted.path.unlink()
    reference_of(wanted.images)
    tensors, same_meta = checkpoint.load(wanted.path)
    assert meta == same_meta
    assert all(torch.equal(tensors[name], computed[name]) for name in computed | tensors), "as in a trial's process"
    children = children_since()
    with computing([wanted], notices_seen.append):
        assert children() == [], "nothing is missing"


def test_the_process_ends_with_the_block(wanted: Wanted) -> None:
    children = children_since()
    with computing([wanted], print):
        (process,) = children()
    assert not process.is_running()


def test_the_process_ends_with_its_caller(wanted: Wanted) -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, text=True) as process:
        process.communicate(json.dumps([to_plain(wanted)]) + "\n")
        assert process.wait(30) == 1
    assert not wanted.path.exists()


def test_a_process_that_dies_is_no_error(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "COMMAND", ("false",))
    with computing([wanted], print):
        pass
    assert not wanted.path.exists()
