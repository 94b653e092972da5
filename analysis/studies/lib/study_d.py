"""Claims D1 to D6: beta1 0.9 against 0.5, and proposed cures (sweeps study-d and study-d-cures).

For D2 the loss is smoothed by a moving average over 5 parts, fewer at the ends, which gives 50 values; the largest must
be in the 2nd to 35th part. If it occurs twice, the first counts.
"""

from itertools import pairwise

import numpy as np

from analysis.studies.lib.rules import by_count, finding, less
from analysis.studies.lib.runs import chosen, logs, quotient
from analysis.studies.lib.statistics import ratio

PARTS, SMOOTH = 50, 5
TURN = 0.7  # the largest loss of G must come before this share of the run
FALL = 0.9
BETA = "training.beta1"
CURES = {
    "D4": ("a learning rate of 5e-5 for D", {"training.discriminator.learning_rate": 5e-5}),
    "D5": ("32 maps in G and 8 in D", {"model.generator.feature_maps": 32, "model.discriminator.feature_maps": 8}),
}
CRITICS = ("wasserstein_clip", "wasserstein_gp")


def claims(sweeps):
    high, low = (chosen(sweeps["study-d"], {BETA: beta}) for beta in (0.9, 0.5))
    cures = chosen(sweeps["study-d-cures"], {BETA: 0.9})
    plain = [run for run in cures if run.get("training.loss") not in CRITICS]
    critics = [run for run in cures if run.get("training.loss") in CRITICS]
    found = {"D1": dominated(high), "D2": turns(low), "D3": rises(low)}
    found |= {claim: cured(name, chosen(plain, arm), low) for claim, (name, arm) in CURES.items()}
    return found | {"D6": cured("the Wasserstein loss", critics, low)}


def dominated(high):
    fail = [run for run in high if run.fails]
    apart = [run for run in high if last_fifth(run, "loss_d") < 0.3 and last_fifth(run, "loss_g") > 3]
    both = sum(run in apart for run in fail)
    text = f"{both} of {len(high)} runs fail with D far ahead ({len(fail)} fail, {len(apart)} have D far ahead)"
    return finding(text, by_count(both, len(high)), seeds=len(high))


def last_fifth(run, metric):
    return run.mean(metric, 0.8 * run.steps, run.steps)


def turns(low):
    sound, turned = [run for run in low if not run.fails], [run for run in low if turn(run)]
    both = sum(run in turned for run in sound)
    text = f"{both} of {len(low)} runs do so ({len(sound)} do not fail, the loss of G turns in {len(turned)})"
    return finding(text, by_count(both, len(low)), seeds=len(low))


def turn(run):
    """Whether the loss of G rises at first, turns, and ends lower."""
    edges = np.linspace(0, run.steps, PARTS + 1)
    means = np.array([run.mean("loss_g", a, b) for a, b in pairwise(edges)])
    smooth = moving_average(means)
    if not np.isfinite(smooth).all():
        return False
    peak = int(smooth.argmax())
    return 0 < peak < TURN * PARTS and bool(smooth[-1] <= FALL * smooth[peak])


def moving_average(values):
    half, ones = np.ones(SMOOTH), np.ones(len(values))
    return np.convolve(values, half, "same") / np.convolve(ones, half, "same")


def rises(low):
    found = ratio(logs(low, lambda run: quotient(run.fd(0.64), run.fd(0.48))).values())
    return finding(f"FD at 64 % of the run is {found} of that at 48 %", less(found, 1, 0.9), found)


def cured(name, runs, low):
    """Decide a cure by twice the median of beta1 0.5; undecided without those runs."""
    bound = 2 * float(np.median([run.fd(1) for run in low])) if low else float("nan")
    good = sum(not run.fails and run.fd(1) < bound for run in runs)
    fds = ", ".join(f"{run.fd(1):.3g}" for run in runs)
    text = f"{good} of {len(runs)} runs with {name} do not fail and end with FD below {bound:.3g} (it is {fds})"
    return finding(text, by_count(good, len(runs)), seeds=len(runs) if low else 0)
