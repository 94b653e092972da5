"""The second judge, which labels runs (docs/verdicts.md, "Ground truth" 3) independently of the detectors."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from gansweep import Gaussian, evaluation_halves, frechet_distance, sample

SAMPLES, PIXELS, TRAINING = 10_000, 2_000, 5_000


class SecondJudge:
    """A support vector machine, trained on the half that the detectors' classifier lacks, and pixel distances."""

    def __init__(self, images):
        pixels, labels = small(torch.from_numpy(images.load())), images.labels()
        seen, others = evaluation_halves(images.images)
        self.machine = SVC(C=10).fit(pixels[others[:TRAINING]], labels[others[:TRAINING]])
        self.accuracy = float((self.machine.predict(pixels[seen[:PIXELS]]) == labels[seen[:PIXELS]]).mean())
        self.shares = np.bincount(labels) / len(labels)
        real = np.random.default_rng(0).permutation(len(pixels))[:PIXELS]
        self.components = PCA(32, random_state=0).fit(pixels[real])
        self.real = Gaussian.of(self.components.transform(pixels[real]))
        self.distance, self.within = distances(pixels[real], labels[real])

    def look(self, trainer):
        """Return KL of the labels, diversity, within, and pixel_distance of fresh samples."""
        pixels = self.draw(trainer, SAMPLES)
        labels = self.machine.predict(pixels)
        p = np.bincount(labels, minlength=len(self.shares)) / SAMPLES
        distance, within = distances(pixels, labels)
        return {
            "kl": float((p[p > 0] * np.log(p[p > 0] / self.shares[p > 0])).sum()),
            "diversity": distance / self.distance,
            "within": within / self.within,
            "pixel_distance": self.pixel_distance(pixels[:PIXELS]),
        }

    def draw(self, trainer, count):
        z = torch.randn(count, trainer.config.latent_dim, generator=torch.Generator().manual_seed(12345))
        return np.concatenate([small(torch.from_numpy(sample(trainer.generator, part))) for part in z.split(500)])

    def pixel_distance(self, pixels):
        return frechet_distance(Gaussian.of(self.components.transform(pixels)), self.real)

    def confirm(self, trainer, steps):
        """Measure the run at its end, and after continuing."""
        if not trainer.weights_finite():
            return {"diverged": True}
        end = self.look(trainer)
        train(trainer, steps)
        return {"end": end, "continued": self.look(trainer)}


def train(trainer, steps):
    for _ in range(steps):
        trainer.train_step()


def small(pixels):
    """Return images (N, C, H, W) uint8 as features (N, C·256) in [0, 1]."""
    parts = [torch.nn.functional.adaptive_avg_pool2d(part.float() / 255, 16).flatten(1) for part in pixels.split(2000)]
    return torch.cat(parts).numpy()


def distances(pixels, labels):
    """Return the mean distance of consecutive rows, and of consecutive rows with the same label."""
    any_two = np.linalg.norm(pixels[::2][: len(pixels) // 2] - pixels[1::2], axis=1).mean()
    order = np.argsort(labels, kind="stable")
    same = labels[order][1:] == labels[order][:-1]
    return float(any_two), float(np.linalg.norm(np.diff(pixels[order], axis=0)[same], axis=1).mean())
