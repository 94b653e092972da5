"""All detectors with their default thresholds, by precedence: the first failure that holds names the run.

To add one, write it in a module of its own (see `base`) and name it here. Sweep files (`stop.on`, `thresholds`), the
judge, tables and reports read this list.
"""

from __future__ import annotations

from gansweep.health.detectors import discriminator, memorised, samples
from gansweep.health.detectors.base import Detector
from gansweep.health.detectors.divergence import Divergence

DETECTORS: tuple[Detector, ...] = (
    Divergence(),
    samples.DeadGenerator(),
    samples.ModeCollapse(),
    samples.NeverTookOff(),
    samples.LateInstability(),
    samples.ConditionIgnored(),
    samples.ModeDropping(),
    samples.Poor(),
    discriminator.DiscriminatorWon(),
    discriminator.GeneratorWon(),
    discriminator.CriticStalled(),
    discriminator.DiscriminatorOverfitting(),
    memorised.Memorised(),
    samples.Imbalance(),
)
