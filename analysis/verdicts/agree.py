"""How far the lookers agree with each other and name the catches rightly: results/agreement.csv.

python -m analysis.verdicts.agree
"""

import pandas as pd

from analysis.verdicts.lib import looks
from analysis.verdicts.lib.sets import SETS

CSV = looks.RESULTS / "agreement.csv"


def table():
    """Return one row per set that was looked at: agreement, and the number of runs with each label."""
    rows = []
    for name in SETS:
        if not (looks.RESULTS / f"answers_{name}.csv").exists():
            continue
        labels = looks.labels(name)
        kinds = {label: int((labels["kind"] == label).sum()) for label in looks.LABELS}
        decided = {"disputed": len(looks.disputed(name)), "failing": int((~labels["sound"]).sum())}
        unsettled = {"unsettled kind": int((labels["kind"] == "").sum())}
        rows.append({"set": name, **looks.agreement(name), **decided, **kinds, **unsettled})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    found = table()
    print(found.set_index("set").T.round(2).to_string())
    found.to_csv(CSV, index=False, float_format="%.4f")
