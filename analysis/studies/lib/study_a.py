"""Claims A1 to A5: two-stage training (sweep study-a).

G has one or two updates per step; D is whole from the start or grown by a block; in the control it only gets a new
head.

A2 compares grown and direct runs with 2 updates of G, at the same steps. A5 counts the pairs of all arms, the control
included; a loss is flat if it changes by less than 25 %.
"""

from itertools import pairwise

from analysis.studies.lib.rules import MARGIN, finding, greater, less, no_effect
from analysis.studies.lib.runs import GROWTH, LOSSES, averaged, log_ratios, logs, quotient
from analysis.studies.lib.statistics import ratio, wilson

UPDATES, ADDS = "training.generator.updates", "model.discriminator.growth.adds"
NEAR = (100, 300)  # steps after the growth, for A2
BEFORE = 200
FLAT, FALL = 0.25, 0.8


def claims(sweeps):
    runs = sweeps["study-a"]
    direct, block, head = ({u: arm(runs, kind, u) for u in (1, 2)} for kind in ("direct", "block", "head"))
    return {
        "A1": rougher("direct training is {} times as rough as in two stages", direct, block),
        "A2": kink(direct[2], block[2], head[2]),
        "A3": updates(direct, block),
        "A4": past_convergence(block[2]),
        "A5": flat_losses([run for kind in (direct, block, head) for arm in kind.values() for run in arm]),
    }


def arm(runs, kind, updates):
    """Return the arm of a run. Direct runs count once per seed, also those that set an unused growth option."""
    runs = [run for run in runs if run.get(UPDATES) == updates]
    direct = {run.seed: run for run in runs if run.get(GROWTH) is None}
    grown = [run for run in runs if run.get(GROWTH) is not None and run.get(ADDS) == kind]
    return list(direct.values()) if kind == "direct" else grown


def rougher(sentence, over, under):
    pairs = (log_ratios(over[key], under[key], lambda run: run.roughness()) for key in over)
    found = ratio(averaged(*pairs).values())
    return finding(sentence.format(found), greater(found, 1, MARGIN), found)


def updates(direct, block):
    one, two = ({"direct": direct[u], "block": block[u]} for u in (1, 2))
    return rougher("training is {} times as rough with one update of G as with two", one, two)


def kink(direct, block, head):
    found, control = (ratio(fall(grown, direct).values()) for grown in (block, head))
    beside = f"; with a new head alone {control}" if control.n else ""
    text = f"after the growth D's loss is {found} of what it was, relative to direct training{beside}"
    return finding(text, less(found, 1, 0.8), found)


def fall(grown, direct):
    """Return seed → log of the ratio of D's loss after to before the growth, relative to the direct runs."""
    at = next((run.get(GROWTH) for run in grown), None)
    if at is None:
        return {}

    def change(run):
        return quotient(run.mean("loss_d", at + NEAR[0], at + NEAR[1]), run.mean("loss_d", at - BEFORE, at))

    return log_ratios(grown, direct, change)


def past_convergence(grown):
    found = ratio(logs(grown, lambda run: quotient(run.fd(1), run.fd(0.75))).values())
    return finding(f"FD at the end is {found} of that at 75 %", no_effect(found), found)


def flat_losses(runs):
    """Decide A5 over all runs; the number of seeds is that of one arm."""
    falls = [fell for run in runs for fell in flat_quarters(run)]
    found = wilson(sum(falls), len(falls))
    text = f"FD fell by a fifth or more over {sum(falls)} of {len(falls)} pairs of quarters with flat losses, {found}"
    return finding(text, greater(found, 0.1, 0.1), found, len({run.seed for run in runs}))


def flat_quarters(run):
    """Return, for each pair of quarters with flat losses, whether FD fell."""
    quarters = [(n * run.steps / 4, (n + 1) * run.steps / 4) for n in range(4)]
    for (begin, middle), (_, end) in pairwise(quarters):
        means = [(run.mean(metric, begin, middle), run.mean(metric, middle, end)) for metric in LOSSES]
        if all(abs(after - before) < FLAT * abs(before) for before, after in means):
            yield run.fd(end / run.steps) <= FALL * run.fd(middle / run.steps)
