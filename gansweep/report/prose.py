"""A sweep in sentences: what was tried, what came of it, what is best and how sure that is, what failed and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from gansweep.health.metrics import label
from gansweep.health.verdict import FAILURES, title
from gansweep.report.words import counted, distinct, item, listed, measured, percent, setting, short, titles

Names = Mapping[tuple[str, int], str]  # (sweep, configuration) → its settings in words
MOST_RIVALS = 4  # settings that may be as good, named one by one
FEW = 6  # values of a setting that are listed one by one
SURE = 0.05  # p of Fisher's test, below which failures are said to sit somewhere


def tried(sweep: str, trials: pd.DataFrame, settings: Sequence[str]) -> str:
    """How many runs of what, over which settings, how long, with how many seeds."""
    length = f"{_span(trials['steps'])} {'step' if trials['steps'].max() == 1 else 'steps'}"
    if len(trials) == 1:
        return f"{sweep} is a single {_architecture(trials)} on {_data(trials)}, {length} long."
    what = f"{len(trials):,} {_architecture(trials)}s on {_data(trials)}"
    seeds = trials.groupby("configuration")["seed"].nunique()
    each = f"{_span(seeds)} seeds each" if seeds.max() > 1 else "one seed each"
    if not settings:
        return f"{sweep} trained {what}: one setting, {_span(seeds)} seeds, {length}."
    names = titles(settings)
    axes = listed(_axis(trials[key], names[key]) for key in settings)
    combinations = counted(trials["configuration"].nunique(), "combination")
    return f"{sweep} trained {what}: {combinations} of {axes}, {each}, {length}."


def ended(trials: pd.DataFrame, planned: int, earlier: int = 0) -> str:
    """How trials ended, and what is still to come. planned, earlier: trials of the current plan, and of earlier ones
    among those shown."""
    total = planned + earlier
    counts = Counter(trials["outcome"])
    words = {
        "completed": ("ran to its end", "ran to their end"),
        "stopped": ("was stopped early", "were stopped early"),
        "crashed": ("crashed", "crashed"),
        "running": ("is still running", "are still running"),
        "interrupted": ("was interrupted and will go on", "were interrupted and will go on"),
    }
    parts = []
    for kind, phrases in words.items():
        if count := counts[kind]:
            many = "all" if count > 1 else "it"
            parts.append(f"{many if count == total else count} {phrases[count > 1]}")
    if (waiting := total - len(trials)) > 0:
        parts.append(f"{waiting} {'has' if waiting == 1 else 'have'} not begun")
    return f"{_capital(listed(parts))}."


def earlier(count: int, *, shown: bool) -> str:
    """What becomes of trials that the current plan no longer has; empty where there are none."""
    if not count:
        return ""
    if shown:
        return f"{counted(count, 'trial')} {'belongs' if count == 1 else 'belong'} to earlier plans of the sweep."
    return f"{counted(count, 'trial')} of earlier plans {'is' if count == 1 else 'are'} left out."


def best(found: pd.DataFrame, names: Names, metric: str, *, log: bool) -> str:
    """What is best, by how much, and how sure that is. found: of `configurations`, for one sweep."""
    ranked, what = found[found["place"].notna()], label(metric)
    if ranked.empty:
        failed = "all of it failed" if len(found) > 1 else "it failed"
        return f"Nothing can be called best: {failed}, or has no {what} yet."
    first = ranked.iloc[0]
    value = f"{what} {measured(first['estimate'])}{_interval(first)}"
    if len(found) == 1:
        return f"It ended with a {value}."
    tied = ranked[ranked["estimate"] == first["estimate"]]
    if len(tied) > 1:
        named = [_name(row, names) for _, row in tied.head(MOST_RIVALS).iterrows()]
        others = [counted(len(tied) - len(named), "other")] if len(tied) > len(named) else []
        return f"{_capital(listed([*named, *others]))} share the best {value}."
    if first["failed"]:
        value += f"; {first['failed']} of its {first['trials']} seeds failed"
    if len(ranked) == 1:
        return f"Only {_name(first, names)} did not fail ({value})."
    return f"Best is {_name(first, names)} ({value}). {_margin(ranked, names, log=log)}"


def _margin(ranked: pd.DataFrame, names: Names, *, log: bool) -> str:
    """How far the runner-up is behind, and whether seeds can tell."""
    first, second = ranked.iloc[0], ranked.iloc[1]
    gap = _gap(first["estimate"], second["estimate"], log=log)
    runner = f"the runner-up, {_name(second, names)}, is {gap} behind"
    if ranked["may_be_best"].isna().all():
        return (
            f"{_capital(runner)}. With one seed a setting no interval can be given:"
            " another seed might turn the order round."
        )
    others = ranked.iloc[1:]
    rivals = [_name(row, names) for _, row in others[others["may_be_best"].fillna(False)].iterrows()]
    if not rivals:
        return f"It is better than every other setting (multiple comparisons with the best, 95\u00a0%); {runner}."
    few = (
        rivals if len(rivals) <= MOST_RIVALS else [*rivals[: MOST_RIVALS - 1], f"{len(rivals) - MOST_RIVALS + 1} more"]
    )
    return (
        f"The seeds do not settle it: {listed(few)} may be as good (multiple comparisons with the best, 95\u00a0%);"
        f" {runner}."
    )


def _name(row: pd.Series, names: Names) -> str:
    return names[row["sweep"], row["configuration"]]


def failures(trials: pd.DataFrame, settings: Sequence[str]) -> str:
    """How many failed, of what, and where in the grid they sit."""
    failed, decided = trials[trials["failed"]], trials[trials["failed"] | (trials["verdict"] == "healthy")]
    if decided.empty:
        return "Nothing can be said of failures yet: too few evaluations."
    if failed.empty:
        undecided = len(trials) - len(decided)
        rest = f"; of {undecided} too little is known" if undecided else ""
        return f"None of the trials failed{rest}." if len(trials) > 1 else "It did not fail."
    kinds = Counter(failed["verdict"].where(failed["outcome"] != "crashed", "crashed"))
    if len(trials) == 1:
        return "It crashed." if kinds["crashed"] else f"It failed by {title(next(iter(kinds)))}."
    said = [f"{kinds[kind]} by {title(kind)}" for kind in FAILURES if kinds[kind]]
    said += [counted(kinds["crashed"], "crash", "crashes")] if kinds["crashed"] else []
    many = f"All {len(trials)} trials" if len(failed) == len(trials) else f"{len(failed)} of {len(trials)} trials"
    where = concentration(decided, settings)
    sits = f" Failures sit at {listed(where)}." if where else ""
    return f"{many} failed: {listed(said)}.{sits}"


def concentration(trials: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """For each setting the side of a cut on which trials fail more often than elsewhere, where Fisher's exact test
    says p < SURE; the clearest first. The cut is chosen for the data: this describes, and proves nothing."""
    names, found = titles(settings), []
    failed = trials["failed"].to_numpy(bool)
    for key in settings:
        contrasts = [_contrast(failed, side, words) for words, side in _cuts(trials[key], names[key])]
        clear = [contrast for contrast in contrasts if contrast and contrast[0] < SURE]
        if clear:
            found.append(min(clear))
    return [text for _, text in sorted(found)]


def _cuts(values: pd.Series, name: str) -> list[tuple[str, np.ndarray]]:
    """(words, which trials) for each side of each cut of a setting; where it is not set, a trial is on no side."""
    found = distinct(values)

    def side(compared: pd.Series) -> np.ndarray:
        known: np.ndarray = compared.to_numpy(bool, na_value=False)
        return known

    if not pd.api.types.is_numeric_dtype(values) or len(found) <= 2:
        return [(f"{name} {short(v)}", side(values == v)) for v in found]
    cuts = []
    for value in found:
        cuts.append((f"{name} ≥ {short(value)}", side(values >= value)))
        cuts.append((f"{name} ≤ {short(value)}", side(values <= value)))
    return cuts


def _contrast(failed: np.ndarray, side: np.ndarray, words: str) -> tuple[float, str] | None:
    here, there = failed[side], failed[~side]
    if not len(here) or not len(there) or here.mean() <= there.mean():
        return None
    table = [[here.sum(), len(here) - here.sum()], [there.sum(), len(there) - there.sum()]]
    p = float(fisher_exact(table).pvalue)
    return p, f"{words} ({here.sum()} of {len(here)} failed, {there.sum()} of {len(there)} elsewhere)"


def _interval(row: pd.Series) -> str:
    if not np.isfinite(row["low"]):
        return ""
    return f", 95\u00a0% interval {measured(row['low'])} to {measured(row['high'])} over {row['quality'].n} seeds"


def _gap(first: float, second: float, *, log: bool) -> str:
    if log and first > 0:
        return percent(second / first - 1)
    return measured(abs(second - first))


def _architecture(trials: pd.DataFrame) -> str:
    names = sorted(set(trials.get("model.architecture", pd.Series(["GAN"]))))
    return " or ".join({"dcgan": "DCGAN", "GAN": "GAN"}.get(name, f"{name} GAN") for name in map(str, names))


def _data(trials: pd.DataFrame) -> str:
    names = listed(sorted(set(map(str, trials.get("dataset.name", pd.Series(["images"]))))))
    sizes = sorted(set(trials.get("dataset.image_size", pd.Series(dtype=int)).dropna().astype(int)))
    return f"{names.replace('_', ' ')} at {listed(f'{s}×{s}' for s in sizes)} pixels" if sizes else names


def _axis(values: pd.Series, name: str) -> str:
    found = distinct(values)
    if len(found) <= FEW:
        unset = ["not set"] if values.isna().any() else []
        return f"{name} ({', '.join([*unset, *(short(v) for v in found)])})"
    if pd.api.types.is_numeric_dtype(values):
        return f"{name} ({len(found)} values from {short(found[0])} to {short(found[-1])})"
    return f"{name} ({len(found)} values)"


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def called(trials: pd.DataFrame, settings: Sequence[str], *, with_sweep: bool) -> dict[tuple[str, int], str]:
    """(sweep, configuration) → its settings in words. with_sweep: after the sweep's name."""
    names, found = titles(settings), {}
    for _, trial in trials.drop_duplicates(["sweep", "configuration"]).iterrows():
        values = {key: item(trial[key]) for key in settings if not missing(trial[key])}
        words = setting(values, names)
        parts = [trial["sweep"], words] if with_sweep else [words or "the one setting"]
        found[trial["sweep"], int(trial["configuration"])] = " with ".join(part for part in parts if part)
    return found


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA
