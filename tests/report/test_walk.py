"""The walk of docs/bring-your-own.md: its files and commands, in order, in a fresh folder, at a tiny size."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from bench import empty_home
from click.testing import CliRunner
from documented import ROOT, blocks_of, commands_of, section
from PIL import Image
from scenes import train

from gansweep.cli.main import cli
from gansweep.records.layout import Home

pytestmark = pytest.mark.slow
WALK = section(ROOT / "docs" / "bring-your-own.md", "From your classes and photos to a report")
SMALL = {  # what makes the sweep small
    "latent_dim: 64": "latent_dim: 8",
    "steps: 200, batch_size: 32": "steps: 12, batch_size: 16",
    "options: {width: 16}": "options: {width: 4}",
}
REST = (
    "cadence: {metrics: 4, samples: 6, checkpoints: 6}\nevaluation: {per_run: 2, samples: 70}\nresources: {gpus: 0}\n"
)
COMMANDS = [words for words, inline in commands_of(WALK) if not inline]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page, and 300 photos."""
    folder = tmp_path_factory.mktemp("walk")
    (nets,), (sweep,) = blocks_of(WALK, "python"), blocks_of(WALK, "yaml")
    for full, small in SMALL.items():
        assert full in sweep
        sweep = sweep.replace(full, small)
    (folder / "nets.py").write_text(nets)
    (folder / "photos.yaml").write_text(sweep + REST)
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(300):
        pixels = rng.integers(0, 256, (5, 4, 3), np.uint8)
        Image.fromarray(pixels).resize((40, 50)).save(folder / "photos" / f"{number}.jpg")
    return folder


@pytest.fixture
def home(project: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(project)
    monkeypatch.setenv("GANSWEEP_HOME", "gansweep-home")
    place = Path("gansweep-home")
    return Home(place) if place.exists() else empty_home(place)


def test_the_commands_lead_from_the_files_to_a_report(home: Home) -> None:
    names = [words[0] for words in COMMANDS]
    assert names.index("data") < names.index("plan") < names.index("run") < names.index("report") < names.index("save")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_walk_runs(words: tuple[str, ...], home: Home) -> None:
    if words[0] == "run":  # without Ray
        assert len(train(home, Path(words[1])).planned()) == 2
        return
    trials = home.sweep("photos").planned()
    result = CliRunner().invoke(cli, [trials[0].id if re.fullmatch("[0-9a-f]{12}", word) else word for word in words])
    assert result.exit_code == 0, f"{result.exception}\n{result.output}"
    if "-o" in words:
        written = Path(words[words.index("-o") + 1])
        assert written.is_dir() or written.stat().st_size > 0
