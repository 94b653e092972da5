"""Networks of users from sweep file to report: four pairs in files outside the package, killed and resumed."""

from __future__ import annotations

import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import chaos
import mortal
import numpy as np
import pypdfium2
import pytest
import torch
from bench import empty_home
from PIL import Image
from scenes import train, warm_home
from service import Service

from gansweep.gan import checkpoint
from gansweep.health.metrics import MACHINE
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import make_plan
from gansweep.records import journal, outcome
from gansweep.records.layout import TrialFolder, read_json
from gansweep.sweepfile.loader import load

pytestmark = pytest.mark.slow
USERS = Path(__file__).parents[1] / "users"
SWEEP = """
name: users
dataset: {image_size: 16, validation: 0.1}
model: {latent_dim: 16, feature_maps: 4}
training: {steps: 4, batch_size: 16, ema: 0.9}
evaluation: {per_run: 1, samples: 64}
cadence: {metrics: 2, samples: 4, checkpoints: 2}
search:
  method: cases
  cases:
"""
PAIRS = (
    "model.generator.network: 'tutorial:G', model.discriminator.network: 'tutorial:D'",
    "model.generator.network: 'residual.nets:G', model.discriminator.network: 'residual.nets:D'",
    "model.architecture: 'projection:Pair', model.conditioning: own",
    "model.discriminator.network: 'unet:D'",
)
OPTIONS = (  # that each pair is trained with as well as without
    "training.learning_rate: 1e-3",
    "model.discriminator.options.dropout: 0.4",
    "model.generator.options.width: 3",
    "model.discriminator.options.width: 3",
)
CASES = [
    f"    - {{{case}}}\n" for pair, option in zip(PAIRS, OPTIONS, strict=True) for case in (pair, f"{pair}, {option}")
]
A_PAIR, SEEDS = 2, 2  # cases of each pair, and seeds of each case


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The sweep of all pairs over two options and two seeds, trained to its end."""
    service = Service(tmp_path_factory.mktemp("users"), {})
    home = warm_home(service.home.path)
    shutil.copytree(USERS, service.root, dirs_exist_ok=True)
    (service.root / "users.yaml").write_text(SWEEP + "".join(CASES) + f"replicates: {SEEDS}\nresources: {{gpus: 0}}\n")
    train(home, service.root / "users.yaml")
    for file in service.root.glob("*.py"):
        file.write_text("raise RuntimeError('only the copy is used')\n")
    return service


def kept(folder: TrialFolder) -> dict[str, Any]:
    """Everything that must not depend on whether a run was killed."""
    tensors, meta = checkpoint.load(folder.all_checkpoints()[-1])
    records = [
        (r.step, {k: repr(v) for k, v in r.values.items() if k not in MACHINE}) for r in journal.read(folder.journal)
    ]
    return {
        "meta": meta,
        "tensors": {name: t.numpy().tobytes() for name, t in tensors.items()},
        "journal": records,
        "samples": {p.name: p.read_bytes() for p in folder.all_samples()},
    }


def test_all_pairs_are_trained_and_judged(users: Service) -> None:
    folders = users.home.sweep("users").planned()
    assert len(folders) == len(PAIRS) * A_PAIR * SEEDS
    ends = [outcome.read(folder) for folder in folders]
    assert {end.kind for end in ends} == {"completed"}
    assert all(end.verdicts for end in ends)
    codes = [read_json(folder.trial)["code"] for folder in folders]
    assert len(set(codes)) == len(PAIRS), "each pair has the hash of its own files"


@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_a_killed_process_loses_and_doubles_nothing(users: Service, tmp_path: Path, pair: int) -> None:
    """SIGKILL after a checkpoint, and while another is written: both cases of a pair end as without it."""
    shutil.copytree(USERS, tmp_path, dirs_exist_ok=True)
    home, file = empty_home(tmp_path / "home"), tmp_path / "users.yaml"
    shutil.copytree(users.home.cache, home.cache)  # with what is known of the networks
    file.write_text(SWEEP + "".join(CASES[A_PAIR * pair : A_PAIR * (pair + 1)]) + "resources: {gpus: 0}\n")
    environment = chaos.environment(tmp_path)
    for moment in ("checkpointed", "checkpoint"):
        Path(environment["CHAOS_ORDER"]).write_text(moment)
        assert mortal.train_apart(home, file, environment) == -signal.SIGKILL, moment
    assert mortal.train_apart(home, file, environment) == 0
    trials = home.sweep("users").planned()
    twice = len(Path(environment["CHAOS_STEPS"]).read_text().splitlines()) - 4 * len(trials)
    # Both steps since the checkpoint that was complete, and those during which the writer completed the first one.
    assert 2 <= twice <= 4
    assert len(trials) == A_PAIR
    for trial in trials:
        assert kept(trial) == kept(users.home.sweep("users").trial(trial.id))


@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_a_trial_is_resumed_bit_for_bit_whatever_else_draws_from_torchs_streams(
    users: Service, tmp_path: Path, pair: int
) -> None:
    """Batch norm, spectral norm and dropout go on where they were."""
    shutil.copytree(USERS, users.root, dirs_exist_ok=True)
    plan = make_plan(load(users.root / "users.yaml"), users.home)
    planned = plan.trials[pair * A_PAIR * SEEDS]
    job = Job.from_config(jobs_of(plan, trials=[planned])[0])
    folder = TrialFolder(tmp_path / planned.trial.id)
    first = job.open(folder)
    for _ in range(3):
        first.advance(0)
    first._opened.close()  # nothing is written at the end
    torch.manual_seed(12)
    second = job.open(folder)
    assert second.step == 2
    assert second.advance(60) is not None
    second.close()
    assert kept(folder) == kept(plan.folder.trial(planned.trial.id))


def test_generators_are_drawn_from_and_reported(users: Service) -> None:
    trials = users.home.sweep("users").planned()[:: A_PAIR * SEEDS]
    for trial in trials[:3]:
        users.ask("sample", f"users/{trial.id}", "--count", "10", "-o", "drawn.png")
        assert len(np.unique(np.asarray(Image.open(users.root / "drawn.png")))) > 2
    users.ask("report", "users", "-o", "users.pdf")
    with closing(pypdfium2.PdfDocument(users.root / "users.pdf")) as pages:
        text = " ".join(" ".join(page.get_textpage().get_text_range() for page in pages).split())
    assert "projection:Pair" in text
    assert "residual.nets:G" in text
