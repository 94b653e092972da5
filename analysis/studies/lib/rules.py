"""How measurements decide claims, as studies.yaml words it. Pure functions.

Where a value lies on both sides of a rule (an interval of a ratio between 1 and 1.25, for A1), the answer that the rule
names first counts: holds. Without an interval a rule that asks for one is undecided; so is one that
counts fewer than three runs.
"""

from dataclasses import dataclass

from analysis.studies.lib.statistics import NOTHING, Interval

HOLDS, NOT, UNDECIDED = "holds", "does not hold", "undecided"
MARGIN = 1.25  # a factor that would not matter, fixed before the runs
LEAST = 3  # runs, of a rule that counts them


@dataclass(frozen=True)
class Finding:
    """measured: a sentence. seeds: of the statistic, letters in E; with none, nothing was run."""

    measured: str = "not run"
    verdict: str = UNDECIDED
    interval: Interval = NOTHING
    seeds: int = 0


def finding(measured, verdict, interval=NOTHING, seeds=None):
    """Of the interval's seeds, where no number is given."""
    seeds = interval.n if seeds is None else seeds
    return Finding(measured, verdict, interval, seeds) if seeds else Finding()


def decided(holds, fails):
    """The first that is true."""
    return HOLDS if holds else NOT if fails else UNDECIDED


def greater(interval, holds_above, fails_below):
    """Holds where it lies above the one, does not hold where it lies below the other."""
    return decided(interval.above(holds_above), interval.below(fails_below))


def less(interval, holds_below, fails_above):
    """The same, downwards."""
    return decided(interval.below(holds_below), interval.above(fails_above))


def no_effect(interval):
    """Of a ratio: wholly within 1/1.25 to 1.25, or wholly outside."""
    outside = interval.above(MARGIN) or interval.below(1 / MARGIN)
    return decided(interval.above(1 / MARGIN) and interval.below(MARGIN), outside)


def so_many(hits, of):
    """4 of 5 or 3 of 3 hold, 1 of 5 or 0 of 3 do not; of another number at least .8, at most .2."""
    return decided(of >= LEAST and 10 * hits >= 8 * of, of >= LEAST and 10 * hits <= 2 * of)
