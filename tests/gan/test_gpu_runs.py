"""Trials on a real GPU in processes that are killed: weights, records and samples are those of an undisturbed trial."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gansweep.gan import checkpoint
from gansweep.health.metrics import GPU_MEMORY, GPU_UTILIZATION, STEPS_PER_S
from gansweep.planning.dispatch import job_of
from gansweep.planning.plan import Plan
from gansweep.records import journal
from gansweep.records.layout import TrialFolder

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

MACHINE = {STEPS_PER_S, GPU_MEMORY, GPU_UTILIZATION}
STEPS = 1500
TRIAL = """
import json, sys
from pathlib import Path
from gansweep.planning.job import Job
from gansweep.records.layout import TrialFolder
run = Job.from_config(json.loads(sys.argv[1])).open(TrialFolder(Path(sys.argv[2])))
while run.advance(0.02) is None:
    print(run.step, flush=True)
run.close()
"""


def start(config: dict[str, Any], folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", TRIAL, json.dumps(config), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_at(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    next(line for line in process.stdout if int(line) >= step)
    process.kill()
    process.wait()


def records(folder: TrialFolder) -> list[Any]:
    found = journal.read(folder.journal)
    return [(r.step, {k: repr(v) for k, v in r.values.items() if k not in MACHINE}) for r in found]


def test_a_trial_killed_on_a_gpu_ends_as_its_undisturbed_neighbour(
    tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    plan = plan_of(
        f"training.steps={STEPS}", "cadence={metrics: 10, samples: 300, checkpoints: 70}",
        "evaluation={per_run: 5, samples: 100}", "training.ema=0.99", "training.batch_size=16", "stop=none",
    )  # fmt: skip
    config = job_of(plan, plan.trials[0], 1.0).to_config()
    neighbour, disturbed = TrialFolder(tmp_path / "neighbour"), TrialFolder(tmp_path / "disturbed")
    for folder in (neighbour, disturbed):
        folder.path.mkdir()
    undisturbed = start(config, neighbour.path)
    for at in (100, 480, 1100):
        kill_at(start(config, disturbed.path), at)
    last = start(config, disturbed.path)
    for process in (undisturbed, last):
        process.communicate(timeout=120)
        assert process.returncode == 0
    expected, found = (checkpoint.load(folder.checkpoint(STEPS))[0] for folder in (neighbour, disturbed))
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name].numpy().tobytes() != expected[name].numpy().tobytes()} == set()
    assert records(disturbed) == records(neighbour)
    steps = [step for step, _ in records(disturbed)]
    assert steps == sorted(set(steps))
    assert [p.read_bytes() for p in disturbed.all_samples()] == [p.read_bytes() for p in neighbour.all_samples()]
