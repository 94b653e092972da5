"""The names of a run's metrics, in one place."""

import statistics
from collections.abc import Sequence

# Averages over the steps since the last record.
LOSS_D = "loss_d"
LOSS_G = "loss_g"
D_REAL = "d_real"  # mean σ(D(x)) on real images
D_FAKE = "d_fake"  # mean σ(D(G(z))) on the fakes that D trained on
GRADIENT_NORM_D = "grad_norm_d"
GRADIENT_NORM_G = "grad_norm_g"
TRAINING = (LOSS_D, LOSS_G, D_REAL, D_FAKE, GRADIENT_NORM_D, GRADIENT_NORM_G)
# A critic's outputs are no probabilities: their means are recorded in the place of D_REAL and D_FAKE.
CRITIC_REAL = "critic_real"  # mean D(x) on real images
CRITIC_FAKE = "critic_fake"  # mean D(G(z)) on the fakes that D trained on
CRITIC_TRAINING = (LOSS_D, LOSS_G, CRITIC_REAL, CRITIC_FAKE, GRADIENT_NORM_D, GRADIENT_NORM_G)
CRITIC_LOSSES = ("wasserstein_clip", "wasserstein_gp")  # values of training.loss that make D a critic

# Once a record, on held-out images (only with dataset.validation).
VALIDATION_LOSS_D = "val_loss_d"
VALIDATION_LOSS_G = "val_loss_g"

STEPS_PER_S = "steps_per_s"
# Only on a CUDA device, as NVML gives them.
GPU_MEMORY = "gpu_memory_bytes"  # of the trial's process, its CUDA context included
GPU_UTILIZATION = "gpu_utilization"  # percent of the last moment in which the GPU, whoever used it, was at work
MACHINE = (STEPS_PER_S, GPU_MEMORY, GPU_UTILIZATION)  # what tells of the machine, and differs from run to run

# Recorded once, by the record that found it: the first step at which something was not finite.
NONFINITE_STEP = "nonfinite_step"

# Evaluations: fresh samples against real images, in the features of gan/embedding.py.
CFD_RATIO = "cfd_ratio"  # classifier Fréchet distance over that of two real samples of the same size; 1 is ideal
DENSITY = "density"
COVERAGE = "coverage"
PRECISION = "precision"  # beware: 1 for a black image
RECALL = "recall"
NDB = "ndb"  # share of bins with another share of samples than of real images; .05 by chance
NEAR_DUPLICATES = "near_duplicates"  # share of samples nearer to another than 99 % of real images are
SPREAD_ACROSS = "spread_across"  # standard deviation over z, over that of real images
SPREAD_WITHIN = "spread_within"  # standard deviation within an image, over that of real images
MS_SSIM = "ms_ssim"  # mean over pairs of a class, over that of real pairs; above 1: more alike than real ones
# Of a labelled set's evaluations alone.
CLASSES = "effective_classes"  # exp of the label entropy
CLASSES_MISSING = "classes_missing"
LABEL_KL = "label_kl"  # KL divergence of the labels from the real ones, in nats
CLASS_SHARE = "class_share/"  # + a class's name: share of the samples that the classifier puts there; for people to see
# Of a conditional run's evaluations alone: samples are asked for by class.
REQUESTED = "requested"  # share of the samples that the classifier puts into the class that was asked for
REQUESTED_WORST = "requested_worst"  # of the class in which it is least
REQUESTED_SHARE = "requested/"  # + a class's name: of that class; for people to see
COVERAGE_WITHIN = "coverage_within"  # mean over classes: coverage of a class's real images by samples asked to be of it
COVERAGE_WITHIN_WORST = "coverage_within_worst"  # of the class in which it is least
DENSITY_WITHIN_WORST = "density_within_worst"  # of that same class
# D on a copy with batch statistics, on logits.
D_AUC = "d_auc"  # of real images (held-out ones where there are) against fresh fakes
D_ACCURACY = "d_accuracy"  # mean of the shares of real images and of fresh fakes that it names rightly
D_FRESH = "d_fresh"  # mean σ(D(G(z))) on fresh fakes
D_STD = "d_std"  # of D's logits
R_T = "r_t"  # Karras et al. 2020, eq. 1: mean sign of D on training images; 1 suggests overfitting
# Only with held-out images.
D_GAP = "d_gap"  # accuracy on training images less that on held-out ones
R_V = "r_v"  # Karras et al. 2020, eq. 1: overfitting of D, 0 none, 1 complete

LABELLED = (CLASSES, CLASSES_MISSING, LABEL_KL)
CONDITIONAL = (REQUESTED, REQUESTED_WORST, COVERAGE_WITHIN, COVERAGE_WITHIN_WORST, DENSITY_WITHIN_WORST)
QUALITY = (
    CFD_RATIO, DENSITY, COVERAGE, PRECISION, RECALL, NDB, NEAR_DUPLICATES, SPREAD_ACROSS, SPREAD_WITHIN, MS_SSIM,
    *LABELLED, *CONDITIONAL,
)  # fmt: skip
DISCRIMINATOR = (D_AUC, D_ACCURACY, D_FRESH, D_STD, R_T, D_GAP, R_V)
PROBABILITIES = (D_REAL, D_FAKE, D_ACCURACY, D_FRESH, R_T, D_GAP)  # what no critic has: its sign means nothing
EVALUATION = (*QUALITY, *DISCRIMINATOR)


def is_evaluation(name: str) -> bool:
    """Whether an evaluation records it: EVALUATION, or a figure of one class."""
    return name in EVALUATION or name.startswith((CLASS_SHARE, REQUESTED_SHARE))


def typical_speed(recorded: Sequence[float]) -> float | None:
    """Steps per second of a whole run: the median of its records of STEPS_PER_S, None of none."""
    return statistics.median(recorded) if recorded else None
