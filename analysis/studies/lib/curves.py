"""Curves and bars of draw_pictures.py. Each takes the runs of its study and returns a figure; None where they lack."""

from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator

from analysis.failures.lib.figures import GREY, INK, PALE
from analysis.failures.lib.table import written
from analysis.studies.lib.runs import GROWTH, chosen
from analysis.studies.lib.study_a import arm
from analysis.studies.lib.study_d import BETA
from analysis.studies.lib.study_e1 import augmented, letter

BLUE, ROSE, TEAL = "#332288", "#CC6677", "#44AA99"  # Tol's muted scheme
LOSSES = {"loss_d": ("loss D", INK), "loss_g": ("loss G", TEAL)}


def growth(runs):
    """Plot both losses with 2 updates of G: each seed, and their mean."""
    arms = {"direct": (GREY, "direct"), "block": (BLUE, "grown by a block"), "head": (ROSE, "a new head alone")}
    found = {kind: arm(runs, kind, 2) for kind in arms}
    if not found["direct"]:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8))
    for ax, (metric, (name, _)) in zip(axes, LOSSES.items(), strict=True):
        for kind, (colour, label) in arms.items():
            if found[kind]:
                seeds(ax, found[kind], metric, colour, label)
        for at in {run.get(GROWTH) for kind in ("block", "head") for run in found[kind]}:
            ax.axvline(at, color=PALE, linewidth=2, zorder=0)
        finish(ax, f"{name} (nats)", "training step")
        ax.set_xlim(0, max(run.steps for run in found["direct"]))
    axes[0].legend(loc="upper right")
    return figure


def betas(runs):
    """Plot both losses, training and validation, and FD."""
    if not runs:
        return None
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.8))
    for ax, beta in zip(axes, (0.9, 0.5), strict=False):
        for metric, (name, colour) in LOSSES.items():
            seeds(ax, chosen(runs, {BETA: beta}), metric, colour, name)
            seeds(ax, chosen(runs, {BETA: beta}), f"val_{metric}", colour, f"{name}, unseen images", dotted=True)
        finish(ax, "loss (nats)", "training step", f"beta1 {beta}")
        ax.set_ylim(0, 5)
    axes[0].legend(loc=(0.3, 0.12))
    for beta, colour in ((0.9, ROSE), (0.5, BLUE)):
        seeds(axes[2], chosen(runs, {BETA: beta}), "fd_ratio", colour, f"beta1 {beta}")
    finish(axes[2], "FD ratio", "training step", "distance from real images")
    logarithmic(axes[2])
    axes[2].legend()
    return figure


def rates(runs):
    """Plot FD of each letter at three learning rates, with augmentation."""
    letters = [*dict.fromkeys(letter(run) for run in runs)]
    if not letters:
        return None
    figure, axes = plt.subplots(1, len(letters), figsize=(8, 2.4), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], letters, strict=True):
        shown = [run for run in runs if letter(run) == name and augmented(run)]
        for rate, colour in ((1e-4, BLUE), (5e-4, TEAL), (1e-3, ROSE)):
            seeds(ax, chosen(shown, {"training.learning_rate": rate}), "fd_ratio", colour, written(rate))
        finish(ax, "", "training step", name)
        logarithmic(ax)
    axes[0, 0].set_ylabel("FD ratio")
    lines, names = axes[0, -1].get_legend_handles_labels()
    figure.legend(lines, [f"rate {name}" for name in names], loc="upper right", ncols=len(names))
    figure.suptitle(" ")  # room for it
    return figure


def classes(runs):
    """Plot class shares in 80 and in 10,000 samples of each seed, and in the real images."""
    runs = [run for run in runs if run.classes]
    if not runs:
        return None
    figure, axes = plt.subplots(2, len(runs), figsize=(8, 3.4), sharex=True, sharey=True, squeeze=False)
    for column, run in zip(axes.T, runs, strict=True):
        names, real = run.classes["names"], np.array(run.classes["real"])
        for ax, kind, colour in zip(column, ("few", "samples"), (TEAL, BLUE), strict=True):
            counts = np.array(run.classes[kind])
            ax.bar(names, 100 * counts / counts.sum(), color=colour)
            ax.plot(100 * real / real.sum(), "_", color=INK, markersize=11, label="real images")
            finish(ax, "", "", f"seed {run.seed}, {counts.sum():,} samples")
            ax.tick_params(axis="x", length=0)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper right")
    figure.suptitle(" ")  # room for it
    figure.supylabel("share of images (%)")
    figure.supxlabel("digit, as the classifier sees it")
    return figure


def seeds(ax, runs, metric, colour, label, dotted=False):
    """Plot each run as a thin line, unless `dotted`, and the mean over the runs at their common steps."""
    by_step = defaultdict(list)
    for run in runs:
        steps, values = run.points(metric)
        if not dotted:
            ax.plot(steps, values, color=colour, linewidth=0.4, alpha=0.35)
        for step, value in zip(steps, values, strict=True):
            by_step[step].append(value)
    means = {step: np.mean(values) for step, values in by_step.items() if len(values) == len(runs)}
    ax.plot([*means], [*means.values()], ":" if dotted else "-", color=colour, linewidth=1, label=label)


def logarithmic(ax):
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


def finish(ax, ylabel, xlabel, title=""):
    ax.set(ylabel=ylabel, xlabel=xlabel, title=title)
    ax.margins(x=0.01)
