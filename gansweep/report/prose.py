"""Sentences on a sweep: its grid, how trials ended, the best configuration, its margin, and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.metrics import label
from gansweep.health.verdict import FAILURES, title
from gansweep.report.words import counted, distinct, item, listed, measured, percent, setting, short, titles

Names = Mapping[tuple[str, int], str]  # (sweep, configuration) → settings in words
MOST_RIVALS = 4  # maximum number of configurations listed by name as possibly as good
FEW = 6  # maximum number of values of a setting that are listed by name
CONFIDENCE = "multiple comparisons with the best, 95\u00a0% confidence"
SURE = 0.05  # p of Fisher's test below which a concentration of failures is reported


def tried(sweep: str, trials: pd.DataFrame, settings: Sequence[str]) -> str:
    """Return a sentence on what a sweep trained: number of trials, networks, data, settings, seeds and steps."""
    length = f"{_span(trials['steps'])} {'step' if trials['steps'].max() == 1 else 'steps'}"
    if len(trials) == 1:
        return f"{sweep} is a single {_architecture(trials)} on {_data(trials)}, {length} long."
    what = f"{len(trials):,} {_architecture(trials)}s on {_data(trials)}"
    seeds = trials.groupby("configuration")["seed"].nunique()
    each = f"{_span(seeds)} seeds each" if seeds.max() > 1 else "one seed each"
    if not settings:
        return f"{sweep} trained {what}: one configuration, {_span(seeds)} seeds, {length}."
    names = titles(settings)
    axes = listed(_axis(trials[key], names[key]) for key in settings)
    combinations = counted(trials["configuration"].nunique(), "combination")
    return f"{sweep} trained {what}: {combinations} of {axes}, {each}, {length}."


def ended(trials: pd.DataFrame, planned: int, earlier: int = 0) -> str:
    """Return a sentence on how many trials ended in which way, and how many have not started.

    Args:
        trials: Trials that the report shows.
        planned: Number of trials in the current plan.
        earlier: Number of those among `trials` that belong to earlier plans.
    """
    total = planned + earlier
    counts = Counter(trials["outcome"])
    words = {
        "completed": ("completed", "completed"),
        "stopped": ("was stopped early", "were stopped early"),
        "crashed": ("crashed", "crashed"),
        "running": ("is still running", "are still running"),
        "interrupted": ("was interrupted and can be resumed", "were interrupted and can be resumed"),
    }
    parts = []
    for kind, phrases in words.items():
        if count := counts[kind]:
            many = "all" if count > 1 else "it"
            parts.append(f"{many if count == total else count} {phrases[count > 1]}")
    if (waiting := total - len(trials)) > 0:
        parts.append(f"{waiting} {'has' if waiting == 1 else 'have'} not started")
    return f"{_capital(listed(parts))}."


def earlier(count: int, *, shown: bool) -> str:
    """Return a sentence on the trials of earlier plans; "" if there are none.

    Args:
        count: Number of these trials.
        shown: Whether the report shows them.
    """
    if not count:
        return ""
    if shown:
        return f"{counted(count, 'trial')} {'belongs' if count == 1 else 'belong'} to earlier plans of the sweep."
    return f"{counted(count, 'trial')} of earlier plans {'is' if count == 1 else 'are'} not shown."


def devices(found: pd.Series, what: str) -> str:
    """Return a sentence on the devices if trials were trained on different ones, else "".

    Args:
        found: Device of each trial; "" if it is unknown.
        what: Subject of the sentence, `Trials` or `Sweeps`.
    """
    used = distinct(found[found != ""])
    if len(used) < 2:
        return ""
    return (
        f"{what} were trained on different devices ({listed(used)}), whose numbers differ; each device counts"
        " as another configuration."
    )


def best(found: pd.DataFrame, names: Names, metric: str, *, log: bool) -> str:
    """Return sentences on the best configuration, its value, its margin and its uncertainty.

    Args:
        found: Table of the configurations of one sweep, as returned by `configurations`.
        names: (sweep, configuration) → settings in words.
        metric: Name of the objective's metric.
        log: Whether the objective is compared by ratios, not by differences.
    """
    ranked, what = found[found["place"].notna()], label(metric)
    if ranked.empty:
        failed = "every trial" if len(found) > 1 else "the trial"
        return f"There is no best configuration: {failed} failed or has no {what} yet."
    first = ranked.iloc[0]
    value = f"{what} {measured(first['estimate'])}{_interval(first)}"
    if len(found) == 1:
        return f"Its final {value}."
    tied = ranked[ranked["estimate"] == first["estimate"]]
    if len(tied) > 1:
        named = [_name(row, names) for _, row in tied.head(MOST_RIVALS).iterrows()]
        others = [counted(len(tied) - len(named), "other")] if len(tied) > len(named) else []
        return f"{_capital(listed([*named, *others]))} share the best {value}."
    if first["failed"] == first["trials"]:
        value += "; no trial ended without failing, so that the poor ones are ranked"
    elif first["failed"]:
        value += f"; {first['failed']} of its {first['trials']} seeds failed"
    if len(ranked) == 1:
        return f"Only {_name(first, names)} can be ranked ({value}); all others failed or have no {what} yet."
    return f"The best configuration is {_name(first, names)} ({value}). {_margin(ranked, names, log=log)}"


def _margin(ranked: pd.DataFrame, names: Names, *, log: bool) -> str:
    """Return sentences on the margin to the runner-up, and on the configurations that may be as good as the best."""
    first, second = ranked.iloc[0], ranked.iloc[1]
    gap = _gap(first["estimate"], second["estimate"], log=log)
    runner = f"the runner-up, {_name(second, names)}, is {gap} behind"
    if ranked["may_be_best"].isna().all():
        return (
            f"{_capital(runner)}. With one seed per configuration, no interval can be given:"
            " another seed could change the ranking."
        )
    others = ranked.iloc[1:]
    rivals = [_name(row, names) for _, row in others[others["may_be_best"].fillna(False)].iterrows()]
    if not rivals:
        return f"It is better than every other configuration ({CONFIDENCE}); {runner}."
    few = (
        rivals if len(rivals) <= MOST_RIVALS else [*rivals[: MOST_RIVALS - 1], f"{len(rivals) - MOST_RIVALS + 1} more"]
    )
    return f"The seeds do not decide the ranking: {listed(few)} may be as good ({CONFIDENCE}); {runner}."


def _name(row: pd.Series, names: Names) -> str:
    return names[row["sweep"], row["configuration"]]


def failures(trials: pd.DataFrame, settings: Sequence[str]) -> str:
    """Return sentences on the number and kinds of failures, and the settings at which failures are concentrated."""
    failed, decided = trials[trials["failed"]], trials[trials["failed"] | (trials["verdict"] == "healthy")]
    if decided.empty:
        return "Failures cannot be judged yet: too few evaluations."
    undecided = len(trials) - len(decided)
    rest = f"; {undecided} {'is' if undecided == 1 else 'are'} undecided" if undecided else ""
    if failed.empty:
        return f"None of the trials failed{rest}." if len(trials) > 1 else "It did not fail."
    kinds = Counter(failed["verdict"].where(failed["outcome"] != "crashed", "crashed"))
    if len(trials) == 1:
        return "It crashed." if kinds["crashed"] else f"It failed with {title(next(iter(kinds)))}."
    parts = [f"{kinds[kind]} with {title(kind)}" for kind in FAILURES if kinds[kind]]
    parts += [counted(kinds["crashed"], "crash", "crashes")] if kinds["crashed"] else []
    many = f"All {len(trials)} trials" if len(failed) == len(trials) else f"{len(failed)} of {len(trials)} trials"
    where = concentration(decided, settings)
    concentrated = f" Failures are concentrated at {listed(where)}." if where else ""
    return f"{many} failed: {listed(parts)}{rest}.{concentrated}"


def concentration(trials: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """Return the ranges or values of settings at which trials fail more often than elsewhere, as texts.

    A text such as `beta1 ≥ 0.9 (7 of 8 failed, 1 of 8 elsewhere)` is returned for each setting for which Fisher's exact
    test has p < SURE: that with the smallest p. They are sorted by p. Because ranges are chosen after seeing the data,
    the result is a description and not a test.
    """
    names, found = titles(settings), []
    failed = trials["failed"].to_numpy(bool)
    for key in settings:
        contrasts = [_contrast(failed, side, words) for words, side in _cuts(trials[key], names[key])]
        clear = [contrast for contrast in contrasts if contrast and contrast[0] < SURE]
        if clear:
            found.append(min(clear))
    return [text for _, text in sorted(found)]


def _cuts(values: pd.Series, name: str) -> list[tuple[str, np.ndarray]]:
    """Return (text, boolean mask of the trials in it) for the ranges or values of a setting.

    A setting with more than two numbers has the ranges ≥ and ≤ each of them. Trials without the setting are in none.
    """
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
    from scipy.stats import fisher_exact

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
    """Return (sweep, configuration) → text of its settings, such as `learning rate 2e-4, beta1 0.5`.

    Args:
        trials: Table of trials.
        settings: Dotted keys of the settings that are named.
        with_sweep: Whether the text begins with the name of the sweep.
    """
    names, found = titles(settings), {}
    for _, trial in trials.drop_duplicates(["sweep", "configuration"]).iterrows():
        values = {key: item(trial[key]) for key in settings if not missing(trial[key])}
        words = setting(values, names)
        parts = [trial["sweep"], words] if with_sweep else [words or "the only configuration"]
        found[trial["sweep"], int(trial["configuration"])] = " with ".join(part for part in parts if part)
    return found


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA
