"""What lookers answered, and the labels that follow from it (PROTOCOL.md, "Labels")."""

from pathlib import Path

import pandas as pd
from sklearn.metrics import cohen_kappa_score

RESULTS = Path(__file__).parents[1] / "results"
LABELS = ("good", "fair", "poor", "collapsed", "dead", "noise")
SOUND = ("good", "fair")
DECIDING = 3  # the look that decides between the others
ORDER = {"good": 3, "fair": 2, "poor": 1, "collapsed": 0, "dead": 0, "noise": 0}
EXPECTED = {"real": "good", "pool of 4": "collapsed", "one image": "dead", "uniform noise": "noise"}


def answers(name):
    """Return one row per answer: look, number, what (a run, or a catch and its number), label.

    Raises:
        ValueError: A label is unknown, or a number has no answer.
    """
    shown, given = (pd.read_csv(RESULTS / f"{kind}_{name}.csv") for kind in ("looks", "answers"))
    found = shown.merge(given, on=["look", "number"], how="left", validate="one_to_one")
    if unknown := sorted({*found["label"].dropna()} - {*LABELS}):
        raise ValueError(f"answers_{name}.csv: {unknown[0]} is no label; they are {', '.join(LABELS)}")
    if len(missing := found[found["label"].isna()]):
        raise ValueError(f"answers_{name}.csv: look {missing['look'].iloc[0]}, {missing['number'].iloc[0]}: no answer")
    return found


def is_catch(what):
    return what.str.rpartition(" ")[0].isin(EXPECTED)


def first(name):
    """Return the first answer about each run in each look: a table of runs × looks."""
    found = answers(name)
    runs = found[~is_catch(found["what"])].drop_duplicates(["look", "what"])
    return runs.pivot(index="what", columns="look", values="label")


def disputed(name):
    """Return the runs that one of the first two looks calls sound and the other failing."""
    table = first(name)
    return [*table.index[table[1].isin(SOUND) != table[2].isin(SOUND)]]


def labels(name):
    """Return one row per run: sound (True or False) and kind, the label that two looks gave; "" without one."""
    table = first(name)
    sound = table.apply(lambda row: row.dropna().isin(SOUND).mean() > 0.5, axis=1)
    kinds = table.apply(lambda row: next((k for k, n in row.value_counts().items() if n >= 2), ""), axis=1)
    return pd.DataFrame({"sound": sound, "kind": kinds})


def agreement(name):
    """Return name → value: κ within and between looks, and the share of catches that were named rightly."""
    found = answers(name)
    catches = found[is_catch(found["what"])]
    right = catches["what"].str.rpartition(" ")[0].map(EXPECTED) == catches["label"]
    both = first(name)[[1, 2]].dropna()
    values = {"runs": len(both), "catches": len(catches), "catches named rightly": right.mean()}
    values |= kappas("between looks", both[1], both[2])
    for look, shown in found[~is_catch(found["what"])].groupby("look"):
        twice = shown[shown.duplicated("what", keep=False)].groupby("what")["label"].agg(["first", "last"])
        if len(twice):
            values |= kappas(f"within look {look}", twice["first"], twice["last"])
    return values


def kappas(name, one, other):
    """Return κ weighted quadratically over the order of quality, over all labels, and of sound against failing."""
    return {
        f"κ {name}, weighted": kappa(one.map(ORDER), other.map(ORDER), weights="quadratic"),
        f"κ {name}, labels": kappa(one, other),
        f"κ {name}, sound": kappa(one.isin(SOUND), other.isin(SOUND)),
    }


def kappa(one, other, weights=None):
    """Return Cohen's κ; NaN where both give one and the same label throughout, of which chance explains everything."""
    return cohen_kappa_score(one, other, weights=weights) if len({*one, *other}) > 1 else float("nan")
