"""Consequences of events of trials for their records and messages."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import Mock

from gansweep.engine.board import Board
from gansweep.engine.events import Events
from gansweep.engine.queue import MAX_RETRIES, TrialQueue
from gansweep.engine.search import Search
from gansweep.planning.packing import ON_CPU
from gansweep.planning.plan import Plan, write_trials
from gansweep.records import outcome
from gansweep.records.layout import Home


def test_a_process_that_always_dies_is_given_up(plan_of: Callable[..., Plan], home: Home) -> None:
    plan = plan_of("replicates=2")
    write_trials(plan, "", ())
    view, board = Mock(), Board.of(plan, 1, 0.0)
    events = Events(Search(plan, home), ON_CPU, board, view, None)
    dying, other = (planned.trial.id for planned in plan.trials)
    queue = TrialQueue([job for job in events.jobs() if job["id"] == dying], events)
    for attempt in range(1 + MAX_RETRIES):
        assert queue.suggest(str(attempt))["id"] == dying
        assert outcome.read(plan.folder.trial(dying)) is None
        queue.on_trial_complete(str(attempt), error=True)
    ended = outcome.read(plan.folder.trial(dying))
    assert ended is not None
    assert (ended.kind, ended.reason) == ("crashed", "its process died 4 times")
    assert outcome.deaths(plan.folder.trial(dying)) == 4
    assert board.rows[dying].outcome == "crashed"
    assert outcome.read(plan.folder.trial(other)) is None
    notices = [call.args[0] for call in view.notice.call_args_list]
    assert notices == [f"{dying}: its process died ({n}×); it continues from its checkpoint" for n in range(1, 5)]
