"""CONTRIBUTING.md: its layers are those that are checked, and its examples work."""

from __future__ import annotations

import configparser
import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from documented import ROOT, blocks

from gansweep.config import LossConfig
from gansweep.gan.training import Trainer
from gansweep.losses.registry import LOSSES

if TYPE_CHECKING:
    from gansweep.planning.plan import Plan

PAGE = ROOT / "CONTRIBUTING.md"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Modules of the examples by path; they can import each other."""
    modules = {}
    for block in blocks(PAGE, "python"):
        path = block.splitlines()[0].removeprefix("# ")
        module = ModuleType(path.removesuffix(".py").replace("/", "."))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(block, path, "exec"), vars(module))
        modules[path] = module
    return modules


def test_layers_are_those_of_the_contract() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    layers = config["importlinter:contract:layers"]["layers"]
    listed = "\n".join(re.findall(r"^- (`gansweep.*):", PAGE.read_text(), flags=re.MULTILINE))
    assert re.findall(r"`(gansweep\.\w+)`", listed) == re.findall(r"gansweep\.\w+", layers)


def test_the_tests_of_the_examples_pass(examples: dict[str, ModuleType]) -> None:
    tests = {
        name: value
        for path, module in examples.items()
        if path.startswith("tests/")
        for name, value in vars(module).items()
        if name.startswith("test_")
    }
    assert len(tests) == 3
    for test in tests.values():
        test()


def test_the_modules_of_the_examples_have_docstrings(examples: dict[str, ModuleType]) -> None:
    modules = {path: module for path, module in examples.items() if path.startswith("gansweep/")}
    assert len(modules) == 2
    assert [path for path, module in modules.items() if not module.__doc__] == []


def test_the_loss_trains(
    examples: dict[str, ModuleType], plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    (planned,) = plan_of("model.discriminator.norm=layer").trials
    monkeypatch.setitem(LOSSES, "lipschitz", examples["gansweep/losses/lipschitz.py"].Lipschitz)
    config = replace(planned.training, loss=LossConfig("lipschitz", {"slope_weight": 5.0}))
    trainer = Trainer.on(planned.images, config, torch.device("cpu"))
    trainer.train_step()
    assert trainer.loss.name == "lipschitz"
    assert np.isfinite(trainer.read()).all()


def test_paths_and_names_of_the_table_of_parts_exist() -> None:
    text = PAGE.read_text()
    rows = text[text.index("| part |") :].partition("\n\n")[0]
    paths = set(re.findall(r"`([\w/]+(?:\.py|\.md|/))`", rows))
    assert len(paths) > 15
    assert [path for path in paths if not any((root / path).exists() for root in (ROOT, ROOT / "gansweep"))] == []
    registries = re.findall(r"`([A-Z_]+)` in `([\w/]+)\.py`", rows)
    assert len(registries) == 7
    for name, path in registries:
        assert hasattr(importlib.import_module("gansweep." + path.replace("/", ".")), name)
