from __future__ import annotations

from pathlib import Path

import pytest
from scenes import train, warm_home
from service import Service

SWEEP = """
name: {name}
dataset: {{name: digits, image_size: 16}}
model: {{latent_dim: 16, feature_maps: 8}}
training: {{steps: {steps}, batch_size: 32, beta1: 0.5}}
evaluation: {{per_run: 10, samples: 64}}
cadence: {{metrics: 5, samples: 40, checkpoints: 40}}
search:
  method: grid
  over:
    training.learning_rate: {rates}
replicates: 2
thresholds: {{poor: {{intact: 0}}}}  # trained for a moment, all would be poor, and none the best
resources: {{cpus: 1, gpus: 0}}
"""


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Sweeps `three` (two rates that train, and one at which nothing is learned) and `other`, trained to their ends."""
    service = Service(tmp_path_factory.mktemp("swept"), {})
    home = warm_home(service.home.path)
    for name, steps, rates in (("three", 200, [2e-3, 5e-3, 1e-5]), ("other", 100, [2e-3, 5e-3])):
        path: Path = service.root / f"{name}.yaml"
        path.write_text(SWEEP.format(name=name, steps=steps, rates=rates))
        train(home, path)
    return service
