"""Figures of the whole grid: quality and verdicts over two settings, parallel coordinates, importances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gansweep.health.verdict import ORDER, title
from gansweep.report.configurations import KEY
from gansweep.report.palette import GREY, INK, PALE, colour
from gansweep.report.style import WIDTH, canvas, svg
from gansweep.report.words import distinct, measured, short, titles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CELLS = 10  # maximum number of values of an axis of cells; with more, trials are points
LIGHT_TO_DARK = ("#f1f0f2", "#332288")
DARK = 0.36  # of the way from light to dark: from there on, white numbers have more contrast
BINS = 5  # ticks of a numeric axis in parallel coordinates


def kind_of(trials: pd.DataFrame) -> pd.Series:
    """Return the primary verdict of each trial, or `crashed`."""
    return trials["verdict"].where(trials["outcome"] != "crashed", "crashed")


def plane(trials: pd.DataFrame, axes: Sequence[str], metric: str, *, log: bool, lower: bool = True) -> Figure:
    """Draw two maps over one or two settings: quality on the left, verdicts on the right.

    Trials are points if a setting has more than MOST_CELLS values, else they are grouped in cells. The value of a cell
    is the mean over the seeds of one configuration. If several configurations fall in a cell, it is that of the best of
    them, because means over different settings have no meaning.

    Args:
        trials: Table of trials.
        axes: One or two settings, dotted keys.
        metric: Name of the objective.
        log: Whether quality is averaged and drawn on a log scale.
        lower: Whether lower values are better.
    """
    x, y = axes[0], axes[1] if len(axes) > 1 else None
    few = all(trials[key].nunique() <= MOST_CELLS for key in axes)
    draw = _cells if few else _points
    rows = trials[y].nunique() if y and few else 1 if few else 6
    figure = canvas(WIDTH, 1.15 + 0.34 * rows)
    left, right = figure.subplots(1, 2)
    names = titles(axes)
    draw(left, right, trials, x, y, log, lower)
    for ax in (left, right):
        ax.set_xlabel(names[x])
        ax.set_ylabel(names[y] if y else "")
    what = f"best {metric} of each cell" if few and several(trials, axes) else metric
    averaged = few and trials.duplicated(KEY).any()
    left.set_title(f"{what}, {'geometric ' if log else ''}mean" if averaged else what)
    right.set_title("verdicts, one stripe per trial" if few else "verdicts")
    _legend(figure, kind_of(trials))
    return figure


def several(trials: pd.DataFrame, axes: Sequence[str]) -> bool:
    """Whether trials with equal values of the settings `axes` differ in other settings."""
    return bool(trials.drop_duplicates(KEY).duplicated(list(axes)).any())


def _cell_value(cell: pd.DataFrame, log: bool, lower: bool) -> float:
    """Return the best mean over seeds of any configuration in a cell; NaN if the cell has no finite quality.

    Configurations of which every seed failed count only if there are no others.
    """
    known = cell[np.isfinite(cell["quality"].astype(float))]
    if known.empty:
        return math.nan
    groups = known.groupby(KEY)
    means = groups["quality"].agg(lambda values: _mean(values.to_numpy(float), log))
    sound = means[~groups["failed"].all()]
    found = sound if len(sound) else means
    return float(found.min() if lower else found.max())


def _mean(values: np.ndarray, log: bool) -> float:
    return float(np.exp(np.log(values).mean()) if log and (values > 0).all() else values.mean())


def _heat(ax: Axes, table: np.ndarray, shown: np.ndarray) -> None:
    """Draw a heat map: cells labelled with the numbers in `table` and coloured by those in `shown`.

    Cells whose colour is NaN or infinite are left empty. seaborn, which has heat maps, would take a second to load.
    """
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours = LinearSegmentedColormap.from_list("quality", LIGHT_TO_DARK)
    norm = Normalize(*_range(shown))
    ax.spines[:].set_visible(False)
    ax.pcolormesh(np.ma.masked_invalid(shown), cmap=colours, norm=norm, edgecolor="white", linewidth=0.8)
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(shown[row, column]):
            ink = INK if norm(shown[row, column]) < DARK else "white"
            ax.text(column + 0.5, row + 0.5, measured(value), size=7, color=ink, ha="center", va="center")


def _cells(left: Axes, right: Axes, trials: pd.DataFrame, x: str, y: str | None, log: bool, lower: bool) -> None:
    from matplotlib.patches import Rectangle

    columns, rows = distinct(trials[x]), distinct(trials[y]) if y else [None]
    table = np.full((len(rows), len(columns)), np.nan)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            cell = trials[(trials[x] == column) & ((trials[y] == row) if y else True)]
            table[r, c] = _cell_value(cell, log, lower)
            kinds = sorted(kind_of(cell), key=_order)
            for n, kind in enumerate(kinds):
                stripe = Rectangle(
                    (c + n / len(kinds), r), 1 / len(kinds), 1, facecolor=colour(kind), edgecolor="white"
                )
                stripe.set_linewidth(0.4)
                right.add_patch(stripe)
    _heat(left, table, np.log(table) if log else table)
    for ax in (left, right):
        ax.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        ax.set_xticks(np.arange(len(columns)) + 0.5, [short(v) for v in columns], rotation=0)
        ax.set_yticks(np.arange(len(rows)) + 0.5, [short(v) for v in rows] if y else [""], rotation=0)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)


def _points(left: Axes, right: Axes, trials: pd.DataFrame, x: str, y: str | None, log: bool, lower: bool) -> None:
    kinds = kind_of(trials)
    across, up = _place(trials[x], left, "x"), _place(trials[y], left, "y") if y else np.zeros(len(trials))
    _place(trials[x], right, "x")
    if y:
        _place(trials[y], right, "y")
    quality = trials["quality"].to_numpy(float)
    finite = np.isfinite(quality)
    shown = np.log(quality, where=finite & (quality > 0), out=np.full(len(quality), np.nan)) if log else quality
    marks = left.scatter(across, up, c=shown, cmap="viridis", s=22, edgecolors="white", linewidths=0.4)
    bar = left.figure.colorbar(marks, ax=left, shrink=0.8, pad=0.02)
    if log:
        ticks = np.linspace(*_range(shown), 4)
        bar.set_ticks(ticks.tolist(), labels=_told_apart(np.exp(ticks)))
    bar.outline.set_visible(False)
    right.scatter(across, up, c=[colour(kind) for kind in kinds], s=22, edgecolors="white", linewidths=0.4)


def _place(values: pd.Series, ax: Axes, axis: str) -> Any:
    """Scale and label the axis "x" or "y" for the values of a setting, and return the position of each value on it."""
    from matplotlib.ticker import NullFormatter

    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_CELLS:
        if values.min() > 0 and values.max() / values.min() > 20:
            getattr(ax, f"set_{axis}scale")("log")
            of = getattr(ax, f"{axis}axis")
            of.set_major_formatter(lambda value, _: short(float(value)))
            of.set_minor_formatter(NullFormatter())
        return values.to_numpy(float)
    levels = distinct(values)
    getattr(ax, f"set_{axis}ticks")(range(len(levels)), [short(v) for v in levels])
    return values.map({v: n for n, v in enumerate(levels)}).to_numpy(float)


def parallel(trials: pd.DataFrame, settings: Sequence[str], metric: str, *, log: bool, lower: bool) -> bytes:
    """Draw parallel coordinates as SVG: one line per trial across settings to its quality, coloured by verdict."""
    names = titles(settings)
    figure = canvas(WIDTH, 2.5)
    ax = figure.subplots()
    axes = [*(_scaled(trials[key]) for key in settings), _quality(trials["quality"].to_numpy(float), log, lower)]
    lines = np.column_stack([place for place, _ in axes])
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, lines.shape) * (np.arange(len(axes)) < len(axes) - 1)
    for line, kind in sorted(zip(lines + jitter, kind_of(trials), strict=True), key=lambda p: p[1] == "healthy"):
        there = np.isfinite(line)
        ax.plot(np.flatnonzero(there), line[there], color=colour(kind), alpha=0.65, linewidth=0.9)
    for number, (_, marks) in enumerate(axes):
        ax.axvline(number, color=PALE, linewidth=0.6, zorder=0)
        for place, text in marks:
            last = number == len(axes) - 1
            ax.annotate(text, (number, place), xytext=(4 if last else -4, 0), textcoords="offset points",
                        ha="left" if last else "right", va="center", color=INK, size=6.5,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.75})  # fmt: skip
    ax.set_xticks(
        range(len(axes)), [*(names[key] for key in settings), f"{metric}\n({'lower' if lower else 'higher'} is better)"]
    )
    ax.tick_params(axis="x", length=0, labelcolor=INK)
    ax.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.45, len(axes) - 0.65))
    for spine in ax.spines.values():
        spine.set_visible(False)
    _legend(figure, kind_of(trials))
    return svg(figure)


def _told_apart(values: np.ndarray) -> list[str]:
    """Return labels of ticks, with the smallest number of digits, from two to five, that distinguishes them."""
    for digits in range(2, 6):
        words = [measured(float(value), digits) for value in values]
        if len({*words}) == len(words):
            break
    return words


def _quality(values: np.ndarray, log: bool, lower: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Return the position of each quality, from 0 (worst) to 1 (best) or NaN, and (position, label) of the ticks."""
    known = np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)
    shown = np.log(known) if log else known
    low, high = _range(shown)
    worst, best = (high, low) if lower else (low, high)
    ticks = np.linspace(0, 1, 4)
    at = worst + ticks * (best - worst)
    words = _told_apart(np.exp(at) if log else at)
    return (shown - worst) / ((best - worst) or 1.0), list(zip(ticks.tolist(), words, strict=True))


def _scaled(values: pd.Series) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Return the position of each trial's value of a setting, 0 to 1, and (position, label) of the ticks.

    Up to MOST_CELLS values, and values that are not numbers, are evenly spaced. More are on a linear or log scale.
    """
    levels = distinct(values)
    if not pd.api.types.is_numeric_dtype(values) or len(levels) <= MOST_CELLS:
        even = {v: n / max(1, len(levels) - 1) for n, v in enumerate(levels)}
        if len(levels) == 1:
            even = {levels[0]: 0.5}
        return values.map(even).to_numpy(float), [(place, short(v)) for v, place in even.items()]
    numbers = values.to_numpy(float)
    log = np.nanmin(numbers) > 0 and np.nanmax(numbers) / np.nanmin(numbers) > 20
    scale = np.log(numbers) if log else numbers
    low, high = np.nanmin(scale), np.nanmax(scale)
    ticks = np.linspace(0, 1, BINS)
    marks = [low + t * (high - low) for t in ticks]
    return (scale - low) / (high - low), [
        (float(t), short(float(np.exp(m) if log else m))) for t, m in zip(ticks, marks, strict=True)
    ]


def importance(shares: Mapping[str, Mapping[str, float]], settings: Sequence[str]) -> bytes:
    """Draw importances of settings as SVG, one panel per result.

    Args:
        shares: Result (objective or kind of failure) → setting → share.
        settings: Dotted keys of the settings, in the order in which they are shown.
    """
    names = titles(settings)
    columns = min(4, len(shares))
    rows = -(-len(shares) // columns)
    figure = canvas(WIDTH if columns > 2 else WIDTH * 0.7, rows * (0.45 + 0.2 * len(settings)) + 0.2)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(shares) :]:
        ax.remove()
    for ax, (what, of) in zip(axes.flat, shares.items(), strict=False):
        values = [of.get(key, 0.0) for key in settings]
        ax.barh(range(len(settings)), values, height=0.62, color=colour(what) if what in ORDER else GREY)
        for row, value in enumerate(values):
            ax.annotate(f"{value:.0%}", (value, row), xytext=(3, 0), textcoords="offset points", va="center", size=6.5)
        ax.set_yticks(range(len(settings)), [names[key] for key in settings])
        ax.set(xlim=(0, 1.18), xticks=[], ylim=(len(settings) - 0.4, -0.6))
        ax.set_title(title(what))
        ax.tick_params(length=0, labelcolor=INK)
        ax.spines["bottom"].set_visible(False)
    return svg(figure)


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the greatest finite value; 0 and 1 without any."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def _legend(figure: Any, kinds: pd.Series) -> None:
    from matplotlib.lines import Line2D

    there = sorted(set(kinds), key=_order)
    handles = [Line2D([], [], marker="s", linestyle="", color=colour(kind), markersize=5) for kind in there]
    figure.legend(handles, [title(kind) for kind in there], loc="outside lower center", ncols=min(6, len(there)),
                  handletextpad=0.2, columnspacing=1.2)  # fmt: skip


def _order(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else -1
