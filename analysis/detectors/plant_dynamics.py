"""Train short real runs with a planted cause of failure, and label them (docs/verdicts.md, "Ground truth" 2).

python -m analysis.detectors.plant_dynamics HOME analysis/detectors/results/dynamics.jsonl.gz [MNIST_FOLDER]
"""

import sys
from pathlib import Path

import torch

from analysis.detectors.lib.histories import compact, write
from analysis.detectors.lib.second_judge import SecondJudge
from gansweep import Evaluator, Home, OptimizerConfig, Source, Trainer, TrainingConfig, prepare, reference_of

STEPS, EVERY, SEEDS = 1500, 60, 4
BASE = {
    "latent_dim": 50,
    "generator_maps": 8,
    "discriminator_maps": 8,
    "image_size": 32,
    "channels": 1,
    "batch_size": 64,
}
HEALTHY, SLOW = OptimizerConfig(1e-3, 0.5, 0.999), OptimizerConfig(2e-4, 0.5, 0.999)
CONTEXT = {}


def noise(trainer, size):
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trainer.generator.parameters():
            weight += size * torch.randn(weight.shape, generator=rng)


def poison(trainer):
    with torch.no_grad():
        weight = next(trainer.generator.parameters())
        weight[(0,) * weight.dim()] = float("nan")


def spike(trainer):
    trainer.adam_g.learning_rate = trainer.adam_d.learning_rate = 0.2


# plant → (settings, step at which it acts, act)
PLANTS = {
    "control": ({}, None, None),
    "d_rate_x20": ({"generator": SLOW, "discriminator": OptimizerConfig(4e-3, 0.5, 0.999)}, None, None),
    "images_500": ({"validation": 0.2}, None, None),
    "nan": ({}, 750, poison),
    "noise_burst": ({}, 1050, lambda t: noise(t, 0.3)),
    "rate_spike": ({}, 1050, spike),
}


def run(task):
    """Return one line of the output."""
    home, name, data_dir, plant, seed = task
    torch.set_num_threads(1)
    if name not in CONTEXT:
        images = prepare(Source(name, 32, data_dir=data_dir), home.cache)
        CONTEXT[name] = images, Evaluator(reference_of(images)[0], 256, seed=0), SecondJudge(images)
    images, evaluate, judge = CONTEXT[name]
    changes, at, act = PLANTS[plant]
    settings = TrainingConfig(**{**BASE, "generator": HEALTHY, "discriminator": HEALTHY, "seed": seed, **changes})
    pixels = images.load()[:625] if plant == "images_500" else images.load()
    trainer = Trainer(settings, pixels, torch.device("cpu"))
    points = [(0, evaluate(trainer))]
    for step in range(1, STEPS + 1):
        trainer.train_step()
        if step == at:
            act(trainer)
        if step % EVERY == 0:
            points.append((step, evaluate(trainer) | training(trainer, points)))
    return {
        "source": f"dynamics-{name}",
        "id": f"{plant}-{seed}",
        "settings": {"plant": plant, "step": at, "training.learning_rate": settings.generator.learning_rate},
        "budget": STEPS,
        "label": judge.confirm(trainer, STEPS // 2),
        "accuracy": judge.accuracy,
        "series": compact(points),
    }


def training(trainer, points):
    """Return D's mean loss since the last evaluation, and the first non-finite step, recorded once."""
    rows = trainer.read()
    trainer.clear()
    values = {"loss_d": float(rows[:, 0].mean())}
    bad = ~torch.from_numpy(rows).isfinite().all(dim=1)
    if bad.any() and not any("nonfinite_step" in v for _, v in points):
        values["nonfinite_step"] = float(trainer.step - len(rows) + 1 + int(bad.int().argmax()))
    return values


if __name__ == "__main__":
    home, output, *folder = sys.argv[1:]
    sets = [("digits", None), *(("mnist", f) for f in folder)]
    home = Home(Path(home).absolute())
    write(
        output,
        run,
        [(home, name, data, plant, seed) for name, data in sets for plant in PLANTS for seed in range(SEEDS)],
    )
