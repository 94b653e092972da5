"""The trials of a sweep while it runs: an adaptive search grows as results come in. No Ray."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from gansweep.gan.version import TRAINING_VERSION
from gansweep.planning.plan import Plan, Resolver, Suggestion, unique, write_more
from gansweep.planning.trial import PlannedTrial
from gansweep.records import outcome, suggestions
from gansweep.records.layout import Home
from gansweep.sweepfile.schedulers import SCHEDULERS
from gansweep.sweepfile.searches.method import AdaptiveSearch, Result
from gansweep.sweepfile.trials import search_id


class Search:
    """plan: as it stands. The sweep's lock must be held, and its plan be on record.

    Suggestion n depends on the seed, n, and the results of suggestions 0 … n − parallel, in that order; so it waits
    until their trials have ended, and is the same whenever and how often the sweep was killed.
    """

    def __init__(self, plan: Plan, home: Home) -> None:
        self.plan = plan
        self._resolver = Resolver(plan.sweep, home)
        self._ended = {p.trial.id for p in plan.trials if p.finished}
        self._results: list[Result] = []  # by number, as far as they were told

    def bounds(self) -> tuple[PlannedTrial, ...]:
        """Return trials whose settings no later suggestion exceeds."""
        search = self.plan.sweep.method
        if not isinstance(search, AdaptiveSearch) or not self.plan.to_come:
            return ()
        return unique(self._resolver.trials(search.corners()))

    def ended(self, trial_id: str) -> tuple[PlannedTrial, ...]:
        """Call when a trial ends; returns what can be suggested now. One that was only interrupted does not count."""
        recorded = outcome.read(self.plan.folder.trial(trial_id))
        if recorded is None or recorded.kind == "interrupted":
            return ()
        self._ended.add(trial_id)
        return self.suggest()

    def suggest(self) -> tuple[PlannedTrial, ...]:
        """Return new trials to train, recorded and part of the plan; none where the search waits, is over or does not
        adapt."""
        search, new = self.plan.sweep.method, []
        while isinstance(search, AdaptiveSearch) and self._may_suggest(search):
            number = len(self.plan.suggested)
            results, running = self._results, [s.varied for s in self.plan.suggested[len(self._results) :]]
            new += self._add(search.suggest(number, results, running))
        return tuple(new)

    def _may_suggest(self, search: AdaptiveSearch) -> bool:
        """Whether there is a next suggestion and all results that it depends on are there; reads those."""
        number = len(self.plan.suggested)
        needed = self.plan.suggested[: max(0, number - search.parallel + 1)]
        if number >= search.trials or any(p.trial.id not in self._ended for s in needed for p in s.trials):
            return False
        self._results += [self._result(s) for s in needed[len(self._results) :]]
        return True

    def _add(self, varied: dict[str, object]) -> list[PlannedTrial]:
        plan = self.plan
        (trials,) = self._resolver.trials([varied])
        suggestions.append(
            plan.folder.suggestions, search_id(plan.sweep, TRAINING_VERSION), len(plan.suggested), varied
        )
        suggested = (*plan.suggested, Suggestion(varied, trials))
        known = {p.trial.id for p in plan.trials}
        new = [p for p in unique([trials]) if p.trial.id not in known]
        to_come = plan.to_come[len(trials) :]
        self.plan = replace(plan, trials=(*plan.trials, *new), suggested=suggested, to_come=to_come)
        write_more(self.plan, new)
        self._ended |= {p.trial.id for p in new if p.finished}  # of an earlier plan
        return [p for p in new if not p.finished]

    def _result(self, suggestion: Suggestion) -> Result:
        """Return the median over the replicates; cut by the scheduler where one of them was."""
        ranking = self.plan.ranking
        folders = [(p, self.plan.folder.trial(p.trial.id)) for p in suggestion.trials]
        scores = [ranking.final(folder) for _, folder in folders]
        ends = [(p, outcome.read(folder)) for p, folder in folders]
        cuts = [1000 * end.step // p.trial.steps for p, end in ends if end and end.rule in SCHEDULERS]
        return Result(suggestion.varied, median(scores), min(cuts, default=None))
