"""Show which settings fail, how often and how, and where D wins: a table, failures.csv and four figures.

    python -m analysis.failures.flag_failures SWEEP... [--home gansweep-home] [--out failures]

Verdicts are computed from the records in MLflow. A trial counts for every failure that holds at its end, and for a
discriminator that has won, which is no failure; undecided trials are left out.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from analysis.failures.lib.figures import class_histograms, losses, strips, where
from analysis.failures.lib.table import KINDS, show, table

from gansweep import Home, UserError, reader_of

PANELS = 9  # failing trials per figure


def judged(home, uri, sweep):
    """Return (sweep, trial, verdicts) of every trial that has begun."""
    found = reader_of(home, sweep, "store", uri).read(verdicts_only=True)
    told = {trial: replace(trial.summary, varied=found.differing(trial)) for trial in found.in_plan_order()}
    return [(sweep, replace(one, summary=summary), found.judge.conclude(one.history)) for one, summary in told.items()]


def examples(failing):
    """Return (sweep, trial, verdict) of at most PANELS trials, balanced between kinds and sorted by kind."""
    waiting = {kind: [] for kind in KINDS}
    for sweep, trial, verdicts in failing:
        for place, verdict in enumerate(verdicts):
            if verdict.is_failure:
                waiting[verdict.kind].append((place, (sweep, trial, verdict)))
    chosen = {}
    for _ in range(PANELS):
        for queue in waiting.values():
            # Prefer trials whose primary verdict is this failure.
            fresh = [(place, one) for place, one in queue if (one[0], one[1].id) not in chosen]
            if fresh and len(chosen) < PANELS:
                _, (sweep, trial, verdict) = min(fresh, key=lambda entry: entry[0])
                chosen[sweep, trial.id] = sweep, trial, verdict
    return sorted(chosen.values(), key=lambda one: KINDS.index(one[2].kind))


def main(given):
    home = Home(given.home.absolute())
    trials = [trial for sweep in dict.fromkeys(given.sweeps) for trial in judged(home, given.tracking_uri, sweep)]
    decided = [trial for trial in trials if trial[2][0].kind != "undecided"]
    failing = [trial for trial in decided if trial[2][0].is_failure]
    if undecided := len(trials) - len(decided):
        print(f"left out: {undecided} of {len(trials)} trials, undecided: too few evaluations", file=sys.stderr)
    if decided:
        given.out.mkdir(parents=True, exist_ok=True)
        found = table(decided)
        found.round(4).to_csv(given.out / "failures.csv", index=False)
        show(found)
        where(found, given.out)
    if not failing:
        print(f"no failing trials among {len(decided)} of {', '.join(given.sweeps)}")
        return
    chosen = examples(failing)
    losses(chosen, given.out)
    here = [one for one in chosen if home.sweep(one[0]).trial(one[1].id).all_samples()]
    if len(here) < len(chosen):
        gone = f"{len(chosen) - len(here)} of {len(chosen)} trials: their samples are not in {home.path}"
        print(f"only losses of {gone}", file=sys.stderr)
    if here:
        class_histograms(home, here, given.out)
        strips(home, here, given.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweeps", nargs="+", metavar="SWEEP")
    parser.add_argument("--home", type=Path, default=os.environ.get("GANSWEEP_HOME", "gansweep-home"))
    parser.add_argument("--tracking-uri", default=os.environ.get("GANSWEEP_TRACKING_URI"))
    parser.add_argument("--out", type=Path, default="failures")
    try:
        main(parser.parse_args())
    except UserError as error:
        sys.exit(str(error))
