"""Draw ten held-out runs about which the tag and the lookers disagree: docs/verdicts/disagreements.webp.

    python -m analysis.verdicts.draw_disagreements

Five failing runs that carry no failure tag, and five sound ones that carry one, in turn from the sets, by a fixed seed.
It prints the table of docs/verdicts.md.
"""

from itertools import chain, zip_longest

import numpy as np
import pandas as pd

from analysis.features.lib import sheets
from analysis.verdicts.draw_sheets import framed
from analysis.verdicts.lib import looks
from analysis.verdicts.lib.records import recorded, runs_of
from analysis.verdicts.lib.sets import SETS
from analysis.verdicts.measure_tags import ROOT, history
from gansweep import FAILURES, Judge

PICTURE = ROOT / "docs" / "verdicts" / "disagreements.webp"
EACH, ENLARGED, ACROSS = 5, 2, 2


def chosen(table):
    """Return EACH rows of each kind of disagreement, in turn from the sets."""
    failed = table["tag"].isin(FAILURES)
    rows = []
    for which in (~table["sound"] & ~failed, table["sound"] & failed):
        of_sets = [one.sample(frac=1, random_state=0).itertuples() for _, one in table[which].groupby("set")]
        rows += [row for row in chain(*zip_longest(*of_sets)) if row][:EACH]
    return rows


def grids(name):
    """Return run → its grid (36, C, 32, 32), of a data set."""
    found = {}
    for batch in (one.name for one in SETS.values() if one.of == name):
        if (path := looks.RESULTS / f"fourth_{batch}.npz").exists():
            found |= zip((run["id"] for run in recorded(batch)), np.load(path)["samples"], strict=True)
    return found


if __name__ == "__main__":
    table = pd.read_csv(looks.RESULTS / "tags.csv")
    panels, lines = [], ["| | set | by eye | the tag, and its reason |", "|---|---|---|---|"]
    for number, row in enumerate(chosen(table), 1):
        run = next(run for run, _ in runs_of(row.set) if run["id"] == row.run)
        verdict = Judge().conclude(history(run, SETS[row.set].features))[0]
        lines.append(f"| {number} | {row.set} | {row.label} | {verdict.reason} |")
        grid = sheets.grid(framed(grids(row.set)[row.run]), ENLARGED)
        panels.append(sheets.panel(f"{number} ", {f"by eye {row.label}, tag {row.tag.replace('_', ' ')}": grid}))
    PICTURE.parent.mkdir(exist_ok=True)
    sheets.joined(panels, ACROSS).save(PICTURE, quality=80)
    print("\n".join(lines))
