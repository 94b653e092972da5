"""Plots of a run of `gansweep train`, from its folder. Needs neither a tracking store nor pandas."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gansweep.health import metrics as m
from gansweep.health.history import History
from gansweep.health.verdict import Verdict, short_title, title
from gansweep.records import journal, outcome
from gansweep.records.layout import TrialFolder, read_json, write_atomically
from gansweep.report.palette import GREY, INK, PALE, colour
from gansweep.report.pixels import png
from gansweep.report.style import WIDTH, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
SECOND = "#999999"  # colour of a second curve
LOWEST, APART = 0.05, 0.13  # shares of the axes' height: names of curves overlap neither the axis nor each other
SPREAD = 2.5  # factor between losses from which at least one of the ticks 1, 2 and 5 is in their range
SAMPLES_PIXELS = 768  # approximate side of the enlarged grid; the factor is whole
Curve = tuple[str, str]  # metric, label
LOSSES = ((m.LOSS_D, "D"), (m.LOSS_G, "G"))
HELD_OUT = ((m.VALIDATION_LOSS_D, ""), (m.VALIDATION_LOSS_G, ""))


def draw(folder: TrialFolder, place: Path) -> None:
    """Write losses.png, quality.png and samples.png of a run to the folder `place`, each if there are data."""
    steps = read_json(folder.trial)["steps"]
    history = History.of(((r.step, r.values) for r in journal.read(folder.journal)), steps)
    ended = outcome.read(folder)
    verdicts = ended.verdicts if ended else ()
    failure, states = next((v for v in verdicts if v.is_failure), None), [v for v in verdicts if v.is_state]
    if len(history[m.LOSS_D]):
        write_atomically(place / "losses.png", _png(losses(history, failure, states)))
    if len(history.evaluations()):
        write_atomically(place / "quality.png", _png(quality(history, failure, states)))
    if grids := folder.all_samples():
        write_atomically(place / "samples.png", enlarged(grids[-1]))


def losses(history: History, failure: Verdict | None, states: Sequence[Verdict] = ()) -> Figure:
    """Draw three panels over steps: losses of D and G (dotted: on held-out images), outputs of D, and gradient norms.

    The onset of the failure is marked in all panels, the onsets of states in the first two.
    """
    figure = canvas(WIDTH, 4.2)
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
    _curves(above, history, LOSSES)
    _curves(above, history, HELD_OUT, ":")
    above.set_title("loss" + (" (dotted: on held-out images)" if len(history[m.VALIDATION_LOSS_D]) else ""))
    if len(history[m.D_REAL]):
        _log_beyond(above, 0.1)
        _curves(middle, history, ((m.D_REAL, "real"), (m.D_FAKE, "fake")))
        middle.set(ylim=(-0.03, 1.03), title="probability that D assigns to real")
    else:
        _curves(middle, history, ((m.CRITIC_REAL, "real"), (m.CRITIC_FAKE, "fake")))
        middle.set_title("output of the critic")
    _curves(below, history, ((m.GRADIENT_NORM_D, "D"), (m.GRADIENT_NORM_G, "G")))
    below.set_title("norm of the gradient")
    _log(below)
    _finish([above, middle, below], history, failure)
    _won([above, middle], states)
    below.set_xlabel("training step")
    return figure


def quality(history: History, failure: Verdict | None, states: Sequence[Verdict] = ()) -> Figure:
    """Draw four panels over steps: FD ratio, coverage and density, variety of samples, and separation by D.

    The onset of the failure is marked in all panels, the onsets of states in that of D.
    """
    figure = canvas(WIDTH, 3.4)
    axes = figure.subplots(2, 2, sharex=True)
    panels: list[Callable[[Axes, History], None]] = [_distance, _support, _variety, _separation]
    for ax, panel in zip(axes.flat, panels, strict=True):
        panel(ax, history)
    _finish(list(axes.flat), history, failure)
    _won([axes[1, 1]], states)
    for ax in axes[1]:
        ax.set_xlabel("training step")
    return figure


def enlarged(grid: Path) -> bytes:
    """Return a sample grid as PNG, enlarged by a whole factor to a side of about SAMPLES_PIXELS."""
    with Image.open(grid) as opened:
        factor = max(1, round(SAMPLES_PIXELS / max(opened.size)))
        size = (opened.width * factor, opened.height * factor)
        return png(opened.resize(size, Image.Resampling.NEAREST))


def _distance(ax: Axes, history: History) -> None:
    _curves(ax, history, ((m.FD_RATIO, ""),))
    _ideal(ax)
    _log(ax)
    ax.set_title("FD ratio (1 is ideal)")


def _support(ax: Axes, history: History) -> None:
    _curves(ax, history, ((m.COVERAGE, "coverage"), (m.DENSITY, "density")))
    _ideal(ax)
    ax.set_ylim(bottom=-0.03)
    ax.set_title("coverage and density (1 is ideal)")


def _variety(ax: Axes, history: History) -> None:
    """Draw the variety of samples by the first of these metrics that is recorded.

    Share of samples in the requested class, effective number of classes, spread of samples.
    """
    if len(history[m.REQUESTED]):
        _curves(ax, history, ((m.REQUESTED, "all classes"), (m.REQUESTED_WORST, "worst class")))
        ax.set(ylim=(-0.03, 1.05), title="share of samples in the requested class")
    elif len(history[m.CLASSES]):
        _curves(ax, history, ((m.CLASSES, ""),))
        ax.set_ylim(bottom=0)
        ax.set_title("effective number of classes")
    else:
        _curves(ax, history, ((m.SPREAD_ACROSS, "across z"), (m.SPREAD_WITHIN, "within")))
        _ideal(ax)
        ax.set_ylim(bottom=0)
        ax.set_title("spread of samples, relative to real images")


def _separation(ax: Axes, history: History) -> None:
    of_pairs = (m.D_PREFERENCE, "σ(D(x) − D(G(z)))")
    certainty = of_pairs if len(history[m.D_PREFERENCE]) else (m.D_FRESH, "σ(D(G(z)))")
    _curves(ax, history, ((m.D_AUC, "AUC"), certainty))
    _curves(ax, history, ((m.COHERENCE, "coherence"),), dash=":")
    ax.set(ylim=(-0.03, 1.08), title="D on real images and fresh samples, coherence of G's gradients")


def _curves(ax: Axes, history: History, curves: Sequence[Curve], dash: str = "-") -> None:
    """Draw metrics over steps, at most two. Infinite values and NaN are left out."""
    for (metric, words), ink in zip(curves, (INK, SECOND), strict=False):
        series = history[metric]
        there = np.isfinite(series.values)
        ax.plot(series.steps[there], series.values[there], dash, color=ink, linewidth=1.1, label=words)


def _name_curves(ax: Axes) -> None:
    """Write the name of each curve at its last point, instead of a legend. Names that would overlap are moved up."""
    to_share = ax.transScale + ax.transLimits  # of the axes' height
    named = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    points = [(line, np.asarray(line.get_xydata(), float)) for line in named]
    ends = [(float(to_share.transform(at[-1])[1]), at[-1][0], line) for line, at in points if len(at)]
    least = LOWEST
    for height, step, line in sorted(ends, key=lambda end: end[0]):
        place = max(height, least)
        ax.annotate(str(line.get_label()), (step, place), xycoords=ax.get_xaxis_transform(), xytext=(3, 0), va="center",
                    textcoords="offset points", annotation_clip=False,
                    color=INK if line.get_color() == INK else GREY)  # fmt: skip
        least = place + APART


def _ideal(ax: Axes) -> None:
    ax.axhline(1, color=PALE, linewidth=0.6, zorder=0)


def _log(ax: Axes) -> None:
    """Set a log scale with ticks at 1, 2 and 5 times powers of ten, if any value is positive."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if any((np.asarray(line.get_ydata(), float) > 0).any() for line in ax.lines):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def _log_beyond(ax: Axes, linear: float) -> None:
    """Set a scale that is linear up to ±`linear` and logarithmic beyond, if values differ by a factor above SPREAD."""
    from matplotlib.ticker import SymmetricalLogLocator

    shown = np.concatenate([np.abs(np.asarray(line.get_ydata(), float)) for line in ax.lines])
    if not len(shown) or shown.max() < SPREAD * max(shown.min(), linear):
        return
    ax.set_yscale("symlog", linthresh=linear)
    ax.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=linear, subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")


def _finish(axes: Sequence[Axes], history: History, failure: Verdict | None) -> None:
    """Set the scale of steps, label curves, and mark the onset of a failure."""
    axes[0].set_xlim(0, max(1, history.budget))
    for ax in axes:
        _name_curves(ax)
    if failure is None:
        return
    for ax in axes:
        ax.axvline(failure.since_step, color=colour(failure.kind), linewidth=2, alpha=0.6, zorder=0)
    axes[0].annotate(title(failure.kind), (1, 1), xycoords="axes fraction", xytext=(0, 3), ha="right", va="baseline",
                     textcoords="offset points", color=colour(failure.kind), fontweight="semibold")  # fmt: skip


def _won(axes: Sequence[Axes], states: Sequence[Verdict]) -> None:
    """Draw a line at the onset of each state in all axes, and write the name of the state in the first of them."""
    for state in states:
        ink = colour(state.kind)
        for ax in axes:
            ax.axvline(state.since_step, color=ink, linestyle="-.", linewidth=1.2, zorder=0)
        axes[0].annotate(short_title(state.kind), (state.since_step, 1), xycoords=axes[0].get_xaxis_transform(),
                         xytext=(2, -2), va="top", textcoords="offset points", color=ink,
                         fontweight="semibold")  # fmt: skip


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()
