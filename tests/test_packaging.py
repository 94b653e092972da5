"""What is installed: the package and nothing else. Built from a copy, so that the working tree stays clean."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path
from textwrap import dedent

import pytest
from requirements import hidden_modules, installed_by

from gansweep.sweepfile.template import template

ROOT = Path(__file__).parents[1]


def checked(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


DATA = {
    "gansweep/py.typed",
    "gansweep/sweepfile/template.yaml",
    "gansweep/report/report.typ",
    "gansweep/report/accuracy.csv",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks or would track."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs git and a checkout")
    copy = tmp_path_factory.mktemp("tree")
    listing = checked(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    checked([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"], tree)
    (built,) = (tree / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(tree: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"gansweep"}
    modules = {str(path.relative_to(tree)) for path in (tree / "gansweep").rglob("*.py")}
    assert {name for name in names if name.startswith("gansweep/")} == {*modules, *DATA}


def test_the_wheel_works_without_the_tree(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere it is the gansweep that is imported, and it finds its template."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = f"""
import sys
sys.path.insert(0, {str(site)!r})
import gansweep
assert gansweep.__file__.startswith({str(site)!r}), gansweep.__file__
from gansweep.cli.main import cli
cli(["init", "my-sweep.yaml"], standalone_mode=False)
cli(["validate", "my-sweep.yaml"], standalone_mode=False)
"""
    checked([sys.executable, "-c", program], tmp_path)
    assert (tmp_path / "my-sweep.yaml").read_text() == template()


USER = """
from pathlib import Path

import gansweep

sweep: gansweep.SweepResult = gansweep.run_sweep({"name": "s"}, home="home", overrides={"training.steps": 3})
best: gansweep.TrialResult = gansweep.open_sweep("s", home=Path("home")).best()
count: int = len(sweep)
version: str = gansweep.__version__
report: Path = sweep.report("report.pdf")
try:
    gansweep.open_sweep("t")
except gansweep.UserError as error:
    print(error, best.sample(4, seed=1).shape, best.generator().training, [trial.id for trial in sweep])
"""


def test_mypy_checks_a_script_against_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Strictly, and it finds what is wrong: the types are those of the package, not Any."""
    checked([sys.executable, "-m", "venv", "--without-pip", "env"], tmp_path)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", tmp_path / "env" / "bin" / "python"]
    (tmp_path / "user.py").write_text(USER)
    assert "Success" in checked([*mypy, "user.py"], tmp_path)
    (tmp_path / "wrong.py").write_text(USER.replace("count: int", "count: str").replace("overrides=", "override="))
    done = subprocess.run([*mypy, "wrong.py"], cwd=tmp_path, capture_output=True, text=True)
    assert 'Unexpected keyword argument "override" for "run_sweep"' in done.stdout
    assert 'expression has type "int", variable has type "str"' in done.stdout
    assert "Found 2 errors" in done.stdout


def test_the_wheel_says_what_it_needs_and_brings_a_command(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel)
    info = next(name.split("/")[0] for name in files.namelist() if ".dist-info/" in name)
    metadata = files.read(f"{info}/METADATA").decode()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"Name: gansweep\nVersion: {changelog.partition('## [')[2].partition(']')[0]}\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    needed = {line.split(": ")[1].split(">")[0] for line in metadata.splitlines() if line.startswith("Requires-Dist")}
    assert {"torch", "ray[tune]", "mlflow", "click", "pydantic"} <= needed
    assert files.read(f"{info}/entry_points.txt").decode() == "[console_scripts]\ngansweep = gansweep.cli.main:main\n"


@pytest.mark.parametrize("folder", ["analysis", "tests", "sweeps", "docs"])
def test_no_other_folder_can_be_imported(folder: str, tmp_path: Path) -> None:
    program = f"import {folder}; print(*{folder}.__path__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    if packages_distributions().get(folder) == ["torch_fidelity"]:  # which installs its tests, up to version 0.4
        assert str(ROOT / folder) not in done.stdout.split("\n")[0]
    else:
        assert f"No module named '{folder}'" in done.stderr


# What docs/cluster.md says that an installation of `gansweep[cluster]` can do, each as a program.
CLUSTER = {
    "MLflow's artifacts in a bucket": """
        from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
        S3ArtifactRepository("s3://bucket/mlflow")._get_s3_client()
    """,
    "MLflow's records in PostgreSQL": """
        from sqlalchemy import create_engine
        create_engine("postgresql+psycopg2:///mlflow")
    """,
    "MLflow's accounts": "import mlflow.server.auth",
    "--storage s3://BUCKET": "import fsspec; fsspec.filesystem('s3')",
    # Last, since Ray puts copies of other packages on the search path.
    "a head that takes jobs": "import ray.dashboard.head, ray.dashboard.modules.job.job_head, ray.job_submission",
}


@pytest.fixture(scope="module")
def only_cluster(wheel: Path) -> str:
    """The first lines of a program that sees nothing but what `gansweep[cluster]` requires, directly or not.

    What only the extra `dev` brings (moto, for one) cannot be imported. This stands for an environment of gigabytes.
    """
    files = zipfile.ZipFile(wheel)
    metadata = next(name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
    requirements = message_from_bytes(files.read(metadata)).get_all("Requires-Dist", [])
    hidden = hidden_modules(installed_by(requirements, "cluster"))
    assert {"moto", "hypothesis", "ruff"} <= hidden
    assert not hidden & {"mlflow", "ray", "torch"}
    return f"""
import os, sys
os.environ.update(AWS_ACCESS_KEY_ID="unused", AWS_SECRET_ACCESS_KEY="unused", AWS_DEFAULT_REGION="us-east-1")
class NotInstalled:
    def find_spec(name, path=None, target=None):
        if name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NotInstalled)
"""


def test_the_extra_cluster_brings_what_it_promises(only_cluster: str, tmp_path: Path) -> None:
    """All promises in one process, since most of its time is the import of MLflow; those that fail are named."""
    programs = {promise: dedent(program) for promise, program in CLUSTER.items()}
    tried = f"""
for promise, program in {programs!r}.items():
    try:
        exec(program, {{}})
    except Exception as error:
        print(f"{{promise}}: {{error!r}}")
"""
    assert checked([sys.executable, "-c", only_cluster + tried], tmp_path) == ""
