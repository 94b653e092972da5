"""Records of the natural runs, with the labels that lookers gave them."""

import gzip
import json

from analysis.verdicts.lib import looks
from analysis.verdicts.lib.sets import SETS


def recorded(name):
    """Return the runs of that name in SETS, in the order of their grids."""
    with gzip.open(looks.RESULTS / f"fourth_{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def runs_of(name):
    """Yield each run of a data set that was looked at, further ones included, with its label; None if it diverged.

    Settings that were drawn twice count once.
    """
    seen = set()
    for batch in (one.name for one in SETS.values() if one.of == name):
        if (looks.RESULTS / f"answers_{batch}.csv").exists():
            labels = looks.labels(batch)
            for run in recorded(batch):
                if run["id"] in seen:
                    continue
                seen.add(run["id"])
                yield run, labels.loc[run["id"]] if run["of_d"] else None
