"""A sweep of DCGANs as a competent user writes it today: the tutorial's loop, Ray Tune, MLflow's logger callback.

python tests/benchmarks/peer.py --data ../shared/data --out /tmp/peer --trials 10 --steps 100
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import torch
from plain_dcgan import PlainDcgan, batches
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from torchvision.utils import save_image

BETAS1 = (0.5, 0.9)
REPORT_EVERY, AT_ONCE = 10, 2


def learning_rates(trials: int) -> list[float]:
    """Log-spaced rates, of which a grid with BETAS1 has `trials` trials; all of them train."""
    if trials < 2 or trials % len(BETAS1):
        raise ValueError(f"trials: must be even and at least 2, got {trials}")
    count = trials // len(BETAS1)
    return [float(f"{1e-4 * 10 ** (i / count):.6g}") for i in range(count)]


def train(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = "cuda" if config["gpus"] else "cpu"
    model = PlainDcgan(config["maps"], config["learning_rate"], config["beta1"], device)
    steps, began = config["steps"], time.perf_counter()
    workers = 2 if config["gpus"] else 0  # without a GPU they would take the cores of training
    for step, real in enumerate(batches(config["data"], device, workers), 1):
        metrics = {"step": step, **model.step(real)}
        if step == steps:
            break
        if step % REPORT_EVERY == 0:
            tune.report({**metrics, "steps_per_s": step / (time.perf_counter() - began)})
    with torch.no_grad():
        grid = model.generator(model.fixed_noise)
    save_image(grid, Path(tune.get_context().get_trial_dir()) / "samples.png", nrow=8, normalize=True)
    with tempfile.TemporaryDirectory() as folder:
        state = {
            "generator": model.generator.state_dict(),
            "discriminator": model.discriminator.state_dict(),
            "adam_g": model.adam_g.state_dict(),
            "adam_d": model.adam_d.state_dict(),
            "step": steps,
        }
        torch.save(state, Path(folder) / "checkpoint.pt")
        metrics["steps_per_s"] = steps / (time.perf_counter() - began)
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="root of torchvision's MNIST")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--maps", type=int, default=16)
    parser.add_argument("--gpus", type=float, default=0, help="share of a GPU of each trial [%(default)s]")
    args = parser.parse_args()
    data, out = args.data.resolve(), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(out)  # MLflow puts artifacts into the working directory

    ray.init()
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1, "gpu": args.gpus}),
        param_space={
            "learning_rate": tune.grid_search(learning_rates(args.trials)),
            "beta1": tune.grid_search(list(BETAS1)),
            "maps": args.maps,
            "steps": args.steps,
            "data": str(data),
            "gpus": args.gpus,
        },
        tune_config=tune.TuneConfig(max_concurrent_trials=int(1 / args.gpus) if args.gpus else AT_ONCE),
        run_config=tune.RunConfig(
            name="peer",
            storage_path=str(out / "ray_results"),
            callbacks=[
                MLflowLoggerCallback(
                    tracking_uri=f"sqlite:///{out}/mlflow.db", experiment_name="peer", save_artifact=True
                )
            ],
        ),
    )
    results = tuner.fit()
    ray.shutdown()
    if results.num_errors:
        raise SystemExit(f"{results.num_errors} trials failed")


if __name__ == "__main__":
    main()
