"""Rules that decide claims from measurements, as worded in studies.yaml. Pure functions.

If a value satisfies both sides of a rule (an interval of a ratio between 1 and 1.25, for A1), the answer that the rule
names first counts: holds. A rule that needs an interval is undecided without one, and so is a rule that counts fewer
than three runs.
"""

from dataclasses import dataclass

from analysis.studies.lib.statistics import NOTHING, Interval

HOLDS, NOT, UNDECIDED = "holds", "does not hold", "undecided"
MARGIN = 1.25  # a negligible factor, fixed before the runs
LEAST = 3  # minimum number of runs for a rule that counts them


@dataclass(frozen=True)
class Finding:
    """A decided claim. `measured`: a sentence. `seeds`: number of seeds (in E letters) of the statistic; 0: not run."""

    measured: str = "not run"
    verdict: str = UNDECIDED
    interval: Interval = NOTHING
    seeds: int = 0


def finding(measured, verdict, interval=NOTHING, seeds=None):
    """Return the finding; by default with the number of seeds of the interval."""
    seeds = interval.n if seeds is None else seeds
    return Finding(measured, verdict, interval, seeds) if seeds else Finding()


def decided(holds, fails):
    """Return the answer of the first condition that is true."""
    return HOLDS if holds else NOT if fails else UNDECIDED


def greater(interval, holds_above, fails_below):
    """Return holds if the interval is above `above`, does not hold if it is below `below`."""
    return decided(interval.above(holds_above), interval.below(fails_below))


def less(interval, holds_below, fails_above):
    """Like `greater`, in the other direction."""
    return decided(interval.below(holds_below), interval.above(fails_above))


def no_effect(interval):
    """Decide whether a ratio has no effect: its interval is entirely within 1/1.25 to 1.25, or entirely outside."""
    outside = interval.above(MARGIN) or interval.below(1 / MARGIN)
    return decided(interval.above(1 / MARGIN) and interval.below(MARGIN), outside)


def by_count(hits, of):
    """Decide by counts: 4 of 5 or 3 of 3 hold, 1 of 5 or 0 of 3 do not; for other numbers at least .8, at most .2."""
    return decided(of >= LEAST and 10 * hits >= 8 * of, of >= LEAST and 10 * hits <= 2 * of)
