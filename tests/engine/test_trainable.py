"""What a trial's process does at the rungs of ASHA, when it is asked to end there, and when GPU memory runs out."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from limits import file_size_limit

from gansweep.engine.board import Board, Row
from gansweep.engine.failures import TryAgainError
from gansweep.engine.progress import Progress
from gansweep.engine.trainable import GanTrial
from gansweep.gan import checkpoint
from gansweep.gan.run import Run
from gansweep.gan.training import Trainer
from gansweep.health.verdict import Verdict
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.packing import Shares
from gansweep.planning.plan import Plan, write_trials
from gansweep.records import journal, lock, outcome
from gansweep.records.layout import TrialFolder
from gansweep.records.outcome import OUT_OF_MEMORY, Outcome
from gansweep.stopwatch import Stopwatch

PlanOf = Callable[..., Plan]
SEARCH = "search={method: grid, objective: {metric: loss_g, mode: min}, over: {training.beta1: [0.5]}}"
ASHA = (SEARCH, "scheduler={method: asha, grace: 0.2, reduction: 3}", "training.steps=10", "cadence.checkpoints=5")
RUNGS = (2, 6)
OUT = torch.OutOfMemoryError("CUDA out of memory.")
ORIGINAL_STEP = Trainer.train_step


def trial_of(plan: Plan) -> tuple[GanTrial, TrialFolder]:
    """As a driver begins it."""
    write_trials(plan, "", ())
    (job,) = jobs_of(plan)
    return GanTrial(job), plan.folder.trial(job["id"])


def until(trial: GanTrial, step: int) -> dict[str, Any]:
    """The result of the slice that ends at that step."""
    while (result := trial.step())["step"] != step:
        assert not result["done"]
    return result


def ended(folder: TrialFolder) -> Outcome:
    found = outcome.read(folder)
    assert found is not None
    return found


def test_every_slice_ends_at_a_rung(plan_of: PlanOf) -> None:
    trial, _ = trial_of(plan_of(*ASHA))
    for rung in RUNGS:
        assert until(trial, rung)["outcome"] == "running"
    assert until(trial, 10)["outcome"] == "completed"


POOR = Verdict("poor", 1, "poor since step 1")
IMBALANCE = Verdict("imbalance", 1, "imbalance since step 1")
D_WON = Verdict("discriminator_won", 2, "discriminator won since step 2")


@pytest.mark.parametrize(
    ("verdicts", "tag", "states"),
    [
        ((POOR, D_WON), "poor", [("discriminator_won", 2)]),
        ((D_WON, IMBALANCE), None, [("discriminator_won", 2)]),
        ((IMBALANCE,), None, []),
        ((), None, []),
    ],
)
def test_states_are_shown_beside_the_tag_while_it_trains_and_never_in_place_of_it(
    plan_of: PlanOf, verdicts: tuple[Verdict, ...], tag: str | None, states: list[tuple[str, int]]
) -> None:
    plan = plan_of(*ASHA)
    trial, folder = trial_of(plan)
    until(trial, 2)
    assert trial._run is not None
    trial._run.verdicts = verdicts
    board = Board.of(plan, 1, 0.0)
    progress = Progress(board, Silent(), Stopwatch(), lambda: None, lambda *_: None, lambda _: None)
    progress.on_trial_result(1, [], None, trial._result())
    row = board.rows[folder.id]
    assert (row.outcome, row.verdict, row.states) == ("running", tag, states)


class Silent:
    """A view that shows nothing."""

    def changed(self, row: Row) -> None:
        pass

    def notice(self, text: str) -> None:
        raise AssertionError(text)


@pytest.mark.parametrize("rung", RUNGS)
def test_one_that_asha_ends_is_stopped_where_it_is_and_has_no_verdict(plan_of: PlanOf, rung: int) -> None:
    trial, folder = trial_of(plan_of(*ASHA))
    until(trial, rung)
    folder.stop.write_text("asha")
    result = trial.step()
    assert (result["done"], result["outcome"], result["reason"], result["verdict"]) == (True, "stopped", "asha", None)
    found = ended(folder)
    assert (found.kind, found.step, found.reason, found.rule, found.verdicts) == ("stopped", rung, "asha", "asha", ())
    assert int(folder.all_checkpoints()[-1].stem) == rung


def test_it_counts_as_finished_under_asha_and_continues_under_another_scheduler(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    whole, whole_folder = trial_of(plan_of(*ASHA, "scheduler=fifo"))
    until(whole, 10)
    records = [(r.step, r.values["loss_g"]) for r in journal.read(whole_folder.journal)]
    weights, _ = checkpoint.load(whole_folder.checkpoint(10))
    whole_folder.path.rename(tmp_path / "whole")

    trial, folder = trial_of(plan_of(*ASHA))
    until(trial, 6)
    folder.stop.write_text("asha")
    trial.step()
    assert plan_of(*ASHA).pending == ()
    assert plan_of(*ASHA, "training.steps=20").pending == (), "more steps do not undo what asha decided"
    fifo = plan_of(*ASHA, "scheduler=fifo")
    assert len(fifo.pending) == 1
    trial, _ = trial_of(fifo)
    assert not folder.stop.exists()
    assert until(trial, 10)["outcome"] == "completed"
    assert [(r.step, r.values["loss_g"]) for r in journal.read(folder.journal)] == records
    assert all((tensor == weights[name]).all() for name, tensor in checkpoint.load(folder.checkpoint(10))[0].items())


def test_killed_at_a_rung_it_asks_again_before_it_goes_on(plan_of: PlanOf) -> None:
    plan = plan_of(*ASHA, "cadence.checkpoints=2")
    trial, folder = trial_of(plan)
    until(trial, 6)
    trial._close()  # killed: nothing is written
    trial, _ = trial_of(plan)
    assert (trial.step()["step"], ended_or_none(folder)) == (6, None)
    assert trial.step()["step"] > 6


def ended_or_none(folder: TrialFolder) -> str | None:
    found = outcome.read(folder)
    return found.kind if found else None


def test_a_request_of_the_user_is_no_decision_of_asha(plan_of: PlanOf) -> None:
    trial, folder = trial_of(plan_of(*ASHA))
    until(trial, 2)
    folder.stop.touch()
    assert trial.step()["outcome"] == "interrupted"
    assert ended(folder).rule == ""


@pytest.fixture
def on_gpu(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[GanTrial, TrialFolder]]:
    """A trial that believes in its share of a GPU, and runs out of memory at a step."""
    plan = plan_of("training.steps=6", "cadence.checkpoints=2")

    def begin(gpus: float, out_at: int | None, error: Exception = OUT) -> tuple[GanTrial, TrialFolder]:
        monkeypatch.setattr(Job, "set_up_device", lambda job: torch.device("cpu"))
        original = ORIGINAL_STEP

        def train_step(trainer: Trainer) -> None:
            if trainer.step == out_at:
                raise type(error)(*error.args)  # a fresh one: an error holds the frames that it came through
            original(trainer)

        monkeypatch.setattr(Trainer, "train_step", train_step)
        write_trials(plan, "", ())
        (job,) = jobs_of(plan, Shares.equal(gpus))
        return GanTrial(job), plan.folder.trial(job["id"])

    return begin


def test_out_of_memory_beside_others_it_lets_go_of_its_folder_and_is_not_over(
    on_gpu: Callable[..., tuple[GanTrial, TrialFolder]],
) -> None:
    trial, folder = on_gpu(0.5, 5)
    result = trial.step()
    assert (result["done"], result["crowded"], result["outcome"], result["step"]) == (True, True, "pending", 5)
    assert outcome.read(folder) is None, "it goes on: nothing has ended"
    assert int(folder.all_checkpoints()[-1].stem) == 4, "a step that broke off half-way is not kept"
    assert not lock.is_held(folder.lock)
    trial.cleanup()
    assert int(folder.all_checkpoints()[-1].stem) == 4
    again, _ = on_gpu(1.0, None)
    assert until(again, 6)["outcome"] == "completed"


@pytest.mark.parametrize("gpus", [1.0, 2.0])
def test_alone_on_a_gpu_it_has_crashed_for_want_of_memory(
    on_gpu: Callable[..., tuple[GanTrial, TrialFolder]], gpus: float
) -> None:
    trial, folder = on_gpu(gpus, 5)
    result = trial.step()
    assert (result["done"], result["crowded"], result["outcome"], result["rule"]) == (
        True, False, "crashed", OUT_OF_MEMORY,
    )  # fmt: skip
    found = ended(folder)
    assert (found.kind, found.step, found.rule) == ("crashed", 5, OUT_OF_MEMORY)
    assert found.reason == "out of GPU memory: OutOfMemoryError: CUDA out of memory."
    assert not found.finished(6, (), {}), "the next run tries it again"
    assert "OutOfMemoryError" in folder.traceback.read_text()


def test_out_of_memory_while_it_opens_is_the_same(
    on_gpu: Callable[..., tuple[GanTrial, TrialFolder]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, folder = on_gpu(0.25, None)

    def no_room(self: Trainer, *_: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(Trainer, "__init__", no_room)
    result = trial.step()
    assert (result["done"], result["crowded"]) == (True, True)
    assert not lock.is_held(folder.lock)
    trial, folder = on_gpu(1.0, None)
    assert trial.step()["rule"] == OUT_OF_MEMORY


@pytest.mark.parametrize("opening", [True, False])
def test_a_lost_context_leads_to_another_process(
    on_gpu: Callable[..., tuple[GanTrial, TrialFolder]], monkeypatch: pytest.MonkeyPatch, opening: bool
) -> None:
    def lost(self: Trainer, *_: object) -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    trial, folder = on_gpu(0.25, None)
    monkeypatch.setattr(Trainer, "__init__" if opening else "train_step", lost)
    with pytest.raises(TryAgainError):
        trial.step()
    trial.cleanup()
    assert not lock.is_held(folder.lock)


def test_a_result_names_the_gpu_of_its_process(
    on_gpu: Callable[..., tuple[GanTrial, TrialFolder]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, _ = on_gpu(0.25, None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    first = trial.get_auto_filled_metrics(debug_metrics_only=True)
    assert (first["gpu"], first["pid"]) == ("3", os.getpid())
    assert trial.train()["gpu"] == "3"


def test_another_error_on_a_shared_gpu_is_a_crash_like_any(
    on_gpu: Callable[..., tuple[GanTrial, TrialFolder]],
) -> None:
    trial, folder = on_gpu(0.25, 3, ValueError("no"))
    result = trial.step()
    assert (result["outcome"], result["crowded"], ended(folder).rule) == ("crashed", False, "")


@pytest.mark.parametrize("out_at", [3, None])
def test_a_process_that_waits_for_its_next_trial_holds_nothing_of_the_last(
    on_gpu: Callable[..., tuple[GanTrial, TrialFolder]], monkeypatch: pytest.MonkeyPatch, out_at: int | None
) -> None:
    held: list[weakref.ref[Trainer]] = []
    emptied: list[list[Trainer | None]] = []
    monkeypatch.setattr("gansweep.gan.gpu.release", lambda: emptied.append([ref() for ref in held]))
    open_it = Job.open

    def opened(job: Job, *place: Any) -> Run:
        run = open_it(job, *place)
        held.append(weakref.ref(run._trainer))
        return run

    monkeypatch.setattr(Job, "open", opened)
    trial, _ = on_gpu(0.5, out_at)
    while not trial.step()["done"]:
        pass
    assert emptied == [[None]], "a cache is emptied of what nothing refers to"


@pytest.mark.parametrize("room", [20_000, 0])
def test_a_full_disk_interrupts_it_and_the_numbers_stay_the_same(plan_of: PlanOf, tmp_path: Path, room: int) -> None:
    """Room for a record and none for a checkpoint, or for nothing: it ends at once, names the file, and leaves nothing
    half-written; with room again it ends as if nothing had been."""
    overrides = (*ASHA, "cadence.metrics=1", "cadence.checkpoints=2")
    whole, folder = trial_of(plan_of(*overrides))
    until(whole, 10)
    records = [(r.step, r.values["loss_g"]) for r in journal.read(folder.journal)]
    weights, _ = checkpoint.load(folder.checkpoint(10))
    folder.path.rename(tmp_path / "whole")

    trial, folder = trial_of(plan_of(*overrides))
    until(trial, 2)
    size = folder.journal.stat().st_size
    with file_size_limit(size + room):
        result = trial.step()
    assert (result["done"], result["outcome"]) == (True, "interrupted")
    file = folder.checkpoint(4) if room else folder.journal
    assert result["lack"] == result["reason"]
    assert result["reason"].startswith(f"{file}: exceeds the limit on file sizes; ")
    assert [p.name for p in folder.all_checkpoints()] == [folder.checkpoint(2).name]
    assert not list(folder.path.rglob(".*"))
    assert folder.journal.read_bytes().endswith(b"}\n")
    assert outcome.state(folder, 10) == "interrupted"

    trial, folder = trial_of(plan_of(*overrides))
    assert until(trial, 10)["outcome"] == "completed"
    assert [(r.step, r.values["loss_g"]) for r in journal.read(folder.journal)] == records
    assert all((tensor == weights[name]).all() for name, tensor in checkpoint.load(folder.checkpoint(10))[0].items())


def test_one_whose_sweep_has_ended_is_not_opened(plan_of: PlanOf) -> None:
    plan = plan_of()
    trial, folder = trial_of(plan)
    plan.folder.stop.touch()
    result = trial.step()
    assert (result["done"], result["outcome"], result["crowded"], result["step"]) == (True, "pending", False, 0)
    assert not folder.lock.exists()
