"""Sweeps of any size without training: journals that look like those of real runs, sound and failed ones, in a real
store or directly as tables."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bench import empty_home

from gansweep.gan.sampling import grid_png
from gansweep.health import metrics as m
from gansweep.health.history import History, traits
from gansweep.health.judge import Judge
from gansweep.losses.registry import is_critic
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import Home, SweepFolder, write_json
from gansweep.records.outcome import Outcome
from gansweep.report.tables import Tables
from gansweep.sweepfile.trials import assign
from gansweep.tracking import store
from gansweep.tracking.publisher import Publisher

STEPS, EVERY = 600, 10
BEGAN = 1_790_000_000.0  # seconds; a step takes a twentieth
RATES, BETAS, DIMS, WIDTHS, SEEDS = (1e-4, 2e-4, 1e-3, 5e-3, 0.2), (0.5, 0.9), (25, 100), (8, 16), 5
KEYS = ("training.learning_rate", "training.beta1", "model.latent_dim", "model.feature_maps")
LOSS, GROWTH = "training.loss", "model.discriminator.growth.at"
LOSSES = ("non_saturating", "hinge", "wasserstein_gp")
DIGITS = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Made:
    """A trial: what it was given, and what it recorded."""

    id: str
    varied: dict[str, Any]
    seed: int
    records: list[tuple[int, dict[str, float]]]


def trials(count: int) -> Iterator[Made]:
    """Yield `count` trials over a grid of four settings with five seeds; at beta1 0.9 or a rate of 0.2 few classes are
    left.
    """
    grid = itertools.islice(itertools.product(RATES, BETAS, DIMS, WIDTHS, range(SEEDS)), count)
    for number, (*values, seed) in enumerate(grid):
        rng = np.random.default_rng(number)
        failed = values[1] == 0.9 or values[0] == 0.2
        records = list(_records(failed, rng))
        yield Made(f"{number:012x}", dict(zip(KEYS, values, strict=True)), seed, records)


def conditional(count: int) -> Iterator[Made]:
    """Yield `count` conditional trials of each loss, with and without growth of D; every second one collapses within a
    class.
    """
    grid = itertools.islice(itertools.product(range(SEEDS), LOSSES, (None, 300)), count)
    for number, (seed, loss, growth) in enumerate(grid):
        rng = np.random.default_rng(number)
        records = []
        for step, values in _records(False, rng):
            if is_critic(loss):
                values = {name: value for name, value in values.items() if name not in m.PROBABILITIES}
            if m.LOSS_D in values and loss != LOSSES[0]:
                scale = 40 if is_critic(loss) else 1
                values[m.LOSS_G] = float(scale * np.sin(step / 90) + rng.normal(0, scale / 20))
            if m.LOSS_D in values and is_critic(loss):
                values |= {m.LOSS_D: -9.0, m.CRITIC_FAKE: -values[m.LOSS_G], m.CRITIC_REAL: 9 - values[m.LOSS_G]}
            if m.FD_RATIO in values:
                asked = dict.fromkeys(m.CONDITIONAL, 0.9) | {m.DENSITY_WITHIN_WORST: 1.1}
                asked[m.COVERAGE_WITHIN_WORST] = 0.1 if number % 2 else 0.8
                values |= asked | {f"{m.REQUESTED_SHARE}{digit}": 0.9 for digit in DIGITS}
            records.append((step, values))
        yield Made(f"{number:012x}", {LOSS: loss, GROWTH: growth}, seed, records)


def _records(failed: bool, rng: np.random.Generator) -> Iterator[tuple[int, dict[str, float]]]:
    floor = rng.uniform(40, 80) if failed else rng.uniform(3, 12)
    for step in range(0, STEPS + 1, 2):
        values: dict[str, float] = {}
        if step % EVERY == 0 and step:
            noise = rng.normal(0, 0.1, 6)
            values = dict(zip(m.TRAINING, (1.3 + noise[0], 1 + noise[1], 0.5, 0.4, 1.0, 1.0), strict=True))
            values[m.STEPS_PER_S] = 20 + noise[2]
        if step % (STEPS // 25) == 0:
            values |= _evaluation(floor + 80 * np.exp(-step / 120), failed, rng)
        if values:
            yield step, values


def _evaluation(fd: float, failed: bool, rng: np.random.Generator) -> dict[str, float]:
    shares = rng.dirichlet([0.1] * 10 if failed else [50.0] * 10)
    good = {m.DENSITY: 0.9, m.COVERAGE: 0.8, m.NEAR_DUPLICATES: 0.01, m.CLASSES: 9.5, m.CLASSES_MISSING: 0.0}
    bad = {m.DENSITY: 0.9, m.COVERAGE: 0.05, m.NEAR_DUPLICATES: 0.9, m.CLASSES: 1.4, m.CLASSES_MISSING: 8.0}
    steady = {
        m.SPREAD_ACROSS: 0.8,
        m.SPREAD_WITHIN: 0.9,
        m.MS_SSIM: 1.0,
        m.LABEL_KL: 0.1,
        m.D_AUC: 0.98,
        m.D_FRESH: 0.3,
    }
    found = {m.FD_RATIO: float(fd * rng.lognormal(0, 0.04)), **steady, **(bad if failed else good)}
    return found | {f"{m.CLASS_SHARE}{digit}": float(share) for digit, share in zip(DIGITS, shares, strict=True)}


def config(made: Made) -> dict[str, Any]:
    """As trial.json holds it, shortened."""
    found: dict[str, Any] = {
        "dataset": {"name": "digits", "image_size": 32},
        "model": {"architecture": "dcgan"},
        "training": {"batch_size": 64},
        "evaluation": {"per_run": 25, "samples": 256},
        "seed": made.seed,
    }
    for key, value in made.varied.items():
        found = assign(found, key, value)
    return found


def history(made: Made) -> History:
    """History of all records."""
    return History.of(made.records, STEPS, *traits(made.varied))


def publish(root: Path, count: int, name: str = "synthetic", of: Callable[[int], Iterator[Made]] = trials) -> Home:
    """A home whose store has a sweep of `count` trials, each with seven sample grids. `of`: yields the trials."""
    home = empty_home(root)
    folder = home.sweep(name)
    folder.path.mkdir(parents=True)
    folder.source.write_text(f"name: {name}\ntraining: {{steps: {STEPS}}}\n")
    grids = [grid_png(np.random.default_rng(n).integers(0, 256, (64, 1, 32, 32)).astype(np.uint8)) for n in range(7)]
    made = list(of(count))
    for one in made:
        _write(folder, one, grids)
    plan = {"objective": {"metric": m.FD_RATIO, "mode": "min"}, "trials": [one.id for one in made]}
    write_json(folder.plan, {"sweep": name, "command": f"gansweep run {name}.yaml", "overrides": [], **plan})
    Publisher(home, folder, store.local_uri(home), {"gansweep.machine": "made up"}).publish(running=False)
    return home


def _write(sweep: SweepFolder, made: Made, grids: list[bytes]) -> None:
    folder = sweep.trial(made.id)
    document = {"id": made.id, "sweep": sweep.name, "varied": made.varied, "steps": STEPS, "config": config(made)}
    data = {"data": {"fingerprint": "f"}, "parameters": {"generator": 1, "discriminator": 1}}
    write_json(folder.trial, document | data)
    shares = dict.fromkeys(DIGITS, 0.1)
    write_json(folder.evaluator, {"accuracy": 0.99, "classes": 10, "real_shares": shares, "samples": 256})
    folder.lock.touch()
    with Journal(folder.journal) as journal:
        for step, values in made.records:
            journal.append(Record(step, BEGAN + step / 20, values))
    folder.samples.mkdir()
    for number, grid in enumerate(grids):
        folder.sample(100 * number).write_bytes(grid)
    verdicts = Judge().conclude(history(made))
    outcome.write(folder, Outcome("completed", STEPS, "", verdicts, time=time.time()))


def tables(count: int) -> Tables:
    """The same as tables, without a store and without samples."""
    made = list(trials(count))
    rows, verdicts, histories, evaluations = [], [], [], []
    for one in made:
        found = Judge().conclude(history(one))
        last = [values[m.FD_RATIO] for _, values in one.records if m.FD_RATIO in values][-1]
        first = found[0]
        key = {"sweep": "synthetic", "trial": one.id}
        rows.append(
            {
                **key,
                "run_id": one.id,
                "configuration": int(one.id, 16) // SEEDS,
                "seed": one.seed,
                "planned": True,
                "outcome": "completed",
                "verdict": first.kind,
                "failed": first.is_failure,
                "reason": first.reason,
                "rule": "",
                "step": STEPS,
                "states": ",".join(v.kind for v in found if v.is_state),
                "since_step": first.since_step if first.is_failure else pd.NA,
                "steps": STEPS,
                "quality": last,
                "quality_step": STEPS,
                "started": pd.Timestamp(BEGAN, unit="s", tz="UTC"),
                "wall_s": 30.0,
                "steps_per_s": 20.0,
                "features": "classifier",
                "features_resolution": 16,
                "evaluator_accuracy": 0.99,
                "device": "CPU",
                "data_fingerprint": "f",
                "real_shares": dict.fromkeys(DIGITS, 0.1),
                **one.varied,
                "dataset.name": "digits",
                "dataset.image_size": 32,
                "model.architecture": "dcgan",
            }
        )
        verdicts += [
            {
                **key,
                "place": n,
                "kind": v.kind,
                "failure": v.is_failure,
                "since_step": v.since_step,
                "reason": "",
                "evidence": v.evidence,
            }
            for n, v in enumerate(found)
        ]
        for step, values in one.records:
            judged = {name: value for name, value in values.items() if m.is_evaluation(name)}
            evaluations += [{**key, "step": step, **judged}] if judged else []
            training = {name: value for name, value in values.items() if name not in judged}
            histories += [{**key, "metric": name, "step": step, "value": value} for name, value in training.items()]
    found = pd.DataFrame(rows)
    found["since_step"] = pd.array(found["since_step"], dtype="Int64")
    found["rank"] = found[~found["failed"]]["quality"].rank(method="first").astype("Int64")
    found["rank"] = found["rank"].astype("Int64")
    sweep = {"sweep": "synthetic", "objective": m.FD_RATIO, "mode": "min", "file": "name: synthetic\n",
             "path": "s.yaml", "command": "", "overrides": [], "commit": "", "machine": "made up", "planned": count,
             "to_come": 0, "earlier": 0}  # fmt: skip
    return Tables(
        pd.DataFrame([sweep]),
        found,
        pd.DataFrame(histories),
        pd.DataFrame(evaluations),
        pd.DataFrame(verdicts),
        KEYS,
        judges={"synthetic": Judge()},
    )
