"""Claims B1 to B7: width, latent size, learning rate, separable and deeper networks (sweep study-b; B7: study-b-more).

An arm differs from the baseline in the named setting. The time of a step is the inverse of the median steps_per_s of
the short runs of study-b-times, which ran one after the other on an idle machine. B1's share is not a ratio of arms:
its interval is on the plain scale."""

from analysis.studies.lib.rules import HOLDS, LEAST, MARGIN, Finding, by_count, decided, finding, greater, no_effect
from analysis.studies.lib.runs import chosen, log_ratios, quotient
from analysis.studies.lib.statistics import mean, ratio

COLLAPSE, SEEDS = "mode_collapse", 3
BASE = {
    "model.latent_dim": 100,
    "model.feature_maps": 16,
    "model.generator.separable": False,
    "model.generator.depth": 1,
    "model.discriminator.separable": False,
    "model.discriminator.feature_maps": 16,
    "training.learning_rate": 2e-4,
}
ARMS = {
    "baseline": {},
    "latent": {"model.latent_dim": 25},
    "2e-2": {"training.learning_rate": 2e-2},
    "2e-1": {"training.learning_rate": 2e-1},
    "narrow": {"model.feature_maps": 8, "model.discriminator.feature_maps": 8},
    "separable": {"model.discriminator.separable": True, "model.discriminator.feature_maps": 48},
    "deep": {"model.generator.depth": 2},
}


def claims(sweeps):
    arms, timed, more = (arms_of(sweeps[sweep]) for sweep in ("study-b", "study-b-times", "study-b-more"))
    base = arms["baseline"]
    return {
        "B1": early_gain(base),
        "B2": narrower(arms["narrow"], base, speed(timed["baseline"], timed["narrow"])),
        "B3": rates(arms["2e-2"] + arms["2e-1"], base),
        "B4": noise(arms["2e-1"]),
        "B5": smaller_latent(arms["latent"], base, speed(timed["baseline"], timed["latent"])),
        "B6": parameters(arms["separable"], base),
        "B7": deeper(more["deep"], more["baseline"]),
    }


def arms_of(runs):
    return {name: chosen(runs, BASE | arm) for name, arm in ARMS.items()}


def early_gain(base):
    shares = [quotient(run.fd(0) - run.fd(0.4), run.fd(0) - run.fd(1)) for run in base]
    found = mean(shares)
    return finding(f"of the whole gain {found} falls in the first 40 %", greater(found, 0.5, 0.5), found)


def ends(over, under):
    return ratio(log_ratios(over, under, lambda run: run.fd(1)).values())


def speed(over, under):
    """Return the ratio of the time per step of `over` to that of `under`."""
    return ratio(log_ratios(under, over, lambda run: run.steps_per_s).values())


def narrower(narrow, base, time):
    fd = ends(narrow, base)
    at_8, at_16 = (sum(COLLAPSE in run.verdicts for run in runs) for runs in (narrow, base))
    holds = fd.below(2) and time.above(1.33) and at_8 >= 2 and not at_16
    fails = fd.above(2) or time.below(1.33) or (len(narrow) >= LEAST and not at_8)
    text = f"FD with 8 maps is {fd} of that with 16, a step with 16 takes {time} times as long"
    collapse = f"mode collapse in {at_8} of {len(narrow)} runs at 8, in {at_16} of {len(base)} at 16"
    return finding(f"{text}; {collapse}", decided(holds, fails), fd)


def rates(high, base):
    """Decide B3; undecided unless all six and three runs exist."""
    failing, of_base = ([run for run in runs if run.fails] for runs in (high, base))
    kinds = sorted({run.verdicts[0].replace("_", " ") for run in failing})
    whole = len(high) == 2 * SEEDS and len(base) == SEEDS
    verdict = decided(whole and len(failing) == len(high) and not of_base, whole and len(failing) <= SEEDS)
    text = f"{len(failing)} of {len(high)} runs fail ({', '.join(kinds) or 'in no way'})"
    return finding(f"{text}, {len(of_base)} of {len(base)} at 2e-4", verdict, seeds=min(len(high) // 2, len(base)))


def noise(high):
    """Decide B4. A FD of NaN is not above half of the start: diverged runs count by their verdicts."""
    bad = [run for run in high if run.fd(1) > run.fd(0) / 2 or "dead_generator" in run.verdicts]
    zero = [run for run in high if "divergence" in run.verdicts or any(run.points("loss_d", run.steps / 2)[1] < 0.01)]
    both = sum(run in zero for run in bad)
    text = f"{both} of {len(high)} runs do both: FD stays or G dies in {len(bad)}, D reaches zero loss in {len(zero)}"
    return finding(text, by_count(both, len(high)), seeds=len(high))


def smaller_latent(latent, base, time):
    fd = ends(latent, base)
    same = no_effect(fd)
    verdict = decided(time.above(1.2) and same == HOLDS, time.below(1.2) or fd.above(MARGIN))
    text = f"a step with latent 100 takes {time} times as long as with 25; FD with 25 is {fd} of that with 100"
    return finding(text, verdict, time)


def parameters(separable, base):
    if not separable or not base:
        return Finding()
    first, second = (runs[0].parameters["discriminator"] for runs in (separable, base))
    apart = abs(first / second - 1)
    text = f"{first:,} parameters against {second:,}: {apart:.1%} apart"
    return finding(text, decided(apart < 0.02, True), seeds=len(separable))


def deeper(deep, base):
    found = ends(deep, base)
    return finding(f"FD with a G of depth 2 is {found} of the baseline's", greater(found, 0.8, 1), found)
