"""Trials of a running sweep; an adaptive search adds trials as results arrive. Does not load Ray."""

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
    """Trials of a sweep, including those that an adaptive search suggests.

    Suggestion n depends on the seed, on n, and on the results of suggestions 0 … n − parallel, in that order. It is
    made once the trials of these suggestions have ended. A sweep that is killed and continued therefore makes the same
    suggestions.

    Args:
        plan: Current plan, which has been written to the sweep's folder. The caller holds the sweep's lock.
        home: Home folder.
    """

    def __init__(self, plan: Plan, home: Home) -> None:
        self.plan, self.home = plan, home
        self._resolver = Resolver(plan.sweep, home, plan.codes)
        self._ended = {p.trial.id for p in plan.trials if p.finished}
        self._results: list[Result] = []  # known results, by number of the suggestion

    def bounds(self) -> tuple[PlannedTrial, ...]:
        """Return trials with the search's extreme values, which no later suggestion exceeds; () if none follows."""
        search = self.plan.sweep.method
        if not isinstance(search, AdaptiveSearch) or not self.plan.to_come:
            return ()
        return unique(self._resolver.trials(search.extreme_values()))

    def ended(self, trial_id: str) -> tuple[PlannedTrial, ...]:
        """Note the end of a trial, and return the new trials that are suggested as a consequence (see `suggest`).

        A trial that was interrupted has not ended, so that nothing is suggested.
        """
        recorded = outcome.read(self.plan.folder.trial(trial_id))
        if recorded is None or recorded.kind == "interrupted":
            return ()
        self._ended.add(trial_id)
        return self.suggest()

    def suggest(self) -> tuple[PlannedTrial, ...]:
        """Record new suggestions, add their trials to the plan, and return those of the trials that are not finished.

        There are no suggestions while the search waits for results, if it is complete, or if it is not adaptive.
        """
        search, new = self.plan.sweep.method, []
        while isinstance(search, AdaptiveSearch) and self._may_suggest(search):
            number = len(self.plan.suggested)
            results, running = self._results, [s.varied for s in self.plan.suggested[len(self._results) :]]
            new += self._add(search.suggest(number, results, running))
        return tuple(new)

    def _may_suggest(self, search: AdaptiveSearch) -> bool:
        """Whether there is a next suggestion and all results that it depends on are known. If so, reads the results."""
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
        """Return the result of a suggestion: the median score of its replicates.

        If the scheduler ended any of them, Result.cut is the earliest point at which it did.
        """
        ranking = self.plan.ranking
        folders = [(p, self.plan.folder.trial(p.trial.id)) for p in suggestion.trials]
        scores = [ranking.final(folder) for _, folder in folders]
        ends = [(p, outcome.read(folder)) for p, folder in folders]
        cuts = [1000 * end.step // p.trial.steps for p, end in ends if end and end.rule in SCHEDULERS]
        return Result(suggestion.varied, median(scores), min(cuts, default=None))
