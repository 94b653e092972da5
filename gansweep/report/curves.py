"""Figures over steps: losses and quality of many trials on shared axes, and the evidence for a failure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gansweep.health import metrics as m
from gansweep.health.verdict import short_title, title
from gansweep.losses import registry
from gansweep.report.palette import GREY, INK, PALE, colour
from gansweep.report.style import WIDTH, canvas, svg
from gansweep.report.words import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
MARK = 8  # points above a panel for the name of a failure
MOST_GROUPS = 10  # maximum number of values of a setting shown as groups; more are shown on a scale
LOSSES = (
    (m.LOSS_D, INK, "-"),
    (m.LOSS_G, "#999999", "-"),
    (m.VALIDATION_LOSS_D, INK, ":"),
    (m.VALIDATION_LOSS_G, "#999999", ":"),
)
WORDS = {
    m.LOSS_D: "loss D",
    m.LOSS_G: "loss G",
    m.VALIDATION_LOSS_D: "loss D, validation",
    m.VALIDATION_LOSS_G: "loss G, validation",
}


class Curves:
    """Metrics over steps, and onsets of states of the game between D and G, indexed by (sweep, trial).

    Args:
        histories, evaluations: The tables of these names in `Tables`.
        states: The rows of the table `verdicts` whose kind is a state; None for no states.
    """

    def __init__(self, histories: pd.DataFrame, evaluations: pd.DataFrame, states: pd.DataFrame | None = None) -> None:
        self._training = dict(tuple(histories.groupby(["sweep", "trial", "metric"], sort=False)))
        self._all = evaluations
        self._evaluations = dict(tuple(evaluations.groupby(["sweep", "trial"], sort=False)))
        self._onsets: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for one in () if states is None else states.itertuples():
            self._onsets.setdefault((one.sweep, one.trial), []).append((one.kind, int(one.since_step)))

    def states(self, key: tuple[str, str]) -> list[tuple[str, int]]:
        """Return (kind, onset) of the states that hold at the end of a trial."""
        return self._onsets.get(key, [])

    def training(self, key: tuple[str, str], metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps and finite values of a training metric of a trial; both are empty if there are none."""
        found = self._training.get((*key, metric))
        return _columns(found, "value")

    def evaluation(self, key: tuple[str, str], metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps and finite values of an evaluation metric of a trial; both are empty if there are none."""
        return _columns(self._evaluations.get(key), metric)

    def objective(self, key: tuple[str, str], metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps and finite values of an evaluation metric, or of a training metric if there are none."""
        found = self.evaluation(key, metric)
        return found if len(found[0]) else self.training(key, metric)

    def span(self, metric: str) -> tuple[float, float] | None:
        """Return the least and greatest finite value of a metric in the evaluations of all trials; None without any."""
        values = self._all[metric].to_numpy(float) if metric in self._all else np.empty(0)
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if len(finite) else None

    def shares(self, key: tuple[str, str]) -> dict[str, float]:
        """Return class → its share of the samples at a trial's last evaluation; {} if there are no classes."""
        found = self._evaluations.get(key)
        if found is None or found.empty:
            return {}
        last = found.iloc[-1]
        names = [name for name in found.columns if name.startswith(m.CLASS_SHARE)]
        return {name.removeprefix(m.CLASS_SHARE): float(last[name]) for name in names if not math.isnan(last[name])}


def _columns(found: pd.DataFrame | None, column: str) -> tuple[np.ndarray, np.ndarray]:
    if found is None or column not in found:
        return np.empty(0), np.empty(0)
    values = found[column].to_numpy(float)
    there = np.isfinite(values)
    return found["step"].to_numpy()[there], values[there]


def scale_of(trial: pd.Series) -> str:
    """Return the name of the scale of a trial's losses, such as nats. Losses with the same name can share an axis.

    Trials recorded before `training.loss` existed have the non-saturating loss.
    """
    loss = trial.get("training.loss")
    return registry.unit("non_saturating" if pd.isna(loss) else str(loss))


def is_critic(trial: pd.Series) -> bool:
    """Whether the trial's D is a critic, whose outputs are not probabilities."""
    return registry.is_critic(trial.get("training.loss"), trial.get("training.critic"))


def losses(series: Curves, chosen: pd.DataFrame, captions: Mapping[tuple[str, str], str]) -> bytes:
    """Draw the losses of D and G over steps (dotted: on held-out images) as SVG, one panel per trial.

    Onsets of a failure and of states are marked, and the step at which D grew.

    Args:
        series: Metrics of the trials.
        chosen: Trials whose losses have the same scale (see `scale_of`).
        captions: (sweep, trial) → title of its panel.
    """
    with_states = any(series.states((trial["sweep"], trial["trial"])) for _, trial in chosen.iterrows())
    figure, axes = _panels(chosen, captions, marked=with_states)
    drawn: dict[str, Any] = {}
    least = 0.0
    for ax, (_, trial) in zip(axes, chosen.iterrows(), strict=True):
        key = (trial["sweep"], trial["trial"])
        for metric, ink, dash in LOSSES:
            steps, values = series.training(key, metric)
            if len(steps):
                (drawn[WORDS[metric]],) = ax.plot(steps, values, color=ink, linestyle=dash, linewidth=0.9)
                least = min(least, float(values.min()))
        grown = trial.get("model.discriminator.growth.at")
        if not pd.isna(grown):
            drawn["D grew"] = ax.axvline(int(grown), color=GREY, linestyle="--", linewidth=0.7, zorder=0)
        _onset(ax, trial)
        _won(ax, series, key)
    axes[0].set_yscale("symlog", linthresh=0.1)
    axes[0].yaxis.set_major_formatter("{x:g}")
    if least == 0:
        axes[0].set_ylim(bottom=0)
    figure.supylabel(f"loss ({scale_of(chosen.iloc[0])})", size=7, color=GREY)
    figure.legend(drawn.values(), drawn.keys(), loc="outside upper right", ncols=5)
    return svg(figure)


def quality(
    series: Curves, chosen: pd.DataFrame, captions: Mapping[tuple[str, str], str], metric: str, called: str
) -> bytes:
    """Draw a metric over steps as SVG, one panel per trial, with the other trials in grey and the onset of a failure.

    Args:
        series: Metrics of the trials.
        chosen: Trials that are drawn.
        captions: (sweep, trial) → title of its panel.
        metric: Name of the metric.
        called: Name of the metric for readers.
    """
    figure, axes = _panels(chosen, captions)
    curves = {}
    for _, trial in chosen.iterrows():
        key = (trial["sweep"], trial["trial"])
        curves[key] = series.objective(key, metric)
    background = _broken(curves.values())
    known = np.concatenate([values for _, values in curves.values()])
    for ax, (_, trial) in zip(axes, chosen.iterrows(), strict=True):
        ax.plot(*background, color=PALE, linewidth=0.4, alpha=0.7, zorder=0)
        steps, values = curves[trial["sweep"], trial["trial"]]
        ax.plot(steps, values, color=_ink(trial), linewidth=1.3)
        _onset(ax, trial)
    if len(known) and known.min() > 0:
        _log(axes[0])
    figure.supylabel(called, size=7, color=GREY)
    return svg(figure)


def _log(ax: Axes) -> None:
    """Set a log scale with ticks at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def _broken(curves: Any) -> tuple[np.ndarray, np.ndarray]:
    """Join curves to one curve with a gap (NaN) after each, because one curve makes the file smaller than many."""
    steps, values = [], []
    for x, y in curves:
        steps += [x.astype(float), [np.nan]]
        values += [y, [np.nan]]
    return np.concatenate(steps), np.concatenate(values)


def _panels(chosen: pd.DataFrame, captions: Mapping[tuple[str, str], str], *, marked: bool = False) -> tuple[Any, Any]:
    """Return a figure with one panel per trial, and the axes of the panels.

    marked: whether to leave room above the panels for the name of a state. If any trial failed, room is left anyway.
    """
    columns = min(COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    marked = marked or any(_is_marked(trial) for _, trial in chosen.iterrows())
    figure = canvas(WIDTH, (1.12 + marked * MARK / 72) * rows + 0.45)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(chosen) :]:
        ax.remove()
    for ax, (_, trial) in zip(axes.flat, chosen.iterrows(), strict=False):
        words = fill(captions[trial["sweep"], trial["trial"]], 132 // columns)  # 132 letters fit into WIDTH
        ax.set_title(words, fontweight="normal", color=INK, size=6.5, pad=3 + marked * MARK)
        ax.set_xlim(0, max(1, int(chosen["steps"].max())))
    figure.supxlabel("training step", size=7, color=GREY)
    return figure, axes.flat[: len(chosen)]


def _is_marked(trial: pd.Series) -> bool:
    return bool(trial["failed"]) and pd.notna(trial["since_step"]) and trial["outcome"] != "crashed"


def _onset(ax: Axes, trial: pd.Series) -> None:
    """Draw a line at the onset of a failure, and its name above the axes, where it covers no curve."""
    if _is_marked(trial):
        ax.axvline(trial["since_step"], color=colour(trial["verdict"]), linewidth=2, alpha=0.75, zorder=0)
        ax.annotate(title(trial["verdict"]), (0, 1), xycoords="axes fraction", xytext=(0, 2.5), va="baseline", size=6.5,
                    textcoords="offset points", color=colour(trial["verdict"]), fontweight="semibold")  # fmt: skip


def _won(ax: Axes, series: Curves, key: tuple[str, str]) -> None:
    """Draw a line at the onset of each state of the game, and its name at the right above the axes."""
    for kind, step in series.states(key):
        ax.axvline(step, color=colour(kind), linestyle="-.", linewidth=1.2, zorder=0)
        ax.annotate(short_title(kind), (1, 1), xycoords="axes fraction", xytext=(0, 2.5), ha="right", va="baseline",
                    textcoords="offset points", color=colour(kind), fontweight="semibold", size=6.5)  # fmt: skip


def _ink(trial: pd.Series) -> str:
    return colour("crashed" if trial["outcome"] == "crashed" else trial["verdict"])


def evidence(
    series: Curves, found: pd.DataFrame, captions: Mapping[tuple[str, str], str], metric: str, called: str
) -> bytes:
    """Draw the evidence for a kind of failure as SVG, one row of panels per trial.

    The panels are the classes of samples at the last evaluation (if images have labels), D's AUC and σ(D(G(z))), the
    spread of samples and how intact they are, and the objective. The mean outputs of a critic have a second axis. The
    onset of the failure is marked in all panels over steps, the onsets of states in that of D.

    Args:
        series: Metrics of the trials.
        found: Trials with this primary verdict.
        captions: (sweep, trial) → text beside its row.
        metric: Name of the objective's metric.
        called: Name of this metric for readers.
    """
    critics = [is_critic(trial) for _, trial in found.iterrows()]
    labelled = any(series.shares((t["sweep"], t["trial"])) for _, t in found.iterrows())
    panels = [*([_classes] if labelled else []), _separation, _spread]
    figure = canvas(WIDTH, 1.02 * len(found) + 0.35)
    axes = figure.subplots(len(found), len(panels) + 1, squeeze=False)
    for row, (_, trial) in zip(axes, found.iterrows(), strict=True):
        key = (trial["sweep"], trial["trial"])
        for ax, panel in zip(row, panels, strict=False):
            panel(ax, series, key, trial)
        _won(row[int(labelled)], series, key)
        row[-1].plot(*series.objective(key, metric), color=_ink(trial))
        _as_all(row[-1], series, metric)
        for ax in row[int(labelled) :]:
            ax.set_xlim(0, max(1, int(trial["steps"])))
            ax.axvline(trial["since_step"], color=colour(trial["verdict"]), linewidth=2, alpha=0.5, zorder=0)
        row[0].set_ylabel(captions[key], rotation=0, ha="right", va="center", color=INK, labelpad=6)
    known = any(len(series.evaluation((t["sweep"], t["trial"]), m.INTACT)[0]) for _, t in found.iterrows())
    of_samples = "samples: spread, intact" if known else "spread of samples"
    heads = [*(["classes at the end"] if labelled else []), _title_of_d(critics), of_samples, called]
    for ax, head in zip(axes[0], heads, strict=True):
        ax.set_title(head)
    for ax in axes[-1][int(labelled) :]:
        ax.set_xlabel("step")
    return svg(figure)


def game(
    series: Curves, found: pd.DataFrame, captions: Mapping[tuple[str, str], str], kind: str, metric: str, called: str
) -> bytes:
    """Draw the game between D and G as SVG, one row of panels per trial.

    The panels are D's AUC and σ(D(G(z))), the losses of D and G, and the objective. The onset of the state is marked in
    all of them.

    Args:
        series: Metrics of the trials.
        found: Trials in which the state holds.
        captions: (sweep, trial) → text beside its row.
        kind: Kind of the state.
        metric: Name of the objective's metric.
        called: Name of this metric for readers.
    """
    critics = [is_critic(trial) for _, trial in found.iterrows()]
    figure = canvas(WIDTH, 1.02 * len(found) + 0.35)
    axes = figure.subplots(len(found), 3, squeeze=False)
    for (of_d, of_losses, of_quality), (_, trial) in zip(axes, found.iterrows(), strict=True):
        key = (trial["sweep"], trial["trial"])
        _separation(of_d, series, key, trial)
        for metric_, ink, words in ((m.LOSS_D, INK, "D"), (m.LOSS_G, "#999999", "G")):
            steps, values = series.training(key, metric_)
            of_losses.plot(steps, values, color=ink)
            _name(of_losses, steps, values, words, ink)
        of_quality.plot(*series.objective(key, metric), color=_ink(trial))
        _as_all(of_quality, series, metric)
        for ax in (of_d, of_losses, of_quality):
            ax.set_xlim(0, max(1, int(trial["steps"])))
            for step in (step for name, step in series.states(key) if name == kind):
                ax.axvline(step, color=colour(kind), linestyle="-.", linewidth=1.2, zorder=0)
        of_d.set_ylabel(captions[key], rotation=0, ha="right", va="center", color=INK, labelpad=6)
    for ax, head in zip(axes[0], (_title_of_d(critics), "loss", called), strict=True):
        ax.set_title(head)
    for ax in axes[-1]:
        ax.set_xlabel("step")
    return svg(figure)


def _title_of_d(critics: Sequence[bool]) -> str:
    """Return the title of D's panels. critics: whether D is a critic, for each case."""
    if not any(critics):
        return "D: AUC, σ(D(G(z)))"
    return "critic: AUC, outputs" if all(critics) else "D: AUC, outputs"


def _as_all(ax: Axes, series: Curves, metric: str) -> None:
    """Set the y range to that of the metric in all trials of the report, so that small changes do not look large."""
    span = series.span(metric)
    if span is None or span[0] == span[1]:
        return
    if span[0] > 0:
        ax.set_ylim(span[0] / 1.1, span[1] * 1.1)
        _log(ax)
    else:
        ax.set_ylim(*span)


def _classes(ax: Axes, series: Curves, key: tuple[str, str], trial: pd.Series) -> None:
    shares, real = series.shares(key), trial["real_shares"] or {}
    places = range(len(shares))
    ax.bar(places, list(shares.values()), color=_ink(trial), width=0.75)
    ax.plot(places, [real.get(name, np.nan) for name in shares], "_", color=GREY, markersize=6)
    many = len(shares) > 12
    ax.set_xticks([] if many else list(places), [] if many else list(shares))
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(0, 1)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _separation(ax: Axes, series: Curves, key: tuple[str, str], trial: pd.Series) -> None:
    for metric, ink, words in ((m.D_AUC, INK, "AUC"), (m.D_FRESH, "#999999", "σ(D)")):
        steps, values = series.evaluation(key, metric)
        ax.plot(steps, values, color=ink)
        _name(ax, steps, values, words, ink, inside=is_critic(trial))
    ax.set_ylim(-0.03, 1.08)
    if is_critic(trial):
        _outputs(ax.twinx(), series, key)


def _outputs(ax: Axes, series: Curves, key: tuple[str, str]) -> None:
    """Draw a critic's mean outputs for real images and (dotted) for fakes during training."""
    for metric, dash in ((m.CRITIC_REAL, "-"), (m.CRITIC_FAKE, ":")):
        ax.plot(*series.training(key, metric), color="#999999", linestyle=dash)
    ax.tick_params(axis="y", labelcolor="#999999")
    ax.spines["right"].set_visible(True)


def _spread(ax: Axes, series: Curves, key: tuple[str, str], trial: pd.Series) -> None:
    spread = (m.SPREAD_ACROSS, INK, "across z"), (m.SPREAD_WITHIN, "#999999", "within")
    for metric, ink, words in (*spread, (m.INTACT, _ink(trial), "intact")):
        steps, values = series.evaluation(key, metric)
        ax.plot(steps, values, color=ink)
        _name(ax, steps, values, words, ink)
    ax.set_ylim(bottom=0)


def _name(ax: Axes, steps: np.ndarray, values: np.ndarray, words: str, ink: str, *, inside: bool = False) -> None:
    """Write the name of a curve at its last point, instead of a legend.

    inside: whether the name is below and left of this point, because there is a second axis at the right.
    """
    if len(steps):
        ax.annotate(words, (steps[-1], values[-1]), xytext=(-2, -2) if inside else (2, 0), textcoords="offset points",
                    ha="right" if inside else "left", va="top" if inside else "center", color=ink, size=6,
                    annotation_clip=False)  # fmt: skip


def cost(trials: pd.DataFrame, settings: Sequence[str], names: Mapping[str, str]) -> bytes:
    """Draw steps per second and wall time as SVG, one dot per trial.

    Both are drawn over each setting of the networks among the varied `settings`, at most three.
    """
    keys = [key for key in settings if key.startswith("model.")][:3]
    figure = canvas(WIDTH if keys else WIDTH / 2, 1.9)
    axes = figure.subplots(1, 2 * max(1, len(keys)))
    columns = (("steps_per_s", 1, "steps/s"), ("wall_s", 60, "wall time (min)"))
    panels = [(column, key) for column in columns for key in keys or [""]]
    for ax, ((column, scale, words), key) in zip(axes, panels, strict=True):
        values = trials[column].astype(float) / scale
        ax.set(xlabel=names[key] if key else "", title=words)
        if key and trials[key].nunique() > MOST_GROUPS:
            ax.scatter(trials[key].astype(float), values, s=7, color=INK, alpha=0.55, linewidths=0)
        else:
            _dots(ax, dict(tuple(values.groupby(trials[key], dropna=False))) if key else {"": values})
        ax.set_ylim(bottom=0)
    return svg(figure)


def _dots(ax: Axes, groups: Mapping[Any, pd.Series]) -> None:
    """Draw one column per group: a dot per value, with horizontal jitter, and a bar at the median."""
    rng = np.random.default_rng(0)
    ax.set_xticks(range(len(groups)), ["–" if pd.isna(value) else short(value) for value in groups])
    ax.set_xlim(-0.6, len(groups) - 0.4)
    for place, known in enumerate(groups.values()):
        values = known.dropna().to_numpy()
        ax.scatter(place + rng.uniform(-0.12, 0.12, len(values)), values, s=7, color=INK, alpha=0.55, linewidths=0)
        if len(values):
            ax.plot([place - 0.28, place + 0.28], [np.median(values)] * 2, color="#CC6677", linewidth=1.6)
