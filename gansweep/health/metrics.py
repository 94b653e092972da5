"""The metrics of a run: the names of what training records, and the metrics of evaluations."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from gansweep.health.fid import OTHER_METRICS, PUBLISHED_METRICS
from gansweep.health.measure import Metric, Need, Statistic, over
from gansweep.usercode.path import is_import_path

if TYPE_CHECKING:
    from gansweep.health.evidence import Outputs, Samples

T = TypeVar("T")

# Averages over the steps since the last record.
LOSS_D = "loss_d"
LOSS_G = "loss_g"
D_REAL = "d_real"  # mean σ(D(x)) on real images
D_FAKE = "d_fake"  # mean σ(D(G(z))) on the fakes that D trained on
GRADIENT_NORM_D = "grad_norm_d"
GRADIENT_NORM_G = "grad_norm_g"
TRAINING = (LOSS_D, LOSS_G, D_REAL, D_FAKE, GRADIENT_NORM_D, GRADIENT_NORM_G)
# A critic's outputs are no probabilities: their means are recorded instead of D_REAL and D_FAKE.
CRITIC_REAL = "critic_real"  # mean D(x) on real images
CRITIC_FAKE = "critic_fake"  # mean D(G(z)) on the fakes that D trained on
CRITIC_TRAINING = (LOSS_D, LOSS_G, CRITIC_REAL, CRITIC_FAKE, GRADIENT_NORM_D, GRADIENT_NORM_G)
ADA_P = "ada_p"  # probability of adaptive augmentation, only with it

# Once a record, on held-out images (only with dataset.validation).
VALIDATION_LOSS_D = "val_loss_d"
VALIDATION_LOSS_G = "val_loss_g"

STEPS_PER_S = "steps_per_s"
# Only on a CUDA device, as NVML gives them.
GPU_MEMORY = "gpu_memory_bytes"  # of the trial's process, its CUDA context included
GPU_UTILIZATION = "gpu_utilization"  # share of the last moment, in percent, in which the GPU was busy, with any process
MACHINE = (STEPS_PER_S, GPU_MEMORY, GPU_UTILIZATION)  # properties of the machine; they differ from run to run

# Recorded once, by the record that found it: the first step at which something was not finite.
NONFINITE_STEP = "nonfinite_step"

# Evaluations: fresh samples against real images, in the features of an embedding. Explained in SAMPLE_METRICS.
FD_RATIO = "fd_ratio"
DENSITY = "density"
COVERAGE = "coverage"
PRECISION = "precision"
RECALL = "recall"
NDB = "ndb"
NEAR_DUPLICATES = "near_duplicates"
SPREAD_ACROSS = "spread_across"
SPREAD_WITHIN = "spread_within"
MS_SSIM = "ms_ssim"
CLASSES = "effective_classes"
LABEL_KL = "label_kl"
CLASSES_MISSING = "classes_missing"
CLASS_SHARE = "class_share/"
REQUESTED = "requested"
REQUESTED_WORST = "requested_worst"
COVERAGE_WITHIN = "coverage_within"
COVERAGE_WITHIN_WORST = "coverage_within_worst"
DENSITY_WITHIN_WORST = "density_within_worst"
REQUESTED_SHARE = "requested/"
MEMORISED = "memorised"
INTACT = "intact"
# D on a copy with batch statistics. Explained in DISCRIMINATOR_METRICS.
D_AUC = "d_auc"
D_STD = "d_std"
R_V = "r_v"
D_ACCURACY = "d_accuracy"
R_T = "r_t"
D_GAP = "d_gap"
D_FRESH = "d_fresh"
D_PREFERENCE = "d_preference"
COHERENCE = "gradient_coherence"

_LABELS = frozenset({Need.LABELS})
_CONDITION = frozenset({Need.LABELS, Need.CONDITION})
_PROBABILITIES = frozenset({Need.PROBABILITIES})


def _class_shares(s: Samples) -> Mapping[str, float]:
    from gansweep.health.evidence import by_class

    return by_class(s.real.class_names, s.histogram.shares)


def _requested_shares(s: Samples) -> Mapping[str, float]:
    from gansweep.health.evidence import by_class

    return by_class(s.real.class_names, s.right)


def _least_requested(s: Samples) -> float:
    return float(min(share for share in s.right.tolist() if share == share))


_REAL_SPREAD = Statistic("spread", lambda real: real.spread)
_REAL_MS_SSIM = Statistic("ms_ssim", lambda real: real.ms_ssim)

# The metrics of evaluations, in the order of records. To add one, write it in a module of its own and name it here: the
# evaluator, sweep files (search.objective), tables and reports read these lists.
SAMPLE_METRICS: tuple[Metric[Samples], ...] = (
    Metric(
        FD_RATIO,
        "FD ratio",
        "Fréchet distance (FD) of samples and real images, divided by that of two sets of real images; 1 is ideal",
        lambda s: s.fd_ratio,
        better="lower",
        logarithmic=True,
    ),
    Metric(
        DENSITY,
        "density",
        "how densely real images surround the samples (Naeem et al. 2020); 1 is ideal",
        lambda s: s.density_coverage[0],
    ),
    Metric(
        COVERAGE,
        "coverage",
        "share of real images with a sample in their neighbourhood (Naeem et al. 2020); 1 is ideal",
        lambda s: s.density_coverage[1],
        better="higher",
    ),
    Metric(
        PRECISION,
        "precision",
        "share of the samples within the manifold of the real images (Kynkäänniemi et al. 2019); 1 for a black image",
        lambda s: s.precision_recall[0],
    ),
    Metric(
        RECALL,
        "recall",
        "share of the real images within the manifold of the samples (Kynkäänniemi et al. 2019)",
        lambda s: s.precision_recall[1],
    ),
    Metric(
        NDB,
        "NDB",
        "share of bins with another share of samples than of real images (Richardson & Weiss 2018); .05 by chance",
        lambda s: s.real.bins.different(s.bin_counts),
    ),
    Metric(
        NEAR_DUPLICATES,
        "near duplicates",
        "share of samples that are nearer to another sample than 99 % of real images are to another real image",
        lambda s: s.near_duplicates,
    ),
    Metric(
        SPREAD_ACROSS,
        "spread across z",
        "standard deviation of pixels over samples, divided by that of real images",
        lambda s: over(s.spread[0], _REAL_SPREAD.of(s.real)[0]),
        statistic=_REAL_SPREAD,
    ),
    Metric(
        SPREAD_WITHIN,
        "spread within",
        "standard deviation of pixels within a sample, divided by that of real images",
        lambda s: over(s.spread[1], _REAL_SPREAD.of(s.real)[1]),
        statistic=_REAL_SPREAD,
    ),
    Metric(
        MS_SSIM,
        "MS-SSIM",
        "mean structural similarity of two samples of a class, divided by that of real images; above 1: more alike",
        lambda s: over(s.ms_ssim, _REAL_MS_SSIM.of(s.real)),
        statistic=_REAL_MS_SSIM,
    ),
    Metric(
        CLASSES,
        "effective classes",
        "exp of the entropy of the samples' classes: m for m equally frequent classes",
        lambda s: s.histogram.effective_classes(),
        _LABELS,
    ),
    Metric(
        LABEL_KL,
        "label KL",
        "KL divergence of the samples' classes from those of the real images, in nats",
        lambda s: s.histogram.divergence_from(s.real.histogram),
        _LABELS,
        better="lower",
    ),
    Metric(
        CLASSES_MISSING,
        "classes missing",
        "classes with fewer than five samples, or fewer than a tenth of the number expected from the real images",
        lambda s: float(s.histogram.missing(s.real.histogram)),
        _LABELS,
        better="lower",
        least=lambda real: real.histogram.least_to_miss(),
    ),
    Metric(
        CLASS_SHARE,
        "class share",
        "share of the samples that the classifier assigns to a class",
        _class_shares,
        _LABELS,
    ),
    Metric(
        REQUESTED,
        "requested class",
        "share of the samples that the classifier assigns to the requested class",
        lambda s: s.requested_share,
        _CONDITION,
    ),
    Metric(
        REQUESTED_WORST,
        "requested class, worst",
        "the same share for the class with the smallest share",
        _least_requested,
        _CONDITION,
    ),
    Metric(
        COVERAGE_WITHIN,
        "coverage within classes",
        "coverage of the real images of a class by the samples requested of it, averaged over classes",
        lambda s: s.mean_coverage_within,
        _CONDITION,
    ),
    Metric(
        COVERAGE_WITHIN_WORST,
        "coverage within the worst class",
        "the same coverage for the class with the smallest coverage",
        lambda s: s.worst_within and s.worst_within[1],
        _CONDITION,
    ),
    Metric(
        DENSITY_WITHIN_WORST,
        "density within the worst class",
        "density within the class with the smallest coverage",
        lambda s: s.worst_within and s.worst_within[0],
        _CONDITION,
    ),
    Metric(
        REQUESTED_SHARE,
        "requested class, by class",
        "share of the samples of a requested class that the classifier assigns to it",
        _requested_shares,
        _CONDITION,
    ),
    Metric(
        MEMORISED,
        "memorised",
        "share of samples that are nearer to a training image than 99 % of other real images are; .01 for those",
        lambda s: s.memorised,
    ),
    Metric(
        INTACT,
        "intact",
        "mean probability that a sample is an intact image rather than a spoiled one, divided by that of real images;"
        " 1 is ideal",
        lambda s: s.intact_ratio,
        _LABELS,
        better="higher",
    ),
)
DISCRIMINATOR_METRICS: tuple[Metric[Outputs], ...] = (
    Metric(
        D_AUC,
        "AUC of D",
        "probability that D ranks a real image (held-out, if there are any) above a fresh sample; .5 is chance",
        lambda d: d.auc,
    ),
    Metric(D_STD, "deviation of D", "standard deviation of D's outputs", lambda d: d.deviation),
    Metric(
        R_V,
        "r_v",
        "overfitting of D (Karras et al. 2020, eq. 1); 0 none, 1 complete",
        lambda d: d.overfitting,
        frozenset({Need.HELD_OUT}),
    ),
    Metric(
        D_ACCURACY,
        "accuracy of D",
        "mean of the shares of real images and of fresh samples that D classifies correctly",
        lambda d: d.accuracy,
        _PROBABILITIES,
    ),
    Metric(
        R_T,
        "r_t",
        "mean sign of D on training images (Karras et al. 2020, eq. 1); 1 suggests overfitting",
        lambda d: d.mean_sign,
        _PROBABILITIES,
    ),
    Metric(
        D_GAP,
        "accuracy gap of D",
        "accuracy of D on training images minus that on held-out images",
        lambda d: d.gap,
        frozenset({Need.PROBABILITIES, Need.HELD_OUT}),
    ),
    Metric(
        D_FRESH,
        "σ(D(G(z)))",
        "mean output of D for fresh samples, as the probability that they are real",
        lambda d: d.mean_sure,
        _PROBABILITIES,
    ),
    Metric(
        D_PREFERENCE,
        "σ(D(x) − D(G(z)))",
        "mean probability, by a relativistic loss, that a real image (held-out, if there are any) is more real than a"
        " fresh sample; .5 is chance",
        lambda d: d.preference,
        frozenset({Need.COMPARED}),
    ),
    Metric(
        COHERENCE,
        "gradient coherence",
        "mean cosine between the gradients of G's loss with respect to two samples; 1: D pushes all the same way",
        lambda d: d.coherence,
    ),
)
_ALL: tuple[Metric[Any], ...] = (*SAMPLE_METRICS, *DISCRIMINATOR_METRICS, *PUBLISHED_METRICS, *OTHER_METRICS)
METRICS = {one.name: one for one in _ALL}
# Statistics of the real images, each once: metrics may share one.
STATISTICS = tuple(dict.fromkeys(one.statistic for one in SAMPLE_METRICS if one.statistic))

QUALITY = tuple(one.name for one in SAMPLE_METRICS if not one.is_family)
DISCRIMINATOR = tuple(one.name for one in DISCRIMINATOR_METRICS if not one.is_family)
EVALUATION = (*QUALITY, *DISCRIMINATOR)
MEASURED_ONCE = tuple(one.name for one in PUBLISHED_METRICS)  # at the last step, on many samples
MEASURED_IN = tuple(one.name for one in OTHER_METRICS)  # the same in another network: families
FAMILIES = tuple(name for name, one in METRICS.items() if one.is_family)


def needing(need: Need) -> tuple[str, ...]:
    """Return the names of the evaluation metrics that have a requirement."""
    return tuple(name for name in EVALUATION if need in METRICS[name].needs)


CONDITIONAL = needing(Need.CONDITION)
LABELLED = tuple(name for name in needing(Need.LABELS) if name not in CONDITIONAL)
PROBABILITIES = (D_REAL, D_FAKE, *needing(Need.PROBABILITIES))  # not recorded for a critic, whose sign means nothing
HELD_OUT = (VALIDATION_LOSS_D, VALIDATION_LOSS_G, *needing(Need.HELD_OUT))


# Names that version 0.1.0 recorded → those of today. Readers of records and sweep files accept both.
FORMER = {"cfd_ratio": FD_RATIO}


def current(metric: str) -> str:
    """Return today's name of a metric."""
    return FORMER.get(metric, metric)


def current_names(values: Mapping[str, T]) -> dict[str, T]:
    """Return values by today's names of their metrics, in the same order."""
    return {FORMER.get(name, name): value for name, value in values.items()}


def former(metric: str) -> str:
    """Return the name that version 0.1.0 recorded a metric under."""
    return next((name for name, new in FORMER.items() if new == metric), metric)


def label(metric: str) -> str:
    """Return the name of a metric in reports. A user's metric is called by its import path."""
    if metric in METRICS:
        return METRICS[metric].label
    if metric.startswith(MEASURED_IN):
        family, _, network = metric.partition("/")
        return f"{METRICS[f'{family}/'].label} {network}"
    return metric if is_import_path(metric) else metric.replace("_", " ")


def is_evaluation(name: str) -> bool:
    """Return whether a metric compares samples with real images, or is measured on D at evaluations.

    Such metrics are those of EVALUATION and MEASURED_ONCE, the members of FAMILIES for one class or network, and the
    metrics of users.
    """
    return name in EVALUATION or name in MEASURED_ONCE or name.startswith(FAMILIES) or is_import_path(name)


def measured_once(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values of the metrics that are measured once, at the last step: FID, KID and inception score.

    Those in the features of other networks are included. `values`: Name of a metric → value.
    """
    return {k: value for k, value in values.items() if k in MEASURED_ONCE or k.startswith(MEASURED_IN)}


def is_frechet(name: str) -> bool:
    """Return whether a metric is FID, or the Fréchet distance in another network."""
    return name == MEASURED_ONCE[0] or name.startswith(MEASURED_IN[0])


def own_metrics(names: Iterable[str]) -> list[str]:
    """Return the names of users' metrics among names of recorded metrics, each once."""
    return [name for name in dict.fromkeys(names) if is_import_path(name) and not name.startswith(FAMILIES)]


def typical_speed(recorded: Sequence[float]) -> float | None:
    """Return the speed of a whole run, the median of its records of STEPS_PER_S; None if there are no records."""
    return statistics.median(recorded) if recorded else None
