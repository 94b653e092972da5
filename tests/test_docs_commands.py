"""Commands and examples of README, CONTRIBUTING.md and docs/: all are accepted, and what works on a trained sweep runs.

The sweep is a small one with the name that the documents use. Trial ids of the documents stand for its trials.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from documented import (
    PAGES,
    ROOT,
    Command,
    blocks,
    command_of,
    commands,
    commands_of,
    problem,
    scripts,
    section,
)
from scenes import train, warm_home

from gansweep.cli.main import COMMANDS, cli
from gansweep.losses import registry

# Beginning of a command → why it does not run here, and the test that runs it.
ELSEWHERE = {
    ("ui",): ("serves until it is stopped", "tests/browser/test_ui.py"),
    ("submit",): ("needs a Ray cluster", "tests/integration/test_cluster.py"),
    ("logs", "lr-grid", "--follow", "--tracking-uri"): ("needs a server", "tests/integration/test_cluster.py"),
    ("logs", "my"): ("needs a server", "tests/integration/test_cluster.py"),
    ("status", "my"): ("needs a server", "tests/integration/test_cluster.py"),
    ("stop", "my"): ("needs a server", "tests/integration/test_cluster.py"),
    ("stop", "lr-grid", "--tracking-uri"): ("needs a server", "tests/integration/test_cluster.py"),
    ("evaluate", "eb994b734833"): ("would download MNIST", "tests/cli/test_save.py"),
    ("fid",): ("needs the weights of Inception, or another network", "tests/cli/test_fid.py"),
    ("import",): ("reads files of others", "tests/cli/test_import.py"),
    ("sample", "faces"): ("draws from imported weights", "tests/cli/test_import.py"),
    ("save", "digits"): ("torch.export takes seconds", "tests/gan/test_formats.py"),
    ("evaluate", "TRIAL"): ("its data set stands for any", "tests/cli/test_save.py"),
    ("stop",): ("needs a running sweep", "tests/cli/test_stop.py"),
    ("run", "sweep.yaml", "--address"): ("needs a Ray cluster", "tests/integration/test_cluster.py"),
    ("run", "FILE", "--address"): ("needs a Ray cluster", "tests/integration/test_cluster.py"),
    ("plan", "my.yaml"): ("times networks of full size", "tests/cli/test_commands.py"),
    ("run", "/dev/stdin"): ("reads a pipe", "tests/cli/test_file_from_a_pipe.py"),
    ("run", "sweeps/benchmark/parts_digits.yaml"): ("trains for hours", "tests/test_parts.py"),
    ("run", "…/sweeps/lr-grid/sweep.yaml"): ("trains a sweep of another name", "tests/cli/test_commands.py"),
}
WALK = section(ROOT / "docs" / "bring-your-own.md", "From your classes and photos to a report")
WALKED = [words for words, inline in commands_of(WALK) if not inline]  # in order, by tests/report/test_walk.py
FOREIGN = {
    "--app-name",
    "--volumes",
    "--volume",
    "--shm-size",
    "--time",
    "--workers",
    "--samples_per_plugin",
}  # of others
STUDY = {  # what makes sweeps/lr_grid.yaml small
    "image_size: 32": "image_size: 16",
    "latent_dim: 100, feature_maps: 16": "latent_dim: 8, feature_maps: 4",
    "steps: 1500, batch_size: 64": "steps: 20, batch_size: 16",
    "[1e-4, 2e-4, 1e-3, 2e-2, 2e-1]": "[2e-4, 1e-3]",
}
REST = "cadence: {metrics: 5, samples: 10, checkpoints: 10}\nevaluation: {per_run: 1, samples: 64}\n"


@dataclass(frozen=True)
class Scene:
    """A working directory with the files and sweeps that the documents name, and its home."""

    folder: Path
    trials: tuple[str, ...]

    @property
    def home(self) -> Path:
        return self.folder / "gansweep-home"

    def words(self, command: Command) -> list[str]:
        """Words of a command with real names for placeholders."""
        trials = cycle(self.trials)
        words = list(command.words)
        for place, word in enumerate(words):
            if word == "FILE":
                words[place] = self._file(words[0], words[place - 1])
            elif re.fullmatch("TRIAL|[0-9a-f]{4}([0-9a-f]{8})?", word):
                words[place] = next(trials)
            elif word in NAMES:
                words[place] = NAMES[word]
        return words

    def _file(self, command: str, before: str) -> str:
        if before == "--thresholds":
            return "thresholds.yaml"
        return {"init": "other.yaml", "train": "single.yaml"}.get(command, "sweeps/lr_grid.yaml")


NAMES = {"SWEEP": "lr-grid", "A": "lr-grid", "B": "latent-width", "DIR": "csv"}


def _executed() -> list[Command]:
    """Commands to run, in order of the documents. One whose words all occur in another command is left out."""
    found: dict[frozenset[str], Command] = {}
    for command in commands():
        if command.words in WALKED or command.is_mention:
            continue
        if not any(command.words[: len(begin)] == begin for begin in ELSEWHERE):
            found.setdefault(frozenset(NAMES.get(word, word) for word in command.words), command)
    return [one for words, one in found.items() if one.words[0] != "clean" and not any(words < more for more in found)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("documents")
    home = warm_home(folder / "gansweep-home")
    file = folder / "sweeps" / "lr_grid.yaml"
    file.parent.mkdir()
    text = (ROOT / "sweeps" / "lr_grid.yaml").read_text()
    for full, small in STUDY.items():
        assert full in text
        text = text.replace(full, small)
    file.write_text(text + REST)
    trained = train(home, file)
    train(home, file, "search=null", "name=latent-width", "training.beta1=0.7")
    (folder / "single.yaml").write_text(re.sub(r"search:.*?(?=replicates)", "", text, flags=re.DOTALL) + REST)
    (folder / "thresholds.yaml").write_text("mode_collapse: {need: 2, window: 3}\n")
    trials = trained.planned()
    shutil.copy(trials[0].all_checkpoints()[-1], folder / "00001500.safetensors")
    return Scene(folder, tuple(trial.path.name for trial in trials))


@pytest.fixture
def work(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.chdir(scene.folder)
    monkeypatch.setenv("GANSWEEP_HOME", str(scene.home))
    return scene


@pytest.mark.parametrize("command", commands(), ids=str)
def test_a_command_is_accepted(command: Command) -> None:
    assert problem(command) is None


def test_what_is_not_accepted_is_told() -> None:
    def told(*words: str, inline: bool = False) -> str:
        return problem(Command("page", words, inline)) or ""

    assert "--fast" in told("run", "FILE", "--fast")
    assert "--fast" in told("run", "--fast", inline=True)
    assert "argument" in told("run", "FILE", "MORE")
    assert "argument" in told("run")
    assert "half" in told("sample", "TRIAL", "--count", "half")
    assert told("run", inline=True) == ""


def test_options_beside_a_command_of_the_readme_are_its_options() -> None:
    rows = re.findall(r"^\| `gansweep (\w+)[^|]*\|(.*)\|$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert {name for name, _ in rows} == {*COMMANDS}
    for name, text in rows:
        assert {*re.findall(r"`(--[\w-]+)", text)} <= _options(command_of(name)), name


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_options_in_text_exist(page: Path) -> None:
    known = {option for name in COMMANDS for option in _options(command_of(name))} | _options(cli)
    options = {*re.findall(r"`(--[\w-]+)[^`]*`", page.read_text())}
    assert options - known - FOREIGN == set()


@pytest.mark.parametrize("command", scripts(), ids=str)
def test_a_script_exists_and_has_the_options(command: Command) -> None:
    if command.words[:2] == ("-m", "pytest"):
        markers = re.findall(r"^    (\w+): ", (ROOT / "setup.cfg").read_text(), flags=re.MULTILINE)
        assert [word for word in command.words if "/" in word and not (ROOT / word).exists()] == []
        chosen = [word.split()[-1] for before, word in zip(command.words[2:], command.words[3:], strict=False)
                  if before == "-m"]  # fmt: skip
        assert {*chosen} <= {*markers}
        return
    module = command.words[0] == "-m"
    path = command.words[1].replace(".", "/") + ".py" if module else command.words[0]
    source = (ROOT / path).read_text()
    assert '__name__ == "__main__"' in source
    assert [word for word in command.words if word.startswith("--") and f'"{word}"' not in source] == []


def test_files_of_commands_exist() -> None:
    files = {word for command in commands() for word in command.words if word.startswith("sweeps/")}
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("begin", ELSEWHERE, ids=" ".join)
def test_what_does_not_run_here_is_documented_and_runs_in_another_test(begin: tuple[str, ...]) -> None:
    assert any(command.words[: len(begin)] == begin for command in commands())
    assert (ROOT / ELSEWHERE[begin][1]).exists()


@pytest.mark.parametrize("command", _executed(), ids=str)
def test_a_command_runs(command: Command, work: Scene) -> None:
    result = CliRunner().invoke(cli, work.words(command))
    assert result.exit_code == 0, f"{result.exception}\n{result.output}"


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/tables.md"])
def test_a_python_example_runs(page: str, work: Scene) -> None:
    names: dict[str, object] = {}
    report, examples = work.folder / "report.pdf", blocks(ROOT / page, "python")
    report.unlink(missing_ok=True)
    for example in examples:
        exec(example, names)
    if any(f'report("{report.name}")' in example for example in examples):
        assert report.read_bytes().startswith(b"%PDF")


def test_the_loss_of_the_page_on_networks_is_registered_and_penalises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LOSSES", {})
    (block,) = blocks(ROOT / "docs" / "networks.md", "python")
    exec(block, {})
    loss = registry.create("dragan", {"roundness": 3.0})
    images = torch.zeros(2, 1, 2, 2)
    penalty = loss.penalty(lambda x: 2 * x.sum((1, 2, 3)), images, images, torch.Generator())
    assert penalty.item() == pytest.approx(3 * (4 - 1) ** 2)  # four pixels, each with a gradient of 2


def test_a_sweep_is_removed_at_the_end(work: Scene) -> None:
    assert any(command.words == ("clean", "SWEEP") for command in commands())
    result = CliRunner().invoke(cli, ["clean", "latent-width"], input="y\n")
    assert result.exit_code == 0, result.output


def _options(command: click.Command) -> set[str]:
    return {option for one in command.get_params(click.Context(command)) for option in (*one.opts, *one.secondary_opts)}
