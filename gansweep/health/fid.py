"""FID, KID and the inception score: their names, and what they require. Does not load NumPy or torch.

They are measured once, on many samples, in the features of the Inception network that the publications used. In the
features of any other network, the metrics have other names, which contain the name of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gansweep.errors import UserError
from gansweep.health.measure import Metric
from gansweep.words import counted

LEAST = 2_048  # images: the covariance of as many features is singular with fewer
FID = "fid"


def check_images(images: int) -> None:
    """Raise UserError if a data set has fewer than LEAST images. `images`: Number of its images."""
    if images < LEAST:
        raise UserError(
            f"{counted(images, 'image')} are too few, {LEAST:,} are needed: with fewer, the covariance of as many"
            " features is singular"
        )


@dataclass(frozen=True)
class Distances:
    """Comparison of many samples with the real images, in the features of a network.

    Attributes:
        network: Name of the network; "" for Inception with its published weights.
        frechet: Squared Fréchet distance (Heusel et al. 2017).
        kernel: Mean and standard deviation, over subsets, of the squared kernel distance (Bińkowski et al. 2018).
        score: Mean and standard deviation, over splits, of the inception score (Salimans et al. 2016).
    """

    network: str
    frechet: float
    kernel: tuple[float, float]
    score: tuple[float, float]

    def record(self) -> dict[str, float]:
        """Return the metrics to record: name → value."""
        metrics = OTHER_METRICS if self.network else PUBLISHED_METRICS
        return {name: value for one in metrics for name, value in one.record(self).items()}


@dataclass(frozen=True)
class _Distance:
    """Definition of two metrics: a distance or score in Inception's features, and the same in those of other networks.

    Attributes:
        of: Returns the value.
        published: Name, label and explanation of the metric in Inception's features.
        other: Name, label and explanation of the metrics in other networks' features. The name of a network is appended
            to the name, after its slash, and to the label.
        better: Which values are better; None if neither direction is.
        logarithmic: Whether it is averaged and drawn on a logarithmic scale.
    """

    of: Callable[[Distances], float]
    published: tuple[str, str, str]
    other: tuple[str, str, str]
    better: Literal["lower", "higher"] | None = None
    logarithmic: bool = False

    def metric(self) -> Metric[Distances]:
        """Return the metric in Inception's features, as published."""
        return Metric(*self.published, self.of, better=self.better, logarithmic=self.logarithmic)

    def family(self) -> Metric[Distances]:
        """Return the family of metrics in the features of other networks, with one metric for each network."""
        return Metric(*self.other, lambda d: {d.network: self.of(d)}, better=self.better, logarithmic=self.logarithmic)


_DISTANCES = (
    _Distance(
        lambda d: d.frechet,
        (
            FID,
            "FID",
            "Fréchet inception distance of many samples and all real images (Heusel et al. 2017); 0 is ideal",
        ),
        (
            "frechet/",
            "Fréchet distance in",
            "Fréchet distance of many samples and all real images in a network that is not the Inception of FID",
        ),
        better="lower",
        logarithmic=True,
    ),
    _Distance(
        lambda d: d.kernel[0],
        (
            "kid",
            "KID",
            "kernel inception distance, the mean over subsets (Bińkowski et al. 2018); 0 is ideal",
        ),
        (
            "kernel/",
            "kernel distance in",
            "kernel distance in a network that is not the Inception of KID, the mean over subsets",
        ),
        better="lower",
    ),
    _Distance(
        lambda d: d.kernel[1],
        (
            "kid_std",
            "deviation of KID",
            "standard deviation of KID over subsets",
        ),
        (
            "kernel_std/",
            "kernel deviation in",
            "standard deviation of that kernel distance over subsets",
        ),
    ),
    _Distance(
        lambda d: d.score[0],
        (
            "inception_score",
            "inception score",
            "how certain and how varied Inception's classes of the samples are (Salimans et al. 2016)",
        ),
        (
            "score/",
            "score in",
            "what the inception score is, of the classes of another network",
        ),
        better="higher",
    ),
    _Distance(
        lambda d: d.score[1],
        (
            "inception_score_std",
            "deviation of inception score",
            "standard deviation of the inception score over ten parts of the samples",
        ),
        (
            "score_std/",
            "score deviation in",
            "standard deviation of that score over ten parts of the samples",
        ),
    ),
)
PUBLISHED_METRICS = tuple(one.metric() for one in _DISTANCES)
OTHER_METRICS = tuple(one.family() for one in _DISTANCES)
