"""How often the ranking of runs by a metric agrees with the choices of a looker. Pure functions.

Which of two values of a metric is better was fixed before any grid was seen.
"""

from analysis.features.lib.names import REAL
from analysis.features.lib.pairs import LOOKS
from analysis.studies.lib.statistics import wilson

METRICS = ("fd_ratio", "density", "coverage")
# Worse values are larger. Density is ideal at 1: samples that are all alike may have more than real images.
BADNESS = {"fd_ratio": lambda x: x, "density": lambda x: abs(x - 1), "coverage": lambda x: -x}


def answers(pairs, choices):
    """Return the rows of what was shown and answered, with columns `chosen` and `other`: runs, or REAL.

    Raises:
        ValueError: An answer is missing, is neither A nor B, or is one to nothing that was shown.
    """
    rows = pairs.merge(choices, "outer", ["look", "place"], validate="one_to_one")
    wrong = rows[~rows["choice"].isin(["A", "B"]) | rows["pair"].isna()]
    if len(wrong):
        raise ValueError(f"no pair, or neither A nor B: {', '.join(f'{r.look} {r.place}' for r in wrong.itertuples())}")
    left = rows["choice"] == "A"
    return rows.assign(chosen=rows["a"].where(left, rows["b"]), other=rows["b"].where(left, rows["a"]))


def catches(rows):
    """Return the interval of the share of catch pairs in which the real images were chosen, for each look."""
    rows = rows[(rows["chosen"] == REAL) | (rows["other"] == REAL)]
    return {look: wilson(int((of["chosen"] == REAL).sum()), len(of)) for look, of in rows.groupby("look", sort=False)}


def of_runs(rows):
    return rows[(rows["chosen"] != REAL) & (rows["other"] != REAL)]


def repeated(rows, look):
    """Return pair → whether the same run was chosen in the first look and in another one, catches left out."""
    rows = of_runs(rows)
    first, again = (rows[rows["look"] == one].set_index("pair")["chosen"] for one in (LOOKS[0], look))
    return first.loc[again.index] == again


def consistent(rows):
    """Return the rows of the first look of those pairs for which every look chose the same run."""
    rows = of_runs(rows)
    same = rows.groupby("pair")["chosen"].nunique() == 1
    return rows[(rows["look"] == LOOKS[0]) & rows["pair"].map(same)]


def agrees(rows, ranking, metric):
    """Return for each row whether the chosen run is the better one by a metric; a tie is no agreement.

    Args:
        rows: Of `answers`.
        ranking: Run → value.
        metric: One of METRICS.
    """
    bad = ranking.map(BADNESS[metric])
    return rows["chosen"].map(bad) < rows["other"].map(bad)
