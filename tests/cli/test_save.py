"""`gansweep save` and `evaluate`, on a trial whose records are made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_calls import Call
from click.testing import CliRunner, Result
from PIL import Image

import gansweep
from gansweep.cli.main import cli
from gansweep.gan import checkpoint
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.restore import description
from gansweep.gan.training import Trainer
from gansweep.health.verdict import Verdict
from gansweep.planning.plan import Plan, write_trials
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder
from gansweep.records.outcome import Outcome

STEP = 4


@pytest.fixture
def trial(plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialFolder:
    """A conditional trial with a checkpoint, evaluations before and after it, and a verdict."""
    plan = plan_of("model.conditioning=concat", "dataset.classes=[3, 8]", "dataset.data_dir=/secret/place")
    (planned,) = plan.trials
    folder = plan.folder.trial(planned.trial.id)
    write_trials(plan, "gansweep run s.yaml", ())
    trainer = Trainer.on(planned.images, planned.training, torch.device("cpu"))
    meta = {"step": STEP, "position": 0, **description(planned.training)}
    checkpoint.save(folder.checkpoint(STEP), trainer.state(), meta)
    with Journal(folder.journal) as records:
        for step, value in ((2, 31.0), (3, float("nan")), (6, 2.0)):
            records.append(Record(step, 1.0, {"fd_ratio": value, "class_share/3": 0.25, "loss_d": 1.0}))
    verdict = Verdict("mode_collapse", 2, "mode collapse since step 2: samples are alike")
    outcome.write(folder, Outcome("stopped", 6, verdict.reason, (verdict,), "mode_collapse"))
    monkeypatch.chdir(tmp_path)
    return folder


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="gansweep")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_a_folder_holds_a_generator_and_what_is_known_of_it(trial: TrialFolder) -> None:
    result = run("save", trial.id[:6], "-o", "mine")
    assert result.stderr.startswith(f"mine: the generator of s/{trial.id}, ")
    assert {path.name for path in Path("mine").iterdir()} == {
        "README.md", "config.json", "metrics.json", "model.safetensors", "samples.png",
    }  # fmt: skip
    card = Path("mine/README.md").read_text()
    for words in (
        "library_name: gansweep", "A generator of grey images of 16×16 pixels of 2 classes (3, 8), trained as a GAN",
        "- **mode collapse** (", "since step 2: samples are alike", "Measured at step 3,", "| `fd_ratio` | – |",
        "| `model.conditioning` | concat |", "images of digits",
    ):  # fmt: skip
        assert words in card
    assert "secret" not in card
    assert "loss_d" not in card
    assert json.loads(Path("mine/metrics.json").read_text()) == {"fd_ratio": None, "class_share/3": 0.25}
    assert json.loads(Path("mine/config.json").read_text())["settings"]["latent_dim"] == 8
    assert Image.open("mine/samples.png").size == (8 * 18 - 2, 2 * 18 - 2)
    code = card.split("```python\n")[1].split("```")[0]
    exec(code, {"print": lambda shape: None if tuple(shape) == (16, 1, 16, 16) else pytest.fail(str(shape))})


def test_every_file_makes_the_images_of_the_trial(trial: TrialFolder) -> None:
    run("save", trial.id, "--step", STEP, "-o", "g.safetensors")
    run("save", "g.safetensors", "-o", "again")
    run("save", "g.safetensors", "-o", "again")  # a saved folder is replaced
    for number, subject in enumerate((trial.id, "g.safetensors", "again")):
        run("sample", subject, "-o", f"{number}.png", "--count", 4)
    assert len({Path(f"{number}.png").read_bytes() for number in range(3)}) == 1
    assert "Verdicts" not in Path("again/README.md").read_text()
    assert gansweep.load_generator("again").step == STEP


@pytest.mark.parametrize("other", [False, True], ids=["its own classes", "other classes"])
def test_every_metric_is_printed(
    trial: TrialFolder, other: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images are noise of two classes, named as those of the generator or otherwise."""
    monkeypatch.setattr("gansweep.gan.features.small_classifier.STEPS", 10)
    rng = np.random.default_rng(0)
    for name in ("8", "other" if other else "3"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(90):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / f"images/{name}/{number}.png")
    result = run("evaluate", trial.id, "--data", "images", "--samples", 40, *["--json"] * (not other))
    assert ("the data have other classes than the generator" in result.stderr) == other
    if other:
        names = [line.split()[0] for line in result.stdout.splitlines()]
        assert names[0] == "fd_ratio"
        assert "requested" not in names
        return
    found = json.loads(result.stdout)
    assert (found["samples"], found["data"]["images"]) == (40, 180)
    assert found["data"]["classes"] == ["3", "8"]
    assert found["metrics"]["fd_ratio"] > 1
    assert "requested" in found["metrics"]
    assert found["metrics"]["kernel_distance"] > 0


def test_a_class_is_asked_for_by_its_place_among_the_generators_classes(
    trial: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set may have the same classes in another order."""
    monkeypatch.setattr("gansweep.gan.features.small_classifier.STEPS", 10)
    tensors, meta = checkpoint.load(trial.checkpoint(STEP))
    meta["settings"]["networks"]["classes"] = ["8", "3"]
    checkpoint.save(Path("other.safetensors"), tensors, meta)
    asked: list[list[int]] = []

    def draws(generator: object, z: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
        asked.append(labels.tolist())
        return np.zeros((len(z), 1, 16, 16), np.uint8)

    def measures(self: Evaluator, pixels: np.ndarray, requested: np.ndarray) -> dict[str, float]:
        asked.append(requested.tolist())
        return {"fd_ratio": 1.0}

    monkeypatch.setattr("gansweep.gan.sampling.in_chunks", draws)
    monkeypatch.setattr(Evaluator, "quality", measures)
    Path("three.yaml").write_text(TINY.replace("image_size: 16", "image_size: 16, classes: [3, 8]"))
    run("evaluate", "other.safetensors", "--data", "three.yaml", "--samples", 40)
    drawn, requested = asked
    assert drawn == [1 - label for label in requested]
    assert set(drawn) == {0, 1}


TINY = "name: s\ndataset: {image_size: 16}\ntraining: {steps: 4}\n"
ENDINGS = ".safetensors, .pt2 or .onnx file"
BAD = [
    ("save {} -o g.pth", f"g.pth: unknown ending; name a {ENDINGS}, or a folder (without an ending)"),
    ("save {} -o s.yaml", f"s.yaml: unknown ending; name a {ENDINGS}, or a folder (without an ending)"),
    ("save {} -o .", ".: the folder holds other files; name a new or an empty one"),
    ("save {} -o no/g", "no/g: the folder no does not exist; create it first"),
    ("save g.pth -o g", f"g.pth: not a checkpoint of gansweep; name a {ENDINGS}"),
    (
        "evaluate {} --data nothing",
        "--data nothing: does not exist; name a folder, an archive or a file of images, a sweep file, or one of digits,"
        " mnist, fashion_mnist, cifar10 or glyphs",
    ),
]


def test_what_cannot_be_saved_or_evaluated_is_refused(trial: TrialFolder, call: Call) -> None:
    for command, message in BAD:
        assert call(*command.format(trial.id).split()) == f"{message}\n"
