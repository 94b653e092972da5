"""Classes of the samples of study C's generators, assigned by the evaluator's classifier."""

import numpy as np
import torch

from gansweep import reference_of, reopen, sample

SAMPLES, FEW, A_CLASS = 10_000, 80, 1_000
PART = 500  # samples generated at a time


def classes_of(home, sweep, trial_id):
    """Return class counts, in the order of `names`.

    `real`: of all images; `few` and `samples`: of 80 and of 10,000 samples with the same beginning; for a conditional
    network instead `requested`: one row per requested class, with 1,000 samples each.
    """
    trainer, images = reopen(home, sweep, trial_id)
    names, embedding = list(images.classes), reference_of(images)[0].embedding
    counts = {"names": names, "real": count(images.labels(), names)}
    if not trainer.config.networks.classes:
        found = labels_of(trainer, embedding, SAMPLES)
        return counts | {"few": count(found[:FEW], names), "samples": count(found, names)}
    rows = (labels_of(trainer, embedding, A_CLASS, asked) for asked in range(len(names)))
    return counts | {"requested": [count(row, names) for row in rows]}


def labels_of(trainer, embedding, samples, asked=None):
    """Return the classes of samples, (samples,). `asked`: the class requested for all of them."""
    z = torch.randn(samples, trainer.config.latent_dim, generator=torch.Generator().manual_seed(asked or 0))
    found = []
    for part in z.split(PART):
        wanted = None if asked is None else torch.full((len(part),), asked)
        found.append(embedding.embed(torch.from_numpy(sample(trainer.sampler, part, wanted)))[1])
    return np.concatenate(found)


def count(labels, names):
    return np.bincount(labels, minlength=len(names)).tolist()
