"""`evaluation.fid` in a sweep whose trials train side by side under Ray."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import stand_in
from mlflow import MlflowClient
from service import Service

from gansweep.records import journal
from gansweep.records.layout import read_json
from gansweep.tracking import store

pytestmark = pytest.mark.slow
TEXT = """name: small
dataset: {name: arrays, path: images.npz, image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 20, batch_size: 16}
evaluation: {per_run: 0, fid: {weights: stand-in.pt2, samples: 2048}}
search: {method: grid, over: {training.learning_rate: [1e-4, 1e-3]}}
resources: {cpus: 1, gpus: 0}
"""
METRIC = "frechet/stand-in"


def test_a_sweep_that_is_interrupted_measures_each_trial_once(service: Service) -> None:
    np.savez(service.root / "images.npz", np.random.default_rng(0).integers(0, 200, (2_100, 16, 16), np.uint8))
    stand_in.write(service.root / "stand-in.pt2")
    (service.root / "small.yaml").write_text(TEXT)
    process = service.start("run", "small.yaml")
    service.wait_for(lambda: any(t.all_checkpoints() for t in service.folder().all_trials()), timeout_s=120)
    process.send_signal(signal.SIGINT)  # both measure, or are about to
    process.communicate(timeout=120)
    _, messages = service.call("run", "small.yaml")
    assert "comparing 2,048 samples with the real images in stand-in" in messages
    trials = service.folder().planned()
    values = [journal.column(trial.journal, METRIC) for trial in trials]
    assert [[step for step, _ in one] for one in values] == [[20], [20]]
    client = MlflowClient(store.local_uri(service.home))
    sent = [client.get_run(read_json(trial.published)["run_id"]).data.metrics[METRIC] for trial in trials]
    assert sent == [one[0][1] for one in values]
    out, _ = service.ask("fid", "small", "--weights", "stand-in.pt2", "--samples", 2048, "--json")
    assert [one["metrics"][METRIC] for one in json.loads(out)["trials"]] == sent
