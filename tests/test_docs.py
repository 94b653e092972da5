"""What the documents say is what is there."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gansweep.cli.main import COMMANDS, cli
from gansweep.losses.registry import LOSSES
from gansweep.networks.registry import ARCHITECTURES
from gansweep.sweepfile.loader import known_keys

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_and_pictures_resolve(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


def test_links_to_sections_resolve() -> None:
    """Links such as `operation.md#exit-codes`, by the anchors that GitHub gives to headings."""
    missing = []
    for document in DOCUMENTS:
        for file, anchor in re.findall(r"\]\(([\w/.-]*\.md)?#([^)\s]+)\)", document.read_text()):
            if anchor not in _anchors((document.parent / file) if file else document):
                missing.append(f"{document.name}: {file}#{anchor}")
    assert missing == []


def _anchors(document: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"`gansweep {name}" not in text] == []


@pytest.mark.parametrize("option", ["--json", "--all-plans"])
def test_the_readme_lists_the_commands_that_take_an_option(option: str) -> None:
    text = (ROOT / "README.md").read_text()
    (listed,) = re.findall(rf"((?:`\w+`(?:,\s| and\s)?)+)\s?take `{option}`", text)
    context = cli.make_context("gansweep", ["--help"], resilient_parsing=True)
    commands = {name: cli.get_command(context, name) for name in COMMANDS}
    taking = {name for name, command in commands.items() if any(option in one.opts for one in command.params)}
    assert set(re.findall(r"\w+", listed)) - {"and"} == taking


def test_every_key_of_a_sweep_file_stands_in_its_document() -> None:
    text = (ROOT / "docs" / "sweep-files.md").read_text()
    words = set(re.findall(r"\w+", text))
    elsewhere = "thresholds."  # docs/verdicts.md has them: tests/health/test_verdict.py
    keys = [key for key in known_keys() if not key.startswith(elsewhere)]
    assert [key for key in keys if not set(key.split(".")) <= words] == []


@pytest.mark.parametrize(("key", "registry"), [("model.architecture", ARCHITECTURES), ("training.loss", LOSSES)])
def test_tables_list_every_registered_part(key: str, registry: Mapping[str, object]) -> None:
    (row,) = re.findall(rf"^\| `{key}` \|(.*)", (ROOT / "docs" / "sweep-files.md").read_text(), flags=re.MULTILINE)
    assert set(registry) - _in_code(row) == set()
    table = (ROOT / "docs" / "networks.md").read_text().partition(f"| `{key}` |")[2].partition("\n\n")[0]
    first_column = " ".join(re.findall(r"^\|([^|]*)", table, flags=re.MULTILINE))
    assert _in_code(first_column) == set(registry)


def _in_code(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def test_the_readme_begins_with_the_two_commands() -> None:
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/gansweep run sweeps/lr_grid.yaml",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/python -m pytest -n 2",
    ]


def benchmark(name: str) -> Any:
    """Module of a table of benchmarks."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_gpus_is_what_was_measured() -> None:
    measured = json.loads((ROOT / "docs" / "gpu.json").read_text())
    assert benchmark("gpu_table").table(measured) in (ROOT / "docs" / "gpu.md").read_text()


def test_tables_of_speed_are_what_was_measured() -> None:
    module = benchmark("table")
    measured = json.loads((ROOT / "docs" / "speed.json").read_text())
    assert module.table(measured) in (ROOT / "docs" / "benchmarks.md").read_text()
    of_scale = (ROOT / "docs" / "scale.md").read_text()
    assert module.scale(measured) in of_scale
    assert module.answers(measured) in of_scale
