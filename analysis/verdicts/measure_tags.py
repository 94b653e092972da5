"""Measure how often tags and states are right on the labelled natural runs, held out, and write the tables.

    python -m analysis.verdicts.measure_tags            # held out; writes results/tags.csv and what quotes it
    python -m analysis.verdicts.measure_tags --tuning   # prints the part that thresholds were tuned on

Labels, split and statistic: PROTOCOL.md.
"""

import argparse
import hashlib
import json
import sys

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis.detectors.lib.benchmark import points
from analysis.verdicts.lib import looks
from analysis.verdicts.lib.records import runs_of
from analysis.verdicts.lib.sets import SETS
from analysis.verdicts.lib.turns import WITHIN, delays
from gansweep import FAILURES, History, Judge, run_traits

ROOT = looks.RESULTS.parents[2]
PAGE, BEGIN, END = ROOT / "docs" / "verdicts.md", "<!-- tags -->", "<!-- end of tags -->"
REPORTED = ROOT / "gansweep" / "report" / "accuracy.csv"
TUNING = 77  # of 256
COUNTS, REGIME = 28, 10  # runs on each side with which a set, and a regime, counts
KINDS = {"mode_collapse": "collapsed", "never_took_off": "noise", "dead_generator": "dead"}
WON = "discriminator_won"
LAST = 4  # evaluations within which a tag should not change
FORMER_FAILURES = (*FAILURES, "not_learning", "discriminator_dominance", "discriminator_failure")  # of version 0.1.0
TARGETS = {  # figure → what was aimed at
    "a failure tag is right": "≥ .95 (≥ .85)",
    "failing runs with a failure tag": "≥ .95 (≥ .85)",
    "`healthy` is right": "≥ .90",
    "sound runs called healthy": "≥ .90",
    f"`{WON}` is right": "≥ .90",
    f"`{WON}` is found": "≥ .95",
    "tag unchanged over the last four evaluations": "≥ .95",
    "one tag with five seeds of the evaluation": "≥ .95",
    "full-length runs that are decided": "≥ .95",
}


def part(name, run):
    """Return the part of a run of a set: "tuning", "held-out" or "fresh"."""
    if run["fresh"]:
        return "fresh"
    digest = hashlib.sha256(json.dumps([name, run["settings"]], sort_keys=True).encode()).digest()
    return "tuning" if digest[0] < TUNING else "held-out"


def history(run, features, seed=None):
    """Return the history of a run. seed: Number of the seed of the last five evaluations; None for those of the run."""
    other = {} if seed is None else {values["step"]: values for values in run["seeds"][seed]}
    intact = last_intact(run, seed or 0)
    found = [
        (step, other.get(step, values) | intact.get(step, {}) if "fd_ratio" in values else values)
        for step, values in rows(run)
    ]
    return History.of(found, run["budget"], *run_traits(run["settings"]), compared=features == "classifier")


def last_intact(run, seed):
    """Return step → `intact` at the last five evaluations of a run that was trained without it."""
    if not run["intact"]:
        return {values["step"]: {"intact": values["intact"]} for values in run["seeds"][seed] if "intact" in values}
    if only_grid(run):
        return {values["step"]: {"intact": run["intact"][0][run["budget"]]} for values in run["of_d"]}
    of_seed = [*run["intact"].values()][seed]
    return {step: {"intact": value} for step, value in of_seed.items()}


def only_grid(run):
    """Whether `intact` is known from the grid alone."""
    return [*run["intact"]] == [0]


def rows(run):
    """Return (step, values) of a record in order, collected once for all seeds of its evaluations."""
    if "rows" not in run:
        table = {}
        for step, value in points(run["series"]):
            table.setdefault(step, {}).update(value)
        run["rows"] = sorted(table.items())
    return run["rows"]


def last_tags(judge, whole):
    """Return the tags after the last LAST evaluations, and before them."""
    return [judge.conclude(whole.until(int(step)))[0].kind for step in whole.evaluations()[-LAST - 1 :]]


def judged(name, which):
    """Yield one row per run of a part of a set: label, tag, states and what else is measured."""
    judge, former = Judge(), dict(pd.read_csv(looks.RESULTS / "former_tags.csv").values)
    for run, label in runs_of(name):
        if part(name, run) != which:
            continue
        whole = history(run, SETS[name].features)
        verdicts = judge.conclude(whole)
        coverage = run["series"]["coverage"][1][-3:]
        row = {
            "set": name,
            "run": run["id"],
            "tag": verdicts[0].kind,
            "won": WON in [verdict.kind for verdict in verdicts],
            "changed": len({*last_tags(judge, whole)}) > 1 if "intact" in run["series"] else None,
            "baseline": float(np.median(coverage)) < 0.3,
            "former": former.get(run["id"]),
            "loss": run["settings"].get("training.loss") or "non_saturating",
            "conditional": (run["settings"].get("model.conditioning") or "none") != "none",
        }
        if label is None:
            yield row | {"sound": False, "label": "diverged"}
            continue
        numbers = range(0 if only_grid(run) else len(run["seeds"]))
        seeds = [judge.conclude(history(run, SETS[name].features, number))[0].kind for number in numbers]
        yield row | {
            "sound": bool(label["sound"]),
            "label": label["kind"] or "unsettled",
            "really_won": really_won(run),
            "same": len({*seeds}) == 1 if seeds else None,
        }


def really_won(run):
    """Return whether D separates images that it was never trained on, and is certain, at the last five evaluations."""
    auc, sigma, difference = (np.median([one[k] for one in run["of_d"]]) for k in ("auc", "sigma", "difference"))
    loss = run["settings"].get("training.loss")
    if loss == "relativistic":
        return bool(auc > 0.99 and difference > 0.9)
    return bool(auc > 0.99 and (sigma < 0.1 or loss in ("hinge", "least_squares")))


def statistics(table):
    """Return figure → (hits, of), those of PROTOCOL.md."""
    failing, sound, tag = ~table["sound"], table["sound"], table["tag"]
    failed, known = tag.isin(FAILURES), table["really_won"].notna()
    really = known & table["really_won"].eq(True)
    found = {
        "a failure tag is right": (failing, failed),
        "failing runs with a failure tag": (failed, failing),
        "`healthy` is right": (sound, tag == "healthy"),
        "sound runs called healthy": (tag == "healthy", sound),
    }
    for kind, label in KINDS.items():
        found[f"`{kind}` is right"] = (table["label"] == label, tag == kind)
        found[f"`{kind}` is found"] = (tag == kind, table["label"] == label)
    found |= {
        f"`{WON}` is right": (really, table["won"] & known),
        f"`{WON}` is found": (table["won"], really),
        "tag unchanged over the last four evaluations": (table["changed"].eq(False), table["changed"].notna()),
        "one tag with five seeds of the evaluation": (table["same"].eq(True), table["same"].notna()),
        "full-length runs that are decided": (tag != "undecided", tag.notna()),
    }
    judged_then = table["former"].notna()
    for name, flagged, of in (
        ("version 0.1.0", table["former"].isin(FORMER_FAILURES), failing & judged_then),
        ("coverage below .3", table["baseline"], failing),
    ):
        found |= {f"{name}: a failure is right": (failing, flagged), f"{name}: failing runs found": (flagged, of)}
    then = table["former"] == "healthy"
    found["version 0.1.0: `healthy` is right"] = (sound, then)
    return {name: (int((hit & of).sum()), int(of.sum())) for name, (hit, of) in found.items()}


def balanced(table):
    """Return the mean of two shares: of failing runs with a failure tag, and of sound runs without one."""
    failed = table["tag"].isin(FAILURES)
    return (failed[~table["sound"]].mean() + (~failed)[table["sound"]].mean()) / 2


def low(hits, of):
    """Return the one-sided 95 % Wilson bound of a share."""
    return binomtest(hits, of).proportion_ci(0.9, "wilson").low


def bounded(hits, of):
    """Return a share with its bound, and the counts."""
    return f"{hits / of:.2f} (≥ {int(100 * low(hits, of)) / 100:.2f}), {hits} of {of}" if of else "–"


def counts(table):
    """Whether there are enough failing and sound runs for a set to count."""
    return min(table["sound"].sum(), (~table["sound"]).sum()) >= COUNTS


def figures(which, table):
    """Return a table of figures by set. which: The part."""
    sets = dict([*table.groupby("set", sort=False)])
    heads = [f"{name}, {(~one['sound']).sum()} failing, {one['sound'].sum()} sound" for name, one in sets.items()]
    lines = [f"| {which} | target | {' | '.join(heads)} |", f"|---|---|{'---|' * len(sets)}"]
    found = {name: statistics(one) for name, one in sets.items()}
    for figure in next(iter(found.values())):
        cells = [bounded(*of_set[figure]) for of_set in found.values()]
        of_kind = "≥ .90" if figure.startswith("`") else ""
        lines.append(f"| {figure} | {TARGETS.get(figure, of_kind)} | {' | '.join(cells)} |")
    cells = [f"{balanced(one):.2f}" if one["sound"].any() else "–" for one in sets.values()]
    return [*lines, f"| balanced accuracy of failing against sound | | {' | '.join(cells)} |"]


def crossed(table):
    """Return the confusion of labels and tags, a table by set."""
    lines = []
    for name, one in table.groupby("set", sort=False):
        counted = pd.crosstab(one["label"], one["tag"])
        lines += ["", f"| {name} | {' | '.join(counted)} |", f"|---|{'---|' * counted.shape[1]}"]
        lines += [f"| {label}, by eye | {' | '.join(map(str, row))} |" for label, *row in counted.itertuples()]
    return lines


def turns():
    """Return the sentence of docs/verdicts.md on planted relapses and recoveries."""
    words = []
    for what, found in delays().items():
        soon = sum(delay is not None and delay <= WITHIN for delay in found)
        words.append(f"{soon} of {len(found)} planted {what}")
    return f"Within {WITHIN} evaluations the tag reports {' and '.join(words)}."


def regimes(table):
    """Yield one row per regime and failure tag for reports: runs with that tag, and those of them that are failing.

    A regime is a loss, conditional or not, over the sets that share the embedding.
    """
    shared = table[table["set"].map(lambda name: SETS[name].features == "classifier")]
    for (loss, conditional), one in shared.groupby(["loss", "conditional"]):
        if min(one["sound"].sum(), (~one["sound"]).sum()) < REGIME:
            continue
        for kind, tagged in one[one["tag"].isin(FAILURES)].groupby("tag"):
            failing = int((~tagged["sound"]).sum())
            bound = round(low(failing, len(tagged)), 4)
            names = " ".join(one["set"].unique())
            yield {
                "loss": loss, "conditional": conditional, "sets": names, "held_out": len(one), "verdict": kind,
                "runs": len(tagged), "failing": failing, "bound": bound,
            }  # fmt: skip


def of_part(which):
    """Return the rows of all sets."""
    names = [name for name, one in SETS.items() if name == one.of]
    return pd.DataFrame([row for name in names for row in judged(name, which)])


def write(table, fresh):
    """Write what is held out, and the runs that were looked at and measured after rules were fixed."""
    table.drop(columns=["loss", "conditional"]).to_csv(looks.RESULTS / "tags.csv", index=False)
    pd.DataFrame(regimes(table)).to_csv(REPORTED, index=False)
    lines = [*figures("held out", table), *crossed(table), "", *figures("fresh", fresh), "", turns()]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text("\n".join([f"{before}{BEGIN}", *lines, f"{END}{rest.partition(END)[2]}"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuning", action="store_true", help="the part that thresholds were tuned on")
    which = "tuning" if parser.parse_args().tuning else "held-out"
    table = of_part(which)
    print("\n".join([*figures(which, table), *crossed(table)]))
    for row in table.itertuples():
        if row.sound == (row.tag in FAILURES) or row.changed is True:
            changes = ", changes" if row.changed is True else ""
            print(f"{row.set} {row.run} {row.label}: {row.tag}{changes}", file=sys.stderr)
    if which == "held-out":
        write(table, of_part("fresh"))
