"""Planted relapses and recoveries, and how many evaluations pass until the tag reports them.

A relapse is a cause of failure planted in a healthy run (analysis/detectors/plant_dynamics.py). A recovery is made of
such records: after BROKEN evaluations of the relapse follow those of the undisturbed run of the same seed, as if its
weights had been put back.
"""

import numpy as np

from analysis.detectors.lib.benchmark import runs
from gansweep import FAILURES, History, Judge

BROKEN, WITHIN = 5, 3  # evaluations
RECOVERABLE = ("noise_burst", "rate_spike")  # a NaN ends a run


def delays():
    """Return "relapses" and "recoveries" → a delay in evaluations per run; None where it was not reported."""
    found = {run["source"] + run["id"]: run for run in runs("dynamics")}
    planted = [run for run in found.values() if run["settings"]["step"]]
    recoverable = [run for run in planted if run["settings"]["plant"] in RECOVERABLE]
    return {
        "relapses": [reported(run["history"], run["settings"]["step"], failing=True) for run in planted],
        "recoveries": [recovery(run, found[control(run)]) for run in recoverable],
    }


def control(run):
    return run["source"] + f"control-{run['id'].rpartition('-')[2]}"


def reported(history, step, *, failing):
    """Return how many evaluations after a step the tag is a failure, or is none; None where it never is."""
    later = [int(at) for at in history.evaluations() if at > step]
    tags = [Judge().conclude(history.until(at))[0].kind for at in later]
    return next((number for number, tag in enumerate(tags, 1) if (tag in FAILURES) == failing), None)


def recovery(broken, whole):
    """Return the delay of a recovery that is put together of two runs with the same evaluations."""
    before, after = broken["history"], whole["history"]
    steps = after.evaluations()
    back = int(steps[np.searchsorted(steps, broken["settings"]["step"], "right") + BROKEN - 1])
    parts = [(before, lambda step: step <= back), (after, lambda step: step > back)]
    points = [
        (step, {name: value})
        for history, taken in parts
        for name, series in history.series.items()
        for step, value in series
        if taken(step)
    ]
    points.sort(key=lambda point: point[0])
    return reported(History.of(points, after.budget, compared=True), back, failing=False)
