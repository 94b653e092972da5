"""What is not imported costs nothing: the command line's quick commands, and a trial's process.

A sitecustomize on PYTHONPATH writes the names in sys.modules to a file: at the exit of a command, and in the middle
of training from inside a trial's process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scenes import warm_home
from service import Service

HEAVY = {"torch", "ray", "mlflow", "torchvision", "sklearn", "pandas"}
NEVER_IN_A_TRIAL = {"mlflow", "torchvision", "sklearn", "torch._dynamo"}
AT_EXIT = """
import atexit, os, sys
from pathlib import Path
atexit.register(lambda: Path(os.environ["MODULES_FILE"]).write_text("\\n".join(sys.modules)))
"""
AT_THE_LAST_STEP = """
import importlib.abc, importlib.util, os, sys
from pathlib import Path

def hook(module):
    original = module.Run._end
    def _end(self, ended):
        done = original(self, ended)  # everything that a trial does has been done
        Path(os.environ["MODULES_FILE"]).write_text("\\n".join(["step", str(self.step), *sys.modules]))
        return done
    module.Run._end = _end

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "gansweep.gan.run":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), hook(module))
        return spec

sys.meta_path.insert(0, Finder())
"""


def spied(root: Path, code: str) -> tuple[dict[str, str], Path]:
    """Environment in which every Python process runs `code` first, and the file that it writes."""
    site, modules = root / "site", root / "modules"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "MODULES_FILE": str(modules)}, modules


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A finished sweep of one trial: digits are cached and the tracking store is there. Its trial was spied on."""
    root = tmp_path_factory.mktemp("swept")
    environment, _ = spied(root, AT_THE_LAST_STEP)
    service = Service(root, environment)
    warm_home(service.home.path)
    service.call("run", service.write(steps=20, rates="[1e-4]"))
    return service


def loaded(root: Path, *command: str, home: Path | None = None) -> set[str]:
    """Names of all modules that a Python process had loaded when it ended."""
    environment, modules = spied(root, AT_EXIT)
    where = {"GANSWEEP_HOME": str(home)} if home else {}
    done = subprocess.run(
        [sys.executable, *command], env={**os.environ, **environment, **where}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(modules.read_text().split("\n"))


@pytest.mark.parametrize(
    "command",
    [
        ("-c", "import gansweep"),
        ("-m", "gansweep.cli", "--help"),
        ("-m", "gansweep.cli", "--version"),
        ("-m", "gansweep.cli", "run", "--help"),
        ("-m", "gansweep.cli", "diagnose", "--help"),
        ("-m", "gansweep.cli", "status"),
        ("-m", "gansweep.cli", "schema"),
    ],
    ids=lambda command: " ".join(command[1:]),
)
def test_a_fresh_start_loads_nothing_heavy(tmp_path: Path, command: tuple[str, ...]) -> None:
    modules = loaded(tmp_path, *command)
    assert modules & HEAVY == set()
    assert "gansweep" in modules
    if "--help" in command or "-c" in command:
        assert modules & {"numpy", "pydantic", "rich", "PIL"} == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "small"),
        ("status", "small", "--json"),
        ("data", "FILE"),
        ("plan", "FILE", "--no-timing"),
        ("plan", "FILE", "--no-timing", "--set", "training.beta1=0.9"),
        ("validate", "FILE"),
    ],
    ids=" ".join,
)
def test_with_a_store_and_cached_images_nothing_heavy_is_loaded_either(
    swept: Service, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    given = [str(swept.root / "small.yaml") if word == "FILE" else word for word in arguments]
    assert loaded(tmp_path, "-m", "gansweep.cli", *given, home=swept.home.path) & HEAVY == set()


@pytest.mark.slow
def test_a_run_with_nothing_to_train_compares_with_the_store_and_starts_neither_torch_nor_ray(
    swept: Service, tmp_path: Path
) -> None:
    modules = loaded(tmp_path, "-m", "gansweep.cli", "run", str(swept.root / "small.yaml"), home=swept.home.path)
    assert modules & {"torch", "ray", "torchvision", "sklearn"} == set()


@pytest.mark.slow
def test_show_reads_the_folder_alone(swept: Service, tmp_path: Path) -> None:
    (trial,) = swept.folder().planned()
    assert loaded(tmp_path, "-m", "gansweep.cli", "show", trial.id, home=swept.home.path) & HEAVY == set()


@pytest.mark.slow
def test_a_plan_decodes_the_digits_without_scikit_learn(swept: Service, tmp_path: Path) -> None:
    file = str(swept.root / "small.yaml")
    modules = loaded(tmp_path, "-m", "gansweep.cli", "plan", file, "--no-timing", home=tmp_path / "new")
    assert modules & HEAVY == set()


@pytest.mark.slow
def test_a_trial_imports_only_what_it_needs(swept: Service) -> None:
    first, step, *modules = Path(swept.environment["MODULES_FILE"]).read_text().split("\n")
    assert (first, step) == ("step", "20")
    assert {"torch", "ray", "gansweep.gan.training"} <= set(modules)
    assert set(modules) & NEVER_IN_A_TRIAL == set()
