"""The table of flag_failures.py, one row per setting and value, and the formatting that its figures share."""

import math
from textwrap import fill

import pandas as pd
from scipy.stats import binomtest

from gansweep import FAILURES

FLAGGED = ("mode_collapse", "discriminator_won")  # the latter is a state, which trials of any verdict can have
KINDS = (*FLAGGED, *(kind for kind in FAILURES if kind not in FLAGGED))
MANY = 8  # more numbers, or numbers with more than three digits, were drawn at random: they are grouped by decade


def table(trials):
    """Return a table with one row per setting and value.

    Columns are the number of trials and, for each of KINDS, the number, share and 95 % Wilson interval.
    """
    known = [({"sweep": sweep, **trial.varied}, {v.kind for v in verdicts}) for sweep, trial, verdicts in trials]
    rows = []
    for setting in dict.fromkeys(setting for settings, _ in known for setting in settings):
        pairs = [(settings[setting], kinds) for settings, kinds in known if setting in settings]
        for value, group in grouped(pairs).items():
            row = {"setting": setting, "value": value, "trials": len(group)}
            row |= share("failing", [not kinds.isdisjoint(FAILURES) for kinds in group])
            for kind in KINDS:
                row |= share(kind, [kind in kinds for kinds in group])
            rows.append(row)
    return pd.DataFrame(rows)


def grouped(pairs):
    """Group pairs (value, kinds) by formatted value, or by decade for random draws: name → list of kinds."""
    numbers = {value for value, _ in pairs if isinstance(value, int | float)}
    drawn = len(numbers) > MANY or any(float(f"{number:.3g}") != number for number in numbers)
    groups = {}
    for value, kinds in sorted(pairs, key=lambda pair: (pair[0] if pair[0] in numbers else 0, str(pair[0]))):
        name = written(value)
        if drawn and value in numbers and value > 0:
            decade = math.floor(math.log10(value))
            name = f"1e{decade} … 1e{decade + 1}"
        groups.setdefault(name, []).append(kinds)
    return groups


def share(kind, flags):
    low, high = binomtest(sum(flags), len(flags)).proportion_ci(0.95, "wilson")
    return {kind: sum(flags), f"{kind}_share": sum(flags) / len(flags), f"{kind}_low": low, f"{kind}_high": high}


def show(table):
    """Print the table without the kinds that never occurred. Settings are headings above their values."""
    kinds = ["failing", *(kind for kind in KINDS if kind in FLAGGED or table[kind].any())]
    above, _, below = zip(*(kind.replace("_", " ").rpartition(" ") for kind in kinds), strict=True)
    lines = [["", "", *above], ["", "trials", *below]]
    for setting, rows in table.groupby("setting", sort=False):
        lines.append([setting])
        lines += [
            ["  " + row["value"], row["trials"], *(cell(row, kind) for kind in kinds)] for _, row in rows.iterrows()
        ]
    widths = [max(len(str(line[n])) for line in lines if len(line) > 1) for n in range(len(kinds) + 2)]
    for name, *cells in lines:
        cells = [f"{text:>{width}}" for text, width in zip(cells, widths[1:], strict=False)]
        print("  ".join([f"{name:<{widths[0]}}", *cells]).rstrip())


def cell(row, kind):
    if kind not in ("failing", *FLAGGED):
        return row[kind]
    among, low, high = (100 * row[f"{kind}_{name}"] for name in ("share", "low", "high"))
    return f"{row[kind]}  {among:3.0f} % {f'({low:.0f}–{high:.0f})':>8}"


def written(value):
    """Format a value, as in 1e-4, 0.5, 1e3, 100."""
    if not isinstance(value, float):
        return str(value)
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{value:.3g}" if value == 0 or 0.01 <= abs(value) < 1_000 else f"{float(mantissa):g}e{int(exponent)}"


def words(verdict):
    return f"{verdict.kind.replace('_', ' ')}\nfrom step {verdict.since_step:,}"


def settings(sweep, trial, width):
    parts = (f"{key.partition('.')[2] or key}={written(value)}" for key, value in trial.varied.items())
    return fill(" ".join([f"{sweep}/{trial.id[:8]}", *parts]), width)
