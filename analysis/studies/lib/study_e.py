"""Claims E1 to E6: letters, one at a time (sweep study-e). E1 is study_e1.py, E7 is study_e7.py.

A letter with several seeds counts with their mean. E2 uses the changes of the whole run, and averages Fisher's z over
the learning rates of a letter, since intervals are over letters. Breakdowns (E4) at 20 % and at 80 % of a run count as
well."""

import numpy as np

from analysis.studies.lib.rules import HOLDS, MARGIN, NOT, by_count, decided, finding, less, no_effect
from analysis.studies.lib.runs import averaged, log_ratios, logs, quotient
from analysis.studies.lib.statistics import correlation, ratio
from analysis.studies.lib.study_e1 import arm, earliness, letter
from analysis.studies.lib.study_e7 import refused

SLOW, MIDDLE, FAST = RATES = (1e-4, 5e-4, 1e-3)
EARLY = ("O", "W", "E")


def claims(sweeps):
    arms = {(rate, on): [] for rate in RATES for on in (True, False)}
    for run in sweeps["study-e"]:
        arms.setdefault(arm(run), []).append(run)
    return {
        "E1": earliness(sweeps["study-e-more"]),
        "E2": opposed([run for rate in RATES for run in arms[rate, True]]),
        "E3": smoothest(arms),
        "E4": breakdowns(arms),
        "E5": same_end(arms),
        "E6": past_learning(arms),
        "E7": refused(),
    }


def opposed(runs):
    found = {}
    for run in runs:
        found.setdefault(letter(run), []).append(np.arctanh(moves_together(run)))
    found = correlation([np.mean(z) for z in found.values()])
    return finding(f"the changes of both losses correlate by {found}", less(found, -0.1, -0.1), found)


def moves_together(run):
    """Return the correlation of the losses' changes; NaN if a loss never changes or is not finite."""
    changes = [np.diff(run.points(metric)[1]) for metric in ("loss_d", "loss_g")]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(*changes)[0, 1])


def compared(arms, over, under, quantity):
    """Return the ratio between two learning rates by letter, averaged over augmentation."""
    pairs = (log_ratios(arms[over, on], arms[under, on], quantity, letter) for on in (True, False))
    return ratio(averaged(*pairs).values())


def roughness(run):
    return run.roughness()


def smoothest(arms):
    middle, fast = (compared(arms, rate, SLOW, roughness) for rate in (MIDDLE, FAST))
    verdict = decided(middle.above(1) and fast.above(1), middle.below(MARGIN) or fast.below(MARGIN))
    return finding(f"losses are {middle} times as rough at 5e-4 as at 1e-4, and {fast} times at 1e-3", verdict, fast)


def breakdowns(arms):
    rougher, runs = compared(arms, FAST, MIDDLE, roughness), arms[FAST, True]
    broken = sum(breaks_down(run) for run in runs)
    often = by_count(broken, len(runs))
    verdict = decided(rougher.above(1) and often == HOLDS, rougher.below(1) or often == NOT)
    text = f"losses are {rougher} times as rough at 1e-3 as at 5e-4"
    return finding(f"{text}; quality breaks down in {broken} of {len(runs)} runs", verdict, rougher)


def breaks_down(run):
    steps, values = run.points("fd_ratio")
    if not len(values):
        return False
    best = np.minimum.accumulate(values)
    middle = (steps[1:] >= 0.2 * run.steps) & (steps[1:] <= 0.8 * run.steps)
    return bool((middle & (values[1:] >= 2 * best[:-1]) & (values[1:] >= 4)).any())


def same_end(arms):
    found = compared(arms, MIDDLE, SLOW, lambda run: run.fd(1))
    return finding(f"FD at the end with 5e-4 is {found} of that with 1e-4", no_effect(found), found)


def past_learning(arms):
    """Decide E6. The effect of augmentation is over all letters."""
    early = [[run for run in runs if letter(run) in EARLY] for runs in arms.values()]
    found = ratio(averaged(*(logs(runs, lambda r: quotient(r.fd(1), r.fd(0.75)), letter) for runs in early)).values())
    pairs = (log_ratios(arms[rate, True], arms[rate, False], lambda run: run.fd(1), letter) for rate in RATES)
    helped = ratio(averaged(*pairs).values())
    text = f"FD of O, W and E at the end is {found} of that at 75 %; with augmentation it is {helped} of that without"
    return finding(text, no_effect(found), found)
