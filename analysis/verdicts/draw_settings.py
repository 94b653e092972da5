"""Draw the settings of the fourth round of natural runs: sweeps/benchmark/fourth_SET.yaml.

    python -m analysis.verdicts.draw_settings

The distribution is that of PROTOCOL.md. The files are committed; drawing again gives the same.
"""

from pathlib import Path

import numpy as np
import yaml

from analysis.verdicts.lib.sets import SETS

SWEEPS = Path(__file__).parents[2] / "sweeps" / "benchmark"
LOSSES = {  # loss → its share, and the settings that it is used with
    "non_saturating": (0.64, {}),
    "hinge": (0.13, {}),
    "least_squares": (0.13, {}),
    "relativistic": (
        0.10,
        {
            "training.regularization.r1": 0.1,
            "training.regularization.r2": 0.1,
            "training.regularization.interval": 4,
            "model.discriminator.norm": "layer",
        },
    ),
}
BETA1 = {0.0: 0.2, 0.5: 0.6, 0.9: 0.2}
MAPS = {(8, 8): 0.6, (16, 16): 0.2, (8, 16): 0.1, (16, 8): 0.1}  # of G and D
LATENT = (25, 50, 100, 128)
RATES, RATIOS = (1e-4, 5e-2), (1 / 8, 8)  # of G; of D to G, in one run of four
CONDITIONAL = 0.2


def settings(rng, most_rate):
    """Return the settings of one run."""
    case = {
        "training.learning_rate": log_uniform(rng, RATES[0], most_rate),
        "training.beta1": pick(rng, BETA1),
        "model.latent_dim": int(rng.choice(LATENT)),
    }
    case["model.generator.feature_maps"], case["model.discriminator.feature_maps"] = pick(rng, MAPS)
    if rng.random() < 0.25:
        case["training.discriminator.learning_rate"] = rounded(
            case["training.learning_rate"] * log_uniform(rng, *RATIOS)
        )
    loss = pick(rng, {name: share for name, (share, _) in LOSSES.items()})
    if loss != "non_saturating":
        case |= {"training.loss": loss, **LOSSES[loss][1]}
    if rng.random() < CONDITIONAL:
        case["model.conditioning"] = "concat"
    return case


def pick(rng, shares):
    """Return a key with the probability that is its value."""
    keys = [*shares]
    return keys[rng.choice(len(keys), p=[*shares.values()])]


def log_uniform(rng, low, high):
    return rounded(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def rounded(value):
    return float(f"{value:.2g}")


def document(one):
    """Return a sweep of a set as YAML."""
    rng = np.random.default_rng(one.seed)
    cases = [settings(rng, one.most_rate) for _ in range(one.runs)]
    every = one.steps // 25
    head = f"""\
# The fourth round of natural runs, on {one.of} (analysis/verdicts/PROTOCOL.md), drawn by draw_settings.py.
name: fourth-{one.name}
dataset: {{{one.dataset}, image_size: 32}}
model: {{architecture: dcgan}}
training: {{steps: {one.steps}, batch_size: 64}}
evaluation: {{per_run: 25, samples: 256}}
stop: none
search:
  method: cases
  cases:
"""
    tail = f"""\
cadence: {{samples: {{per_run: 5}}, checkpoints: {every}}}
retention: {{checkpoints: 5}}
resources: {{cpus: 1, gpus: 0}}
"""
    lines = [yaml.safe_dump(case, default_flow_style=True, sort_keys=False, width=1000).strip() for case in cases]
    return head + "".join(f"    - {line}\n" for line in lines) + tail


if __name__ == "__main__":
    for one in (one for one in SETS.values() if not one.is_rest):
        (SWEEPS / f"fourth_{one.name}.yaml").write_text(document(one))
