from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint, run
from gansweep.gan.batches import Augmentation
from gansweep.gan.data import Pixels
from gansweep.gan.run import Run, Schedule
from gansweep.gan.training import Settings, Updates
from gansweep.health.metrics import STEPS_PER_S, TRAINING
from gansweep.records import journal, lock, outcome
from gansweep.records.layout import TrialFolder
from gansweep.records.outcome import Outcome

SCHEDULE = Schedule(steps=7, metrics=2, samples=3, checkpoints=3, keep=2)
Open = Callable[..., Any]  # a context manager that yields a Run


@pytest.fixture
def opened(make_settings: Callable[..., Settings], make_pixels: Callable[..., Pixels]) -> Open:
    """A run in a folder, closed at the end of its block; keywords change settings."""

    @contextmanager
    def open_run(folder: TrialFolder, schedule: Schedule = SCHEDULE, **changes: Any) -> Iterator[Run]:
        opened = Run(folder, make_settings(**changes), schedule, make_pixels(), torch.device("cpu"))
        try:
            yield opened
        finally:
            opened.close()

    return open_run


def train(run: Run, steps: int) -> Outcome | None:
    """So many single steps."""
    ended = None
    for _ in range(steps):
        ended = run.advance(0)
    return ended


def kept(folder: TrialFolder) -> dict[str, Any]:
    """Everything that must not depend on how often a run was interrupted."""
    tensors, meta = checkpoint.load(folder.all_checkpoints()[-1])
    records = [
        (r.step, {k: repr(v) for k, v in r.values.items() if k != STEPS_PER_S}) for r in journal.read(folder.journal)
    ]
    return {
        "meta": meta,
        "tensors": {name: t.numpy().tobytes() for name, t in tensors.items()},
        "journal": records,
        "samples": {p.name: p.read_bytes() for p in folder.all_samples()},
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "validation and augmentation": {
        "validation": 0.3,
        "augmentation": Augmentation(flip=True, rotate=20, translate=0.1, scale=0.1),
    },
    "more updates": {"generator": Updates(2e-3, 0.5, 0.999, 2), "discriminator": Updates(2e-3, 0.5, 0.999, 3)},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("asked", [True, False], ids=["asked to end", "killed"])
def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, opened: Open, changes: dict[str, Any], asked: bool
) -> None:
    whole = TrialFolder(tmp_path / "whole")
    with opened(whole, **changes) as uninterrupted:
        ended = uninterrupted.advance(60)
    assert (ended.kind, ended.step) == ("completed", 7)
    for at in range(1, 7):
        folder = TrialFolder(tmp_path / f"{at}")
        with opened(folder, **changes) as first:
            train(first, at)
            if asked:
                assert first.suspend("asked").kind == "interrupted"
        with opened(folder, **changes) as second:
            assert second.step == (at if asked else at // 3 * 3)
            assert second.advance(60).kind == "completed"
        assert kept(folder) == kept(whole), f"interrupted at {at}"


def test_a_run_that_stops_at_every_step_ends_the_same(tmp_path: Path, opened: Open) -> None:
    whole, pieces = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "pieces")
    with opened(whole) as uninterrupted:
        uninterrupted.advance(60)
    for _ in range(7):
        with opened(pieces) as one:
            ended = one.advance(0) or one.suspend("asked")
    assert ended.kind == "completed"
    assert kept(pieces) == kept(whole)


def test_records_what_is_due_and_the_last_step(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder) as run:
        assert outcome.state(folder, 7) == "running"
        assert train(run, 6) is None
        ended = train(run, 1)
    assert ended == Outcome("completed", 7)
    records = journal.read(folder.journal)
    assert [r.step for r in records] == [2, 4, 6, 7]
    assert set(records[0].values) == {*TRAINING, STEPS_PER_S}
    assert [p.name for p in folder.all_samples()] == ["00000000.png", "00000003.png", "00000006.png", "00000007.png"]
    assert [p.name for p in folder.all_checkpoints()] == ["00000006.safetensors", "00000007.safetensors"]
    assert outcome.state(folder, 7) == "completed"


def test_metrics_are_means_over_the_interval(tmp_path: Path, opened: Open) -> None:
    each, pairs = TrialFolder(tmp_path / "each"), TrialFolder(tmp_path / "pairs")
    for folder, metrics in ((each, 1), (pairs, 2)):
        with opened(folder, Schedule(4, metrics, 9, 9, 1)) as run:
            run.advance(60)
    single = [r.values for r in journal.read(each.journal)]
    for i, record in enumerate(journal.read(pairs.journal)):
        for name in TRAINING:
            assert record.values[name] == pytest.approx((single[2 * i][name] + single[2 * i + 1][name]) / 2, rel=1e-6)


def test_more_steps_continue_as_if_they_had_been_asked_for_at_first(tmp_path: Path, opened: Open) -> None:
    longer = Schedule(steps=12, metrics=2, samples=3, checkpoints=3, keep=2)
    grown, whole = TrialFolder(tmp_path / "grown"), TrialFolder(tmp_path / "whole")
    with opened(whole, longer) as run:
        run.advance(60)
    with opened(grown) as run:
        run.advance(60)
    assert outcome.state(grown, 12) == "interrupted"
    with opened(grown, longer) as run:
        assert run.step == 7
        assert not grown.outcome.exists()
        assert run.advance(60) == Outcome("completed", 12)
    ours, theirs = kept(grown), kept(whole)
    assert ours["tensors"] == theirs["tensors"]
    assert [r for r in ours["journal"] if r[0] != 7] == theirs["journal"]  # 7 was once the last
    assert {k: v for k, v in ours["samples"].items() if k != "00000007.png"} == theirs["samples"]


def test_a_completed_run_has_nothing_left_to_do(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder) as run:
        run.advance(60)
    before = kept(folder)
    with opened(folder) as run:
        assert run.advance(60) == Outcome("completed", 7)
    assert kept(folder) == before


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_divergence_stops_the_run_with_its_reason(tmp_path: Path, opened: Open, network: str) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder, Schedule(50, 5, 50, 5, 2), **{network: Updates(1e20, 0.5, 0.999)}) as run:
        ended = run.advance(60)
    assert ended.kind == "stopped"
    assert ended.verdict.kind == "divergence"
    assert ended.verdict.since_step <= ended.step <= 10
    assert ended.reason == ended.verdict.reason
    assert ended.reason.startswith("divergence ")
    recorded = outcome.read(folder)
    assert recorded is not None
    assert (recorded.kind, recorded.step, recorded.reason, recorded.verdict) == (
        "stopped", ended.step, ended.reason, ended.verdict,
    )  # fmt: skip
    assert recorded.finished(10**9)
    assert all(torch.isfinite(t).all() for p in folder.all_checkpoints() for t in checkpoint.load(p)[0].values())


def test_a_second_process_is_refused(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOCK_WAIT_S", 0.1)
    folder = TrialFolder(tmp_path / "t")
    with opened(folder), pytest.raises(lock.Locked), opened(folder):
        pass
    with opened(folder):
        pass


def test_leftovers_of_killed_writes_are_swept_up(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    leftovers = [folder.samples / ".00000003.png.9.9", folder.checkpoints / ".00000003.safetensors.9.9"]
    for path in leftovers:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    with opened(folder):
        assert not any(path.exists() for path in leftovers)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path: Path, opened: Open) -> None:
    folder, whole = TrialFolder(tmp_path / "t"), TrialFolder(tmp_path / "whole")
    with opened(whole) as uninterrupted:
        uninterrupted.advance(60)
    with opened(folder) as run:
        train(run, 6)
    newest = folder.checkpoint(6)
    newest.write_bytes(newest.read_bytes()[:-1])
    with opened(folder) as run:
        assert run.step == 3
        assert len(run.notices) == 2
        assert run.notices[1] == "continuing from the one before, step 3"
        run.advance(60)
    assert kept(folder) == kept(whole)


def test_without_a_sound_checkpoint_it_refuses_and_lets_go_of_the_folder(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder) as run:
        train(run, 4)
    folder.checkpoint(3).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no checkpoint is sound"), opened(folder):
            pass
        assert not lock.is_held(folder.lock)


def test_latest_holds_the_last_metrics(tmp_path: Path, opened: Open) -> None:
    with opened(TrialFolder(tmp_path / "t")) as run:
        assert run.latest == {}
        train(run, 2)
        assert set(run.latest) == {*TRAINING, STEPS_PER_S}
        assert all(math.isfinite(v) for v in run.latest.values())
