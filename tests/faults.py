"""The table of docs/reliability.md, and how to make it anew: in a lab on this machine (tests/support/lab.py: root,
iproute2, postgresql) faults are brought over sweeps, and what they leave is compared with a calm sweep.

python tests/faults.py --repetitions 20 [FAULT …]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDS, PAGE = ROOT / "docs" / "reliability.json", ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- tests/faults.py writes from here -->\n", "<!-- to here -->\n"
Records = Mapping[str, Sequence[Mapping[str, Any]]]


def table(records: Records) -> str:
    """Markdown: a row a fault."""
    head = ("fault", "repetitions", "lost points", "doubled points", "differing weights", "steps trained twice")
    rows = [head, ("---", *["---:"] * (len(head) - 1))]
    for found in records.values():
        sums = [f"{sum(one[key] for one in found):,}" for key in ("lost", "doubled", "weights", "twice")]
        rows.append((found[0]["fault"], str(len(found)), *sums))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(page: str, made: str) -> str:
    """The page with this table in the place of its own."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + made + END + after


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from faults import FAULTS, Trial
    from lab import lab

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; all")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    records = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    with lab(cores=2) as found:
        trial = Trial(found, options.seed)
        for fault in options.faults or FAULTS:
            began, records[fault] = time.monotonic(), []
            for result in trial.repeat(fault, options.repetitions):
                print(f"{time.monotonic() - began:6.0f} s  {result}", flush=True)
                records[fault].append(asdict(result))
                whole = {name: records[name] for name in FAULTS if name in records}
                RECORDS.write_text(json.dumps(whole, indent=1) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), table(json.loads(RECORDS.read_text()))))


if __name__ == "__main__":
    main()
