from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gansweep.config import AugmentationConfig, DiffAugmentConfig, OptimizerConfig, RunConfig, TrainingConfig
from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint, run
from gansweep.gan.data import Pixels
from gansweep.gan.run import Run
from gansweep.gan.training import Trainer
from gansweep.health.history import History
from gansweep.health.judge import judge_of
from gansweep.health.metrics import (
    FD_RATIO,
    GPU_MEMORY,
    MACHINE,
    NONFINITE_STEP,
    SPREAD_ACROSS,
    SPREAD_WITHIN,
    STEPS_PER_S,
    TRAINING,
)
from gansweep.records import journal, lock, outcome
from gansweep.records.layout import TrialFolder, read_json
from gansweep.records.outcome import Outcome

EARLY = {"dead_generator": {"earliest": 0.0, "from_step": 0}}
CONFIG = RunConfig(steps=7, metrics=2, samples=3, checkpoints=3, keep=2)
JUDGE = judge_of(EARLY)
Open = Callable[..., Any]  # a context manager that yields a Run


@pytest.fixture
def opened(make_settings: Callable[..., TrainingConfig], make_pixels: Callable[..., Pixels]) -> Open:
    """A run in a folder, closed at the end of its block; keywords change settings."""

    @contextmanager
    def open_run(
        folder: TrialFolder, config: RunConfig = CONFIG, evaluator: Any = None, **changes: Any
    ) -> Iterator[Run]:
        make = (lambda: evaluator) if evaluator else None
        trainer = partial(Trainer, make_settings(**changes), make_pixels(), torch.device("cpu"))
        opened = Run(folder, config, trainer, make)
        try:
            yield opened
        finally:
            opened.close()

    return open_run


class Says:
    """An evaluator that says what it was told to, or what a function makes of the trainer; asked: at which steps."""

    def __init__(self, values: Mapping[str, float] | Callable[[Trainer], Mapping[str, float]]) -> None:
        self.notices: list[str] = []
        self.asked: list[int] = []
        self._values = values

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        self.asked.append(trainer.step)
        return dict(self._values(trainer) if callable(self._values) else self._values)

    def description(self) -> dict[str, int]:
        return {"samples": 2}


def recorded(folder: TrialFolder) -> Outcome:
    found = outcome.read(folder)
    assert found is not None
    return found


def train(run: Run, steps: int) -> Outcome | None:
    """Advance by `steps` single steps."""
    ended = None
    for _ in range(steps):
        ended = run.advance(0)
    return ended


def end_of(run: Run) -> tuple[str, int]:
    """Kind of outcome and step."""
    ended = run.advance(60)
    assert ended is not None
    return ended.kind, ended.step


def kept(folder: TrialFolder) -> dict[str, Any]:
    """Everything that must not depend on how often a run was interrupted."""
    tensors, meta = checkpoint.load(folder.all_checkpoints()[-1])
    records = [
        (r.step, {k: repr(v) for k, v in r.values.items() if k not in MACHINE}) for r in journal.read(folder.journal)
    ]
    return {
        "meta": meta,
        "tensors": {name: t.numpy().tobytes() for name, t in tensors.items()},
        "journal": records,
        "samples": {p.name: p.read_bytes() for p in folder.all_samples()},
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"precision": "bfloat16"},
    "validation and augmentation": {
        "validation": 0.3,
        "augmentation": AugmentationConfig(flip=True, rotate=20, translate=0.1, scale=0.1),
        "augment": DiffAugmentConfig(("color", "translation", "cutout"), adaptive=True, interval=2, ramp_images=50),
    },
    "more updates": {
        "generator": OptimizerConfig(2e-3, 0.5, 0.999, 2),
        "discriminator": OptimizerConfig(2e-3, 0.5, 0.999, 3),
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("asked", [True, False], ids=["asked to end", "killed"])
def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, opened: Open, variant: str, asked: bool
) -> None:
    """After each step; of the other variants before, at and after the first checkpoint."""
    changes = VARIANTS[variant]
    whole = TrialFolder(tmp_path / "whole")
    with opened(whole, **changes) as uninterrupted:
        ended = uninterrupted.advance(60)
    assert (ended.kind, ended.step) == ("completed", 7)
    for at in range(1, 7) if variant == "plain" else (2, 3, 5):
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
    assert (ended.kind, ended.step, ended.verdict) == ("completed", 7, "undecided")
    records = journal.read(folder.journal)
    assert [r.step for r in records] == [2, 4, 6, 7]
    assert set(records[0].values) == {*TRAINING, STEPS_PER_S}
    assert [p.name for p in folder.all_samples()] == ["00000000.png", "00000003.png", "00000006.png", "00000007.png"]
    assert [p.name for p in folder.all_checkpoints()] == ["00000006.safetensors", "00000007.safetensors"]
    assert outcome.state(folder, 7) == "completed"


def test_the_gpu_is_read_whenever_metrics_are_recorded(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[torch.device] = []
    monkeypatch.setattr("gansweep.gan.run.readings", lambda device: read.append(device) or {GPU_MEMORY: 2e9})
    folder = TrialFolder(tmp_path / "t")
    with opened(folder) as run:
        run.advance(60)
    assert [(r.step, r.values[GPU_MEMORY]) for r in journal.read(folder.journal)] == [(s, 2e9) for s in (2, 4, 6, 7)]
    assert read == [torch.device("cpu")] * 4


def test_metrics_are_means_over_the_interval(tmp_path: Path, opened: Open) -> None:
    each, pairs = TrialFolder(tmp_path / "each"), TrialFolder(tmp_path / "pairs")
    for folder, metrics in ((each, 1), (pairs, 2)):
        with opened(folder, RunConfig(4, metrics, 9, 9, 1)) as run:
            run.advance(60)
    single = [r.values for r in journal.read(each.journal)]
    for i, record in enumerate(journal.read(pairs.journal)):
        for name in TRAINING:
            assert record.values[name] == pytest.approx((single[2 * i][name] + single[2 * i + 1][name]) / 2, rel=1e-6)


def test_more_steps_continue_as_if_they_had_been_asked_for_at_first(tmp_path: Path, opened: Open) -> None:
    longer = RunConfig(steps=12, metrics=2, samples=3, checkpoints=3, keep=2)
    grown, whole = TrialFolder(tmp_path / "grown"), TrialFolder(tmp_path / "whole")
    with opened(whole, longer) as run:
        run.advance(60)
    with opened(grown) as run:
        run.advance(60)
    assert outcome.state(grown, 12) == "interrupted"
    with opened(grown, longer) as run:
        assert run.step == 7
        assert not grown.outcome.exists()
        assert end_of(run) == ("completed", 12)
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
        assert end_of(run) == ("completed", 7)
    assert kept(folder) == before


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_divergence_stops_the_run_with_its_reason(tmp_path: Path, opened: Open, network: str) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder, RunConfig(50, 5, 50, 5, 2), **{network: OptimizerConfig(1e20, 0.5, 0.999)}) as run:
        ended = run.advance(60)
    assert (ended.kind, ended.rule, ended.verdict) == ("stopped", "divergence", "divergence")
    assert ended.verdicts[0].since_step <= ended.step <= 10
    assert ended.reason == ended.verdicts[0].reason
    assert ended.reason.startswith("divergence at step ")
    assert replace(recorded(folder), time=0.0) == ended
    assert recorded(folder).finished(10**9, ["divergence"], {})
    assert all(torch.isfinite(t).all() for p in folder.all_checkpoints() for t in checkpoint.load(p)[0].values())


def test_divergence_at_once_leaves_no_checkpoint(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder, RunConfig(50, 1, 50, 1, 2), generator=OptimizerConfig(1e20, 0.5, 0.999)) as run:
        ended = run.advance(60)
    assert (ended.kind, ended.step) == ("stopped", 1)
    assert folder.all_checkpoints() == []
    assert [p.name for p in folder.all_samples()] == ["00000000.png", "00000001.png"]
    assert [r.values[NONFINITE_STEP] for r in journal.read(folder.journal)] == [1]


def test_a_diverged_run_that_is_not_to_stop_trains_on(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    config = RunConfig(6, 2, 6, 2, 2, stop_on=())
    with opened(folder, config, generator=OptimizerConfig(1e20, 0.5, 0.999)) as run:
        ended = run.advance(60)
    assert (ended.kind, ended.step, ended.rule, ended.verdict) == ("completed", 6, "", "divergence")
    assert [r.step for r in journal.read(folder.journal) if NONFINITE_STEP in r.values] == [2], "recorded once"
    assert folder.all_checkpoints() == []


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
    leftovers += [folder.path / ".cadence.json.9.9", folder.path / ".devices.json.9.9"]
    of_the_driver = folder.path / ".published.json.9.9"
    for path in (*leftovers, of_the_driver):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with opened(folder):
        assert not any(path.exists() for path in leftovers)
        assert of_the_driver.exists()


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
        assert run.notices[1] == "resuming from the previous checkpoint, step 3"
        run.advance(60)
    assert kept(folder) == kept(whole)


def test_without_a_sound_checkpoint_it_refuses_and_lets_go_of_the_folder(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder) as run:
        train(run, 4)
    folder.checkpoint(3).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no checkpoint is intact"), opened(folder):
            pass
        assert not lock.is_held(folder.lock)


def test_latest_holds_the_last_metrics(tmp_path: Path, opened: Open) -> None:
    with opened(TrialFolder(tmp_path / "t")) as run:
        assert run.latest == {}
        train(run, 2)
        assert set(run.latest) == {*TRAINING, STEPS_PER_S}
        assert all(math.isfinite(v) for v in run.latest.values())


# Evaluations and verdicts.

JUDGED = RunConfig(
    20, metrics=5, samples=20, checkpoints=6, keep=9, evaluations=2, stop_on=("dead_generator",), thresholds=EARLY
)
BLANK = {SPREAD_ACROSS: 0.0, SPREAD_WITHIN: 0.1}


def weights(trainer: Trainer) -> dict[str, float]:
    """Other numbers after every step."""
    return {FD_RATIO: float(sum(p.detach().sum() for p in trainer.generator.parameters()))}


def dies(trainer: Trainer) -> dict[str, float]:
    """Blank from step 8 on."""
    return {SPREAD_ACROSS: 1.0 if trainer.step < 8 else 0.0, SPREAD_WITHIN: 0.1}


def test_evaluates_at_the_start_when_due_and_at_the_end(tmp_path: Path, opened: Open) -> None:
    folder, evaluator = TrialFolder(tmp_path / "t"), Says(weights)
    with opened(folder, RunConfig(6, 3, 9, 9, 1, evaluations=4), evaluator) as run:
        assert evaluator.asked == [0]
        assert set(run.latest) == {FD_RATIO}
        run.advance(60)
    assert evaluator.asked == [0, 4, 6]
    found = {r.step: set(r.values) for r in journal.read(folder.journal)}
    trained = {*TRAINING, STEPS_PER_S}
    assert found == {0: {FD_RATIO}, 3: trained, 4: {FD_RATIO}, 6: {FD_RATIO, *trained}}


def test_what_judges_is_on_record_and_its_notices_are_passed_on(tmp_path: Path, opened: Open) -> None:
    folder, evaluator = TrialFolder(tmp_path / "t"), Says(BLANK)
    evaluator.notices.append("beware")
    with opened(folder, JUDGED, evaluator) as run:
        assert run.notices == ["beware"]
    assert read_json(folder.evaluator) == {"samples": 2}


def test_a_failure_stops_the_run_at_the_evaluation_that_shows_it(tmp_path: Path, opened: Open) -> None:
    whole, folder = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "t")
    with opened(whole, replace(JUDGED, stop_on=()), Says(BLANK)) as run:
        completed = run.advance(60)
    history = History.of(((r.step, r.values) for r in journal.read(whole.journal)), JUDGED.steps)
    with opened(folder, JUDGED, Says(BLANK)) as run:
        stopped = run.advance(60)
    assert (stopped.kind, stopped.step, stopped.rule, stopped.verdict) == (
        "stopped", 4, "dead_generator", "dead_generator",
    )  # fmt: skip
    assert (JUDGE(history.until(3)), JUDGE(history.until(4))) == ((), stopped.verdicts)
    assert stopped.reason == stopped.verdicts[0].reason
    assert replace(recorded(folder), time=0.0) == stopped
    assert [p.name for p in folder.all_checkpoints()] == ["00000004.safetensors"]
    assert [p.name for p in folder.all_samples()] == ["00000000.png", "00000004.png"]
    assert (completed.kind, completed.step, completed.rule) == ("completed", 20, "")
    assert (completed.reason, completed.verdicts) == ("", JUDGE.conclude(history))
    assert completed.verdict == "dead_generator"


def test_other_kinds_than_those_asked_for_do_not_stop_it(tmp_path: Path, opened: Open) -> None:
    config = replace(JUDGED, stop_on=("mode_collapse", "divergence"))
    with opened(TrialFolder(tmp_path / "t"), config, Says(BLANK)) as run:
        assert end_of(run) == ("completed", 20)
        assert [v.kind for v in run.verdicts] == ["dead_generator"]
        assert run.notices == [], "nor is it flagged"


def test_a_failure_that_only_the_last_step_shows_is_no_stop(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder, replace(JUDGED, steps=4), Says(BLANK)) as run:
        assert end_of(run) == ("completed", 4)
    assert (recorded(folder).verdict, recorded(folder).rule) == ("dead_generator", "")


def test_a_stopped_run_whose_rule_is_lifted_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path, opened: Open) -> None:
    whole, folder = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "t")
    lifted = replace(JUDGED, stop_on=())
    with opened(whole, lifted, Says(BLANK)) as run:
        run.advance(60)
    with opened(folder, JUDGED, Says(BLANK)) as run:
        assert end_of(run) == ("stopped", 4)
    with opened(folder, lifted, Says(BLANK)) as run:
        assert run.step == 4
        assert end_of(run) == ("completed", 20)
    ours, theirs = kept(folder), kept(whole)
    del ours["samples"]["00000004.png"]
    assert ours == theirs


TOLERANT = {"dead_generator": {"earliest": 0.0, "from_step": 0, "across": 0.0}}  # nothing is below 0


def test_a_stopped_run_whose_verdict_no_longer_holds_continues_as_if_it_had_not_been_stopped(
    tmp_path: Path, opened: Open
) -> None:
    whole, folder = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "t")
    tolerant = replace(JUDGED, thresholds=TOLERANT)
    with opened(whole, tolerant, Says(BLANK)) as run:
        assert end_of(run) == ("completed", 20)
    with opened(folder, JUDGED, Says(BLANK)) as run:
        assert end_of(run) == ("stopped", 4)
    assert recorded(folder).finished(20, ["dead_generator"], EARLY)
    assert not recorded(folder).finished(20, ["dead_generator"], TOLERANT)
    with opened(folder, tolerant, Says(BLANK)) as run:
        assert (run.step, run.verdicts) == (4, ())
        assert end_of(run) == ("completed", 20)
    ours, theirs = kept(folder), kept(whole)
    del ours["samples"]["00000004.png"]
    assert ours == theirs


def test_a_run_that_is_over_is_judged_anew_by_other_thresholds_and_trains_nothing(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    for thresholds, verdict in ((TOLERANT, "undecided"), (EARLY, "dead_generator"), (TOLERANT, "undecided")):
        with opened(folder, replace(JUDGED, thresholds=thresholds), Says(BLANK)) as run:
            assert end_of(run) == ("completed", 20)
        assert (recorded(folder).verdict, recorded(folder).thresholds) == (verdict, thresholds)
    assert journal.read(folder.journal)[-1].step == 20


@pytest.mark.parametrize("written", ["checkpoint", "samples", "journal"])
def test_a_run_killed_before_its_stop_was_written_stops_the_same(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """written: the last thing on disk when it was killed."""
    whole, folder = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "t")
    with opened(whole, JUDGED, Says(dies)) as run:
        stopped = run.advance(60)
    assert (stopped.kind, stopped.step) == ("stopped", 10)

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    nth = {"checkpoint": "_end", "samples": "_checkpoint", "journal": "_record_samples"}[written]
    with opened(folder, JUDGED, Says(dies)) as run:
        train(run, 9)
        monkeypatch.setattr(run, nth, kill)
        with pytest.raises(Killed):
            run.advance(60)
    assert not folder.outcome.exists()
    again = Says(dies)
    with opened(folder, JUDGED, again) as run:
        assert run.step == (10 if written == "checkpoint" else 6)
        assert run.advance(60) == stopped
    assert again.asked == []
    assert kept(folder) == kept(whole)
    assert replace(recorded(folder), time=0.0) == stopped


def test_replayed_steps_are_not_evaluated_again(tmp_path: Path, opened: Open) -> None:
    whole, folder = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "t")
    with opened(whole, JUDGED, Says(weights)) as run:
        assert end_of(run) == ("completed", 20)
    with opened(folder, JUDGED, Says(weights)) as run:
        train(run, 11)
    again = Says(weights)
    with opened(folder, JUDGED, again) as run:
        assert run.step == 6
        assert end_of(run) == ("completed", 20)
    assert again.asked == [12, 14, 16, 18, 20]
    assert kept(folder) == kept(whole)
    assert recorded(folder).verdicts == recorded(whole).verdicts


def test_a_run_begun_again_from_nothing_takes_its_first_evaluation_from_the_journal(
    tmp_path: Path, opened: Open
) -> None:
    folder, again = TrialFolder(tmp_path / "t"), Says(weights)
    with opened(folder, JUDGED, Says(weights)) as run:
        train(run, 3)
    with opened(folder, JUDGED, again) as run:
        assert (run.step, set(run.latest)) == (0, {FD_RATIO})
    assert again.asked == []


def test_verdicts_of_a_replay_know_nothing_of_what_lies_ahead(tmp_path: Path, opened: Open) -> None:
    """A killed process had journalled steps 8 and 10, both dead; the run that goes on from 6 does not know yet."""
    folder = TrialFolder(tmp_path / "t")
    free = replace(JUDGED, stop_on=())
    with opened(folder, free, Says(dies)) as run:
        train(run, 11)
        assert [v.kind for v in run.verdicts] == ["dead_generator"]
    with opened(folder, free, Says(dies)) as run:
        assert (run.step, run.verdicts) == (6, ())
        train(run, 2)
        assert (run.step, run.verdicts) == (8, ())
        train(run, 2)
        assert [v.kind for v in run.verdicts] == ["dead_generator"]


def test_a_flagged_kind_is_reported_once_and_stops_nothing(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    config = replace(JUDGED, stop_on=(), flag=("dead_generator",))
    with opened(folder, config, Says(BLANK)) as run:
        train(run, 12)
        assert [notice.startswith("dead generator since step 2:") for notice in run.notices] == [True]
        run.suspend("asked")
    with opened(folder, config, Says(BLANK)) as run:
        assert end_of(run) == ("completed", 20)
        assert run.notices == []


# Checkpoints that are kept, and pauses.

BOWL = {0: 9.0, 2: 8.0, 4: 3.0, 6: 1.0, 8: 2.0, 10: 7.0, 12: 9.0, 14: math.nan}


def bowl(trainer: Trainer) -> dict[str, float]:
    """Best at step 6."""
    return {FD_RATIO: BOWL[trainer.step]}


def kept_steps(folder: TrialFolder) -> list[int]:
    return [int(path.stem) for path in folder.all_checkpoints()]


@pytest.mark.parametrize(
    ("cadence", "mode", "steps"),
    [
        (2, "min", [6, 14]),
        (2, "max", [12, 14]),  # 9 at step 12 and, without a checkpoint, at 0
        (3, "min", [6, 14]),
        (4, "min", [8, 14]),  # 2 at 8 is the best that a checkpoint has
        (5, "min", [5, 14]),  # the last evaluation before 5 was 3, before 10 it was 7
    ],
)
@pytest.mark.parametrize("killed", [None, 7, 13])
def test_the_best_checkpoint_is_kept(
    tmp_path: Path, opened: Open, cadence: int, mode: Any, steps: list[int], killed: int | None
) -> None:
    folder = TrialFolder(tmp_path / "t")
    config = RunConfig(14, 14, 14, cadence, 1, evaluations=2, stop_on=(), mode=mode)
    if killed:
        with opened(folder, config, Says(bowl)) as run:
            train(run, killed)
    with opened(folder, config, Says(bowl)) as run:
        run.advance(60)
    assert kept_steps(folder) == steps


def test_advance_returns_at_pauses(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder, replace(CONFIG, pauses=(2, 5))) as run:
        for step in (2, 5):
            assert run.advance(60) is None
            assert run.step == step
        assert end_of(run) == ("completed", 7)


def test_suspended_by_a_rule_it_is_stopped(tmp_path: Path, opened: Open) -> None:
    folder = TrialFolder(tmp_path / "t")
    with opened(folder) as run:
        train(run, 2)
        assert run.suspend("asha", "asha") == Outcome("stopped", 2, "asha", rule="asha")
    assert kept_steps(folder) == [2]
    assert recorded(folder).rule == "asha"


# Checkpoints by time.

BY_TIME = RunConfig(14, 14, 14, 0, 9, evaluations=2, stop_on=(), checkpoint_s=1000.0)


def test_checkpoints_by_time_and_at_the_best_evaluations(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("gansweep.gan.run.time.monotonic", lambda: clock[0])
    folder = TrialFolder(tmp_path / "t")
    with opened(folder, BY_TIME, Says(bowl)) as run:
        train(run, 10)
        assert run._saved_step == 6, "8 and 10 are worse"
        clock[0] = 999.0
        train(run, 1)
        assert run._saved_step == 6
        clock[0] = 1000.0
        train(run, 2)
        run.advance(60)
    assert kept_steps(folder) == [2, 4, 6, 12, 14]


def test_checkpoints_by_time_change_no_number(tmp_path: Path, opened: Open) -> None:
    whole, often = TrialFolder(tmp_path / "whole"), TrialFolder(tmp_path / "often")
    with opened(whole, replace(BY_TIME, checkpoints=14), Says(weights)) as run:
        run.advance(60)
    config = replace(BY_TIME, checkpoint_s=1e-9)
    with opened(often, config, Says(weights)) as run:
        train(run, 5)
        run._opened.close()  # killed
    assert kept_steps(often)[-1] == 5
    with opened(often, config, Says(weights)) as run:
        run.advance(60)
    assert kept(often) == kept(whole)


@pytest.mark.parametrize("checkpoints", [0, 100])
def test_a_run_that_pauses_has_a_checkpoint_and_all_its_records(tmp_path: Path, opened: Open, checkpoints: int) -> None:
    folder = TrialFolder(tmp_path / "t")
    config = replace(BY_TIME, metrics=1, checkpoints=checkpoints, pauses=(5,))
    with opened(folder, config, Says(dies)) as run:
        run.advance(60)
        assert kept_steps(folder)[-1] == 5
        assert journal.read(folder.journal)[-1].step == 5
