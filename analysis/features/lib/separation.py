"""How well metrics separate draws of degraded images from other draws of real images.

The statistic and its sign for each metric were fixed before anything was measured: docs/features.md.
"""

from dataclasses import replace

import numpy as np

from analysis.features.lib.names import FRECHET, REAL
from gansweep import SAMPLE_METRICS, Samples

DRAWS = 20
# Metrics that the registry calls neither "lower" nor "higher", though failures have one direction. For all others of
# that kind the distance from the median of further draws of real images counts.
SIGNS = {"precision": -1, "recall": -1, "ndb": 1, "near_duplicates": 1}


class Embedded:
    """The versions of a bench in one embedding.

    Args:
        bench: The images.
        reference: The reference of evaluations in the embedding.
        embed: Returns features and labels of images (N, C, H, W) uint8, as arrays.
    """

    def __init__(self, bench, reference, embed):
        self.bench, self.reference = bench, reference
        self.pixels, self.features, self.labels = {}, {}, {}
        for name, make in bench.versions().items():
            self.pixels[name] = make()
            self.features[name], self.labels[name] = embed(self.pixels[name])
        self._real = {}

    def real_side(self, order, number, samples):
        """Return the real images that draw `number` is compared with; the order depends on the number alone."""
        key = (None if order is None else number, samples)
        if key not in self._real:
            reference = self.reference
            if order is not None:
                reference = replace(
                    reference, features=reference.features[order], labels=reference.labels[order], file=None
                )
            self._real[key] = reference.at(samples)
        return self._real[key]

    def values(self, kind, number, samples, metrics):
        """Return name → value of a draw's metrics."""
        draw = self.bench.draw(kind, number, samples)
        images = (draw.of(self.pixels), draw.of(self.features), draw.of(self.labels))
        made = Samples(*images, None, self.real_side(draw.order, number, samples))
        possible = (one for one in metrics if one.needs <= {*made.given} and not one.is_family)
        return {
            name: value
            for one in possible
            if one.least is None or samples >= one.least(made.real)
            for name, value in one.record(made).items()
        }

    def rows(self, wanted, metrics):
        """Yield one record for each kind of draw and metric: degradations, and real images as `real`."""
        samples = self.bench.samples(wanted)
        others = self._series(REAL, range(2 * DRAWS), samples, metrics)  # the first half is only for medians
        for name, values in others.items():
            yield record(samples, REAL, name, values)
        for kind in self.bench.kinds():
            found = self._series(kind, range(1_000, 1_000 + DRAWS), samples, metrics)
            for name, values in found.items():
                yield record(samples, kind, name, values) | {"auc": auc(name, values, others[name])}

    def _series(self, kind, numbers, samples, metrics):
        points = [self.values(kind, number, samples, metrics) for number in numbers]
        return {name: np.array([point[name] for point in points]) for name in points[0]}


def record(samples, kind, name, values):
    metric = FRECHET if name == SAMPLE_METRICS[0].name else name
    return {"samples": samples, "draws": kind, "metric": metric, "mean": values.mean(), "sd": values.std(ddof=1)}


def auc(metric, degraded, real):
    """Return the probability that a degraded draw looks worse than a real one, ties counting half.

    Args:
        metric: Name of the metric.
        degraded: (DRAWS,) its values for degraded images.
        real: (2 · DRAWS,) its values for real images; the first half gives the median, the second is compared.
    """
    middle, compared = np.median(real[:DRAWS]), real[DRAWS:]
    worse, usual = badness(metric, degraded, middle)[:, None], badness(metric, compared, middle)
    return float((worse > usual).mean() + (worse == usual).mean() / 2)


def badness(metric, values, middle):
    """Return values so that larger ones are worse."""
    better = {one.name: one.better for one in SAMPLE_METRICS}[metric]
    sign = SIGNS.get(metric, {"lower": 1, "higher": -1, None: 0}[better])
    return sign * values if sign else np.abs(values - middle)
