"""The figures of flag_failures.py. `chosen`: one (sweep, trial, verdict to show) per panel."""

import math
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from analysis.failures.lib.table import FLAGGED, settings, words

from gansweep import CheckpointError, UserError, reference_of, reopen, sample, verdict_colour

INK, GREY, PALE = "#222222", "#6B6B6B", "#A8A8A8"
SAMPLES = 1_000  # per trial, for counting classes
STYLE = {
    "font.size": 8, "axes.titlesize": 7, "axes.titlecolor": GREY, "axes.titlelocation": "left", "text.color": INK,
    "figure.titlesize": 11, "figure.titleweight": "bold", "figure.labelsize": 9, "legend.frameon": False,
    "legend.fontsize": 8, "xtick.color": PALE, "ytick.color": PALE, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.edgecolor": PALE, "axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True,
}  # fmt: skip
sns.set_theme("paper", "ticks", rc=STYLE)


def where(table, out):
    """Write where.svg: for each value of each setting, the share of trials in which D won, and in which G collapsed."""
    settings_of = [(name, rows) for name, rows in table.groupby("setting", sort=False) if len(rows) > 1]
    if not settings_of:
        return
    figure, axes = plt.subplots(len(settings_of), figsize=(6.4, 0.6 + 1.5 * len(settings_of)), squeeze=False)
    figure.suptitle("Where D wins, and where G collapses", x=0.01, ha="left")
    for ax, (name, rows) in zip(axes[:, 0], settings_of, strict=True):
        for kind, shift, colour in zip(FLAGGED, (-0.12, 0.12), (verdict_colour(FLAGGED[0]), INK), strict=True):
            shares, lows, highs = (100 * rows[f"{kind}_{what}"] for what in ("share", "low", "high"))
            places = np.arange(len(rows)) + shift
            ax.vlines(places, lows, highs, color=colour, linewidth=1.2)
            ax.plot(places, shares, "o", color=colour, markersize=4, label=kind.replace("_", " "))
        ax.set(xticks=range(len(rows)), xticklabels=rows["value"], xlim=(-0.5, len(rows) - 0.5))
        ax.set(ylim=(-4, 104), yticks=(0, 50, 100))
        ax.set_title(name.partition(".")[2] or name)
    figure.supylabel("share of trials (%), with 95 % intervals")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper right", ncols=2)
    figure.savefig(out / "where.svg")


def losses(chosen, out):
    """Write losses.svg: losses of D and G over the steps, with the onset of the failure."""
    figure, axes = panels(chosen, "Losses of failing trials, and where the failure began")
    for (_, trial, verdict), ax in zip(chosen, axes, strict=True):
        for metric, colour in (("loss_d", INK), ("loss_g", PALE)):
            steps, values = trial.history[metric].steps, trial.history[metric].values
            ax.plot(steps, np.where(np.isfinite(values), values, np.nan), color=colour, linewidth=1.4)
        onset, late = verdict.since_step, verdict.since_step > trial.steps / 2
        ax.axvline(onset, color=verdict_colour(verdict.kind), linewidth=2.5, zorder=0)
        beside = {"xytext": (-6 if late else 6, 0), "ha": "right" if late else "left", "textcoords": "offset points"}
        ax.annotate(words(verdict), (onset, 0.98), xycoords=ax.get_xaxis_transform(), va="top", **beside)
        ax.set_yscale("symlog", linthresh=0.01)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_xlim(0, trial.steps)
    top = max(10, axes[0].get_ylim()[1])  # shared by all panels; the space above is for text
    axes[0].set_ylim(-0.003, 100 * top)
    axes[0].set_yticks([tick for tick in axes[0].get_yticks() if 0 <= tick <= top])
    figure.supxlabel("training step")
    figure.supylabel("loss (nats)")
    figure.legend(axes[0].lines[:2], ["loss D", "loss G"], loc="upper right", ncols=2)
    figure.savefig(out / "losses.svg")


def class_histograms(home, chosen, out):
    """Write classes.svg and classes.csv: class shares of samples at the end, and of real images."""
    found = [(one, counts) for one in chosen if (counts := class_counts(home, *one)) is not None]
    if not found:
        return
    figure, axes = panels([one for one, _ in found], f"Classes of {SAMPLES:,} samples at the end, and of real images")
    for ((_, _, verdict), counts), ax in zip(found, axes, strict=True):
        shares = 100 * counts[["samples", "real"]] / counts[["samples", "real"]].sum()
        sns.barplot(x=counts["class"], y=shares["samples"], ax=ax, color=verdict_colour(verdict.kind), saturation=1)
        real = ax.plot(shares["real"], "_", color=INK, markersize=11, markeredgewidth=1.5)
        ax.set(xlabel="", ylabel="", ylim=(0, 135), yticks=range(0, 101, 25))
        ax.tick_params(axis="x", length=0, rotation=90 if counts["class"].str.len().max() > 2 else 0)
        ax.text(0.99, 0.98, words(verdict), ha="right", va="top", transform=ax.transAxes)
    figure.supxlabel("class, according to the evaluator's classifier")
    figure.supylabel("share of images (%)")
    figure.legend(real, ["real images"], loc="upper right")
    figure.savefig(out / "classes.svg")
    pd.concat(counts for _, counts in found).to_csv(out / "classes.csv", index=False)


def class_counts(home, sweep, trial, verdict):
    """Return one row per class; None, with a message on stderr, if classes cannot be counted."""
    try:
        trainer, images = reopen(home, sweep, trial.id)
        if len(images.classes) < 2:
            raise UserError(f"{sweep}/{trial.id}: its images have no classes")
    except (UserError, CheckpointError) as error:
        return print(f"no histogram: {error}", file=sys.stderr)
    z = torch.randn(SAMPLES, trainer.config.latent_dim, generator=torch.Generator().manual_seed(0))
    pixels = np.concatenate([sample(trainer.generator, part) for part in z.split(250)])
    _, labels = reference_of(images)[0].embedding.embed(torch.from_numpy(pixels))
    samples, real = (np.bincount(which, minlength=len(images.classes)) for which in (labels, images.labels()))
    about = {"sweep": sweep, "trial": trial.id, "verdict": verdict.kind, "class": images.classes}
    return pd.DataFrame({**about, "samples": samples, "real": real})


def strips(home, chosen, out):
    """Write strips.svg: two rows of the last grid before the onset, and of the last grid."""
    size = (9, 1.05 * len(chosen) + 0.5)
    figure, axes = plt.subplots(len(chosen), 3, figsize=size, squeeze=False, width_ratios=(0.6, 1, 1))
    figure.suptitle("Samples before the failure began, and at the end", x=0.01, ha="left")
    for (sweep, trial, verdict), (label, *row) in zip(chosen, axes, strict=True):
        label.set_axis_off()
        label.axvline(0, color=verdict_colour(verdict.kind), linewidth=2.5)
        label.set(xlim=(0, 1), ylim=(0, 1))
        label.text(0.05, 1, words(verdict), va="top")
        label.text(0.05, 0.66, settings(sweep, trial, 34), va="top", color=GREY, fontsize=6)
        grids = home.sweep(sweep).trial(trial.id).all_samples()
        before = [grid for grid in grids if int(grid.stem) < verdict.since_step] or grids[:1]
        for ax, grid, when in zip(row, (before[-1], grids[-1]), ("before", "at the end"), strict=True):
            pixels = plt.imread(grid)
            ax.imshow(pixels[: len(pixels) // 4], cmap="gray", vmin=0, vmax=1, interpolation="none")
            ax.set_title(f"{when}, step {int(grid.stem):,}")
            ax.set_axis_off()
    figure.savefig(out / "strips.svg")


def panels(chosen, title):
    """Return a figure and its axes, each with the settings of its trial as title."""
    columns = min(3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    size = (max(6.4, 3.2 * columns), 2.2 * rows + 0.6)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False)
    figure.suptitle(title, x=0.01, ha="left")
    for ax in axes.flat[len(chosen) :]:
        ax.remove()
    for ax, (sweep, trial, _) in zip(axes.flat, chosen, strict=False):
        ax.set_title(settings(sweep, trial, 52))
    return figure, axes.flat[: len(chosen)]
