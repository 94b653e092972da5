"""Write the tables of docs/features.md from the records in results/.

python -m analysis.features.write_tables
"""

from pathlib import Path

import pandas as pd

from analysis.features import agree
from analysis.features.lib.markdown import code, head, line
from analysis.features.lib.names import FRECHET, OF_PIXELS, PIXELS, REAL, SETS
from gansweep import SAMPLE_METRICS

CSV = Path(__file__).with_name("results") / "degradations.csv"
PAGE = Path(__file__).parents[2] / "docs" / "features.md"
LABELS = {**{one.name: one.label for one in SAMPLE_METRICS}, FRECHET: "Fréchet distance"}
SEES, WEAKLY, WRONGLY = 0.9, 0.75, 0.25  # limits of AUC: docs/features.md
RELATIVE = (FRECHET, "density", "coverage", "precision", "recall")  # as coefficients of variation
ABSOLUTE = ("ndb", "near_duplicates")  # as mean and standard deviation: real images have almost none


def tables(rows):
    """Return name of a marker of the document → its content."""
    measured = rows[rows["embedding"] != PIXELS]
    found = {}
    for name in [name for name in SETS if name in set(rows["set"])]:
        here = measured[measured["set"] == name]
        found[f"separation on {name}"] = f"{separation(here)}\n\n{others(here)}"
    return {**found, "pixels": pixels(rows[rows["embedding"] == PIXELS]), "noise": noise(measured)}


def separation(rows):
    """Tabulate the AUC of the Fréchet distance: degradations by embeddings, one value a number of images."""
    rows = rows[(rows["draws"] != REAL) & (rows["metric"] == FRECHET)]
    embeddings = list(dict.fromkeys(rows["embedding"]))
    lines = [head(f"{LABELS[FRECHET]}, {counts(rows)} images", *map(code, embeddings))]
    for kind, of_kind in rows.groupby("draws", sort=False):
        cells = [", ".join(map(shown, of_kind[of_kind["embedding"] == one]["auc"])) for one in embeddings]
        lines.append(line(code(kind), *cells))
    return "\n".join(lines)


def others(rows):
    """Tabulate what is seen by other metrics alone, by none, and wrongly, for each embedding."""
    lines = [head("embedding", "seen by other metrics only", "seen by none", "ranked wrongly")]
    degraded, fewest = rows[rows["draws"] != REAL], rows["samples"].min()
    for embedding, all_sizes in degraded.groupby("embedding", sort=False):
        found = {"others": [], "none": [], "wrong": []}
        for kind, of_kind in all_sizes.groupby("draws", sort=False):
            few = of_kind[of_kind["samples"] == fewest].set_index("metric")["auc"]
            best = few.drop(FRECHET).idxmax()
            if few[FRECHET] < SEES:
                seen = few[best] >= SEES
                found["others" if seen else "none"].append(f"{code(kind)} ({word(best)} {number(few[best])})")
            wrong = of_kind.groupby("metric", sort=False)["auc"].max()
            found["wrong"] += [f"{code(kind)} ({word(m)} {number(a)})" for m, a in wrong[wrong <= WRONGLY].items()]
        lines.append(line(code(embedding), *(", ".join(cell) or "–" for cell in found.values())))
    return "\n".join(lines)


def pixels(rows):
    """Tabulate the AUC of metrics that need no embedding at the smaller number of images: degradations by sets."""
    rows = rows[(rows["draws"] != REAL) & (rows["samples"] < 1_000)]
    sets = [name for name in SETS if name in set(rows["set"])]
    lines = [head(", ".join(map(word, OF_PIXELS)), *sets)]
    kinds = list(dict.fromkeys(rows.sort_values("set")["draws"]))
    for kind in kinds:
        of_kind = rows[rows["draws"] == kind].set_index(["set", "metric"])["auc"]
        cells = [[shown(of_kind[name, m]) for m in OF_PIXELS] if name in of_kind.index else ["–"] for name in sets]
        lines.append(line(code(kind), *map(", ".join, cells)))
    return "\n".join(lines)


def noise(rows):
    """Tabulate the variation of metrics between draws of real images."""
    rows = rows[rows["draws"] == REAL]
    lines = [head("set", "embedding", "images", *map(word, (*RELATIVE, *ABSOLUTE)))]
    for name in [name for name in SETS if name in set(rows["set"])]:
        for (embedding, samples), one in rows[rows["set"] == name].groupby(["embedding", "samples"], sort=False):
            of = one.set_index("metric")
            cells = [f"{100 * of['sd'][m] / of['mean'][m]:.1f} %" for m in RELATIVE]
            cells += [f"{of['mean'][m]:.3f} ± {of['sd'][m]:.3f}" for m in ABSOLUTE]
            lines.append(line(name, code(embedding), f"{samples:,}", *cells))
    return "\n".join(lines)


def counts(rows):
    return " and ".join(f"{count:,}" for count in sorted(set(rows["samples"])))


def shown(auc):
    """Format an AUC: bold if the metric sees the degradation, with a question mark if it is blind to it."""
    if auc >= SEES:
        return f"**{number(auc)}**"
    return number(auc) if auc >= WEAKLY else f"{number(auc)} !" if auc <= WRONGLY else f"{number(auc)} ?"


def number(auc):
    """Format to two digits; what is below a limit stays below it."""
    cut = int(100 * auc + 1e-9) / 100
    return f"{cut:.2f}".removeprefix("0")


def word(metric):
    return LABELS[metric]


def written(text, content):
    """Return the document with each content between its markers. Raises ValueError for a marker that it lacks."""
    for name, table in content.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in text:
            raise ValueError(f"{PAGE}: lacks {begin}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    content = {**tables(pd.read_csv(CSV)), **agree.tables(*agree.read())}
    PAGE.write_text(written(PAGE.read_text(), content))
