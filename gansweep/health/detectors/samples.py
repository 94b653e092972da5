"""Detectors of failures that show in the samples.

analysis/detectors/results/detector_accuracy.csv records how often their verdicts are correct.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.health import metrics as m
from gansweep.health.detectors.base import LATE, EvaluationDetector, Stalling, threshold
from gansweep.health.kinds import INFORMATION_COLOUR, Kind, Standing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gansweep.health.detectors.base import Signals
    from gansweep.health.history import Evaluations

Figures = Mapping[str, float]
FLOOR = 0.42  # of `intact`, below which most samples show nothing: fitted to blind looks (docs/verdicts.md)
SHOWING = "samples intact at least {:g}, if recorded"


@dataclass(frozen=True)
class DeadGenerator(EvaluationDetector):
    """G's output does not depend on z: one constant image, or one with slight noise.

    One image with slight noise counts only late in a run, because a G that learns slowly may begin with it.
    """

    kind = Kind("dead_generator", Standing.FAILURE, "G makes the same image from every z", "#000000", stops=True)
    need: int = threshold(2, 1, 100)
    window: int = threshold(2, 1, 100)
    earliest: float = threshold(0.2, 0, 1)
    across: float = threshold(0.05, 0, 1, "spread across z below {:g}")
    slight: float = threshold(0.25, 0, 1, "or below {:g}")
    duplicates: float = threshold(0.97, 0, 1, "with near duplicates of at least {:g}")
    late: float = threshold(LATE, 0, 1, "after {:g} of the steps")

    def signals(self, at: Evaluations) -> Signals:
        alike = (at[m.SPREAD_ACROSS] < self.slight) & (at[m.NEAR_DUPLICATES] >= self.duplicates)
        return (at[m.SPREAD_ACROSS] < self.across) | (alike & (at.steps >= self.late * at.history.budget))

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {k: at.last(k) for k in (m.SPREAD_ACROSS, m.SPREAD_WITHIN, m.NEAR_DUPLICATES)}

    def reason(self, found: Figures) -> str:
        looks = "a blank image" if found[m.SPREAD_WITHIN] < 0.2 else "the same image"
        if found[m.SPREAD_ACROSS] >= self.across:
            looks += " with slight noise"
        return f"G makes {looks} from every z (spread across samples {found[m.SPREAD_ACROSS]:.3f} of the real one)"


@dataclass(frozen=True)
class ModeCollapse(Stalling):
    """G makes few different images: samples are dense but cover little of the data, show one class, or are near copies.

    Noise and textures are alike as well, but are not a collapse. Samples must therefore be intact. If `intact` was not
    recorded, the run must have taken off, or samples must be dense. Before the end of a run the detector fires only
    while quality stands still.

    Near duplicates count only if they also look alike (MS-SSIM), because features of noise lie close together as well.

    For a conditional G the requested classes are also examined separately, and the class that is covered least decides.
    There are few samples of each class. For real MNIST digits in the place of samples (k = 5), coverage of the worst of
    10 classes with 25 samples each is .92 in the median, .72 at the first percentile and never below .48 in 3,000
    draws; for the worst of 2 classes with 128 samples each it is .96 and .91.
    """

    kind = Kind("mode_collapse", Standing.FAILURE, "G makes few different images", "#332288", stops=True)
    need: int = threshold(2, 1, 100)
    window: int = threshold(3, 1, 100)
    density: float = threshold(0.7, 0, 10, "density above {:g}")
    coverage: float = threshold(0.5, 0, 1, "coverage below {:g}")
    classes: float = threshold(1.5, 1, 1000, "at most {:g} effective classes")
    duplicates: float = threshold(0.5, 0, 1, "near duplicates above {:g}")
    alike: float = threshold(0.5, 0, 10, "with an MS-SSIM above {:g}")
    within: float = threshold(0.4, 0, 1, "coverage within the worst class below {:g}")
    share: float = threshold(0.5, 0, 1, "once an FD ratio below {:g} times the first")
    dense: float = threshold(0.3, 0, 10, "or density of at least {:g}")
    intact: float = threshold(FLOOR, 0, 1, "where recorded, instead of these two, intact at least {:g}")

    def signals(self, at: Evaluations) -> Signals:
        dense_but_few = (at[m.DENSITY] > self.density) & (at[m.COVERAGE] < self.coverage)
        copies = (at[m.NEAR_DUPLICATES] > self.duplicates) & (at[m.MS_SSIM] > self.alike)
        one_class = (at[m.DENSITY_WITHIN_WORST] > self.density) & (at[m.COVERAGE_WITHIN_WORST] < self.within)
        few = dense_but_few | (at[m.CLASSES] <= self.classes) | copies | one_class
        something = took_off(at, self.share) | (at[m.DENSITY] >= self.dense)
        return few & where_recorded(at[m.INTACT], at[m.INTACT] >= self.intact, something)

    def figures(self, at: Evaluations) -> dict[str, float]:
        signs = (m.DENSITY, m.COVERAGE, m.NEAR_DUPLICATES, m.CLASSES, m.COVERAGE_WITHIN_WORST, m.DENSITY_WITHIN_WORST)
        return {k: at.last(k) for k in signs if len(at.history[k])}

    def reason(self, found: Figures) -> str:
        words = {
            m.COVERAGE: "samples cover {:.0%} of the real images",
            m.DENSITY: "density is {:.2f}",
            m.NEAR_DUPLICATES: "{:.0%} are near duplicates",
            m.CLASSES: "{:.1f} effective classes are left",
        }
        summary = ", ".join(text.format(found[name]) for name, text in words.items() if name in found)
        dense, covered = (found.get(k, math.nan) for k in (m.DENSITY_WITHIN_WORST, m.COVERAGE_WITHIN_WORST))
        if dense > self.density and covered < self.within:
            return f"within the class asked for, at worst {covered:.0%} of its images are covered; in all, {summary}"
        return summary


@dataclass(frozen=True)
class ModeDropping(EvaluationDetector):
    """Samples are good, and some classes are not among them. 8 and 9 of 10 classes are a grey zone.

    A classifier assigns poor samples to few classes, which does not show that the other classes are missing. Samples
    must therefore be dense, intact if `intact` was recorded, and cover the classes that remain. The coverage of all
    real images is at most the share of the remaining classes, estimated as effective classes / (effective classes +
    missing classes). The detector fires only in embeddings whose metrics were compared with blind looks at sample
    grids (`History.compared`): in others, dense samples need not be good.
    """

    kind = Kind("mode_dropping", Standing.FAILURE, "some classes are no longer generated", "#2F8FC4")
    need: int = threshold(3, 1, 100)
    window: int = threshold(5, 1, 100)
    earliest: float = threshold(LATE, 0, 1)
    missing: int = threshold(1, 1, 1000, "at least {:g} classes missing")
    dense: float = threshold(0.5, 0, 10, "density of at least {:g}")
    covered: float = threshold(0.5, 0, 1, "coverage of at least {:g} times the share of the other classes")
    intact: float = threshold(FLOOR, 0, 1, SHOWING)

    def signals(self, at: Evaluations) -> Signals:
        missing = at[m.CLASSES_MISSING]
        remaining = at[m.CLASSES] / (at[m.CLASSES] + missing)
        good = (at[m.DENSITY] >= self.dense) & (at[m.COVERAGE] >= self.covered * remaining)
        dropped: Signals = good & (missing >= self.missing) & at.history.compared
        return dropped & ~(at[m.INTACT] < self.intact)

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {k: at.last(k) for k in (m.CLASSES_MISSING, m.CLASSES, m.LABEL_KL, m.COVERAGE)}

    def reason(self, found: Figures) -> str:
        missing = found[m.CLASSES_MISSING]
        are = "class is" if missing == 1 else "classes are"
        return (
            f"{missing:.0f} {are} missing, {found[m.CLASSES]:.1f} effective classes are left"
            f" (KL from the real ones {found[m.LABEL_KL]:.2f})"
        )


@dataclass(frozen=True)
class ConditionIgnored(EvaluationDetector):
    """A conditional G makes the requested class hardly more often than by chance.

    The signal is a small product of the share of samples of the requested class and the number of effective classes. A
    G that ignores the label meets 1 / n of the requests for n equally frequent classes, so the product is at most 1,
    with a standard deviation of .19 for 256 samples of ten classes and .06 for two. For a G that uses the label it is n
    times the accuracy of the classifier, which may be poor: 5 for ten classes with an accuracy of one half.

    The product is less informative where one class is much more frequent than the others. In addition, the share of
    correct samples of the worst class must therefore be below `worst` (with two classes, half are correct by chance).
    Samples that show nothing belong to no class, so samples must be intact if `intact` was recorded.
    """

    kind = Kind(
        "condition_ignored",
        Standing.FAILURE,
        "a conditional G makes the requested class hardly more often than by chance",
        "#7A4A21",
    )
    need: int = threshold(3, 1, 100)
    window: int = threshold(5, 1, 100)
    earliest: float = threshold(LATE, 0, 1)
    times: float = threshold(1.5, 1, 100, "share of the requested class times effective classes below {:g}")
    worst: float = threshold(0.6, 0, 1, "share of the worst class below {:g}")
    intact: float = threshold(FLOOR, 0, 1, SHOWING)

    def signals(self, at: Evaluations) -> Signals:
        by_chance = at[m.REQUESTED] * at[m.CLASSES] < self.times
        ignored: Signals = by_chance & (at[m.REQUESTED_WORST] < self.worst)
        return ignored & ~(at[m.INTACT] < self.intact)

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {k: at.last(k) for k in (m.REQUESTED, m.REQUESTED_WORST, m.CLASSES)}

    def reason(self, found: Figures) -> str:
        return (
            f"{found[m.REQUESTED]:.0%} of the samples are of the class that was asked for, of one class"
            f" {found[m.REQUESTED_WORST]:.0%}; of {found[m.CLASSES]:.1f} effective classes, that is chance"
        )


@dataclass(frozen=True)
class Imbalance(EvaluationDetector):
    """Every class is generated, but in other shares than in the data."""

    kind = Kind(
        "imbalance",
        Standing.INFORMATION,
        "every class is generated, but in other shares than in the data",
        INFORMATION_COLOUR,
    )
    need: int = threshold(3, 1, 100)
    window: int = threshold(5, 1, 100)
    earliest: float = threshold(LATE, 0, 1)
    kl: float = threshold(0.2, 0, 100, "label KL above {:g}")

    def signals(self, at: Evaluations) -> Signals:
        uneven: Signals = (at[m.LABEL_KL] > self.kl) & (at[m.CLASSES_MISSING] == 0)
        return uneven

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {m.LABEL_KL: at.last(m.LABEL_KL)}

    def reason(self, found: Figures) -> str:
        return f"every class comes out, but unevenly (KL from the real ones {found[m.LABEL_KL]:.2f})"


@dataclass(frozen=True)
class NeverTookOff(Stalling):
    """Samples vary with z but are noise, texture or blobs, and never were anything else.

    If `intact` was recorded, samples are not intact, and coverage (a median of a few evaluations) has never been more
    than small. If it was not, samples are not dense, and the FD ratio has never been below `share` times its first
    value. Textures can fall below that.
    """

    kind = Kind("never_took_off", Standing.FAILURE, "samples are still noise, texture or blobs", "#B08A1E", stops=True)
    need: int = threshold(3, 1, 100)
    window: int = threshold(5, 1, 100)
    density: float = threshold(0.3, 0, 10, "density below {:g}")
    share: float = threshold(0.5, 0, 1, "no FD ratio below {:g} times the first")
    across: float = threshold(0.05, 0, 1, "spread across z at least {:g}")
    intact: float = threshold(FLOOR, 0, 1, "where recorded, instead of density and FD ratio, intact below {:g}")
    covered: float = threshold(0.1, 0, 1, "and coverage never above {:g}")
    medians: int = threshold(3, 1, 100, "in medians of {:g}")

    def signals(self, at: Evaluations) -> Signals:
        far = (at[m.DENSITY] < self.density) & (at[m.FD_RATIO] == at[m.FD_RATIO]) & ~took_off(at, self.share)
        known = at[m.COVERAGE] == at[m.COVERAGE]
        nothing = known & (at[m.INTACT] < self.intact) & (self._most_covered(at) <= self.covered)
        return where_recorded(at[m.INTACT], nothing, far) & (at[m.SPREAD_ACROSS] >= self.across)

    def _most_covered(self, at: Evaluations) -> NDArray[np.float64]:
        """Return (n,) the largest median of coverage over `medians` evaluations so far; NaN before the first median."""
        import numpy as np

        return np.fmax.accumulate(at.rolling(m.COVERAGE, self.medians, "median"))

    def figures(self, at: Evaluations) -> dict[str, float]:
        found = {
            m.FD_RATIO: at.last(m.FD_RATIO),
            "first_fd_ratio": at.first(m.FD_RATIO),
            m.DENSITY: at.last(m.DENSITY),
        }
        if len(at.history[m.INTACT]):
            found |= {m.INTACT: at.last(m.INTACT), "most_covered": float(self._most_covered(at)[-1])}
        return found

    def reason(self, found: Figures) -> str:
        if m.INTACT in found:
            return (
                f"samples are recognisable at {found[m.INTACT]:.0%} of the rate of real images, and never covered more"
                f" than {found['most_covered']:.0%} of these"
            )
        return (
            f"FD ratio is {found[m.FD_RATIO]:.0f}, it began at {found['first_fd_ratio']:.0f};"
            f" density is {found[m.DENSITY]:.2f}"
        )


@dataclass(frozen=True)
class Poor(EvaluationDetector):
    """G has learned something, but its samples are far from the data: most of them are not intact images.

    The threshold of `intact` was fitted to blind looks at sample grids (docs/verdicts.md). If `intact` was not
    recorded, no run is called poor.
    """

    kind = Kind(
        "poor",
        Standing.FAILURE,
        "G has learned something, and its samples are far from the data",
        "#CC6677",
        ranked=True,
    )
    earliest: float = threshold(0.8, 0, 1)
    over: int = threshold(5, 1, 100, "medians of {:g} evaluations")
    intact: float = threshold(FLOOR, 0, 1, "intact below {:g} of real images")

    def signals(self, at: Evaluations) -> Signals:
        poor: Signals = at.rolling(m.INTACT, self.over, "median") < self.intact
        return poor

    def figures(self, at: Evaluations) -> dict[str, float]:
        return {m.INTACT: float(at.rolling(m.INTACT, self.over, "median")[-1]), m.FD_RATIO: at.last(m.FD_RATIO)}

    def _onset(self, first_signal: int) -> int:
        return max(0, first_signal - self.over + 1)  # where the window begins

    def reason(self, found: Figures) -> str:
        return (
            f"samples are recognisable at {found[m.INTACT]:.0%} of the rate of real images"
            f" (FD ratio {found[m.FD_RATIO]:.0f})"
        )


def where_recorded(values: NDArray[np.float64], recorded: Signals, otherwise: Signals) -> Signals:
    """Return (n,) the element of `recorded` where the value is a number, and that of `otherwise` where it is NaN."""
    import numpy as np

    return np.where(np.isnan(values), otherwise, recorded)


def took_off(at: Evaluations, share: float) -> Signals:
    """Return (n,) whether the FD ratio was below `share` times its first value at or before each evaluation."""
    import numpy as np

    found: Signals = np.fmin.accumulate(at[m.FD_RATIO]) < share * at.first(m.FD_RATIO)
    return found


@dataclass(frozen=True)
class LateInstability(EvaluationDetector):
    """Quality was good and stable, and then broke: the FD ratio rose far above its best value.

    If samples are still intact, quality did not break, however far the FD ratio has risen.
    """

    kind = Kind("late_instability", Standing.FAILURE, "quality was good and stable, and broke", "#AA4499")
    need: int = threshold(2, 1, 100)
    window: int = threshold(2, 1, 100)
    stable: int = threshold(5, 2, 100, "stable over {:g} evaluations")
    within: float = threshold(1.1, 1, 10, "within {:g} times the best FD ratio")
    factor: float = threshold(2.0, 1, 100, "FD ratio above {:g} times the best")
    deviations: float = threshold(6.0, 0, 100, "by more than {:g} deviations")
    least: float = threshold(
        4.0, 0, 1000, "and above {:g}"
    )  # below, a FD ratio is as good as ideal, and its noise is large
    intact: float = threshold(FLOOR, 0, 1, "unless intact at least {:g}")

    def signals(self, at: Evaluations) -> Signals:
        import numpy as np

        from gansweep.health.history import rolling

        fd = at[m.FD_RATIO]
        best = np.fmin.accumulate(fd)
        near = rolling(fd, self.stable, "max") <= self.within * rolling(best, self.stable, "max")
        found, calm = np.zeros(len(at), bool), np.zeros(0)
        for i in range(len(at)):
            if len(calm) and fd[i] > max(self.least, self.factor * best[i]):  # seldom: medians take long
                middle = float(np.median(calm))
                mad = float(np.median(np.abs(calm - middle)))
                found[i] = fd[i] - middle > self.deviations * mad
            if near[i]:
                calm = fd[i - self.stable + 1 : i + 1]
        return found & ~(at[m.INTACT] >= self.intact)  # where it was not recorded, FD decides alone

    def figures(self, at: Evaluations) -> dict[str, float]:
        best = min(value for value in at[m.FD_RATIO].tolist() if value == value)
        return {m.FD_RATIO: at.last(m.FD_RATIO), "best_fd_ratio": best}

    def reason(self, found: Figures) -> str:
        return f"FD ratio is {found[m.FD_RATIO]:.0f} after a best of {found['best_fd_ratio']:.0f}"
