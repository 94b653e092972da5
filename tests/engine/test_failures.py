"""What a trial's process gave no result for: an error that was raised, or a death."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayTaskError

from gansweep.engine.failures import TryAgainError, failure_of
from gansweep.engine.queue import InOrder, TrialQueue
from gansweep.records.lock import Locked

TRACE = '\x1b[36mray::GanTrial.train()\x1b[39m (pid=7)\n  File "a.py", line 1, in step\nImportError: no torch'


def raised(error: Exception) -> RayTaskError:
    return RayTaskError("GanTrial.train", TRACE, error)


@pytest.mark.parametrize("error", [raised(ImportError("no torch")), ActorDiedError(raised(ImportError("no torch")))])
def test_an_error_is_told_by_its_last_line_and_its_traceback(error: Exception) -> None:
    found = failure_of(error)
    assert found is not None
    assert found.reason == "ImportError: no torch"
    assert 'ray::GanTrial.train() (pid=7)\n  File "a.py"' in found.trace


@pytest.mark.parametrize("error", [ActorDiedError(), raised(TryAgainError()), RuntimeError("Tune's own"), None])
def test_a_death_is_none(error: Exception | None) -> None:
    assert failure_of(error) is None


def test_the_queue_is_told_what_tune_keeps_of_an_error(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    queue = TrialQueue([], None)  # type: ignore[arg-type]  # nothing is handed out
    queue.raised = lambda trial_id, failure: told.append((trial_id, failure.reason))  # type: ignore[method-assign]
    file = tmp_path / "error.pkl"
    trial = SimpleNamespace(trial_id="1", pickled_error_file=str(file))
    InOrder(queue).on_trial_error(None, trial)  # type: ignore[arg-type]
    file.write_bytes(cloudpickle.dumps(raised(Locked("process 7"))))
    InOrder(queue).on_trial_error(None, trial)  # type: ignore[arg-type]
    assert told == [("1", "ImportError: no torch")]


def test_an_error_that_cannot_be_loaded_here_counts_as_a_death(tmp_path: Path) -> None:
    queue = TrialQueue([], None)  # type: ignore[arg-type]
    file = tmp_path / "error.pkl"
    file.write_bytes(b"cno_such_module\nError\n.")
    InOrder(queue).on_trial_error(None, SimpleNamespace(trial_id="1", pickled_error_file=str(file)))  # type: ignore[arg-type]
    assert not queue._failures
