"""Every test has its own home folder, and nothing is written outside tmp_path."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from gansweep.records.layout import Home

if TYPE_CHECKING:
    from gansweep.gan.data import ImageSet
    from gansweep.gan.reader import Reader, Source
    from gansweep.planning.plan import Plan

INTEGRATION = "tests/integration/"
# Folders whose files share a sweep or a server, and so a process.
SHARING = ("tests/api/", "tests/report/", "tests/security/", "tests/tracking/")
# Without digits: meanwhile the process at the other end of the list trains what judges them, for which both would wait.
FIRST = "tests/tracking/"
TINY = """name: s
dataset: {image_size: 16}
model: {latent_dim: 8, feature_maps: 4}
training: {steps: 4, batch_size: 16}
cadence: {metrics: 2, samples: 4, checkpoints: 4}
evaluation: {per_run: 0}
"""
# Prefixes of paths of the quick tier: tests that most changes break first, without store, server or long training.
# Tests of a new loss, network, metric or detector go into the folders named here.
QUICK = tuple(
    f"tests/{part}"
    for part in (
        "health/",
        "losses/",
        "networks/",
        "records/",
        "sweepfile/",
        "usercode/",
        "test_architecture.py",
        "test_docs.py",
        *(f"gan/test_{part}" for part in ("batches", "conditioning", "growth", "optimizer")),
        *(f"report/test_{part}" for part in ("prose", "statistics", "words")),
        *(f"sync/test_{part}" for part in ("copies", "lease", "periodic", "storage")),
    )
)

settings.register_profile(
    "gansweep", max_examples=50, deadline=None, database=None, derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("gansweep")


def pytest_configure(config: pytest.Config) -> None:
    """Let processes share compiled files; refuse a quick tier that names what was moved: it would shrink unnoticed."""
    # Tests start hundreds of processes: each would compile gansweep where the environment forbids compiled files.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # The processes of `-n 2` inherit the folder, so that networks that judge digits are trained once for all of them.
    if "GANSWEEP_TEST_CACHE" not in os.environ:
        os.environ["GANSWEEP_TEST_CACHE"] = mkdtemp(prefix="gansweep-digits-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop("GANSWEEP_TEST_CACHE")))
    # Threads of torch wait for each other at the end of each operation: asleep, not turning, since other tests have the
    # cores. Two threads took ten times as much of a core beside a busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # The garbage collector looks seldom at a million objects of imported modules. They are not frozen: Hypothesis looks
    # for referrers of random streams, and those of frozen objects are not found.
    gc.set_threshold(50_000, 20, 20)
    if gone := [part for part in QUICK if not [*config.rootpath.glob(f"{part}*")]]:
        raise pytest.UsageError(f"tests/conftest.py: QUICK: there is no {', '.join(gone)}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n 2`, one process takes files from the beginning of the list and the other one from its end, until they
    meet, so that both finish at about the same time and seldom both wait for processes of their own."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in SHARING if nodeid.startswith(folder)), nodeid.partition("::")[0])

        def _assign_work_unit(self, node: Any) -> None:
            if self.nodes.index(node) % 2:
                self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False  # see pytest_collection_modifyitems
    return Scheduler(config, log)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the quick tier; with `-n 2` put what takes long at both ends of the list, where processes begin.

    First come folders that go to one process as a whole and files with slow tests, last the integration tests, those
    with many slow ones at the very end. In the middle, where the processes meet, no file takes long.
    """
    for item in items:
        if item.nodeid.startswith(QUICK) and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: _place(item.nodeid, slow[item.path]))


def _place(nodeid: str, slow: int) -> int:
    """Return the sort key of a test. slow: Number of slow tests in its file."""
    if nodeid.startswith(INTEGRATION):
        return 1 + slow
    if nodeid.startswith(FIRST):
        return -2
    return -1 if slow or nodeid.startswith(SHARING) else 0


@pytest.fixture(autouse=True, scope="session")
def _no_fsync() -> Iterator[None]:
    """Leave writes of this process to the system: it took 4 ms to wait for each, and no test turns the power off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _digits_decoded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy the digits of a size into a home after the first one: it took 65 ms to decode them for each of 500 tests."""
    from gansweep.gan import data

    folders: dict[Source, Path] = {}
    decode = data._decode

    def decode_once(reader: Reader, source: Source, index: Path) -> ImageSet:
        if source.name != "digits":
            return decode(reader, source, index)
        if source not in folders:
            folder = tmp_path_factory.mktemp("digits")
            decode(reader, source, folder / index.name)
            folders[source] = folder
        shutil.copytree(folders[source], index.parent, dirs_exist_ok=True)
        found = data._read(index)
        assert found is not None
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "_decode", decode_once)
        yield


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GANSWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GANSWEEP_TRACKING_URI", raising=False)
    if "torch" in sys.modules:  # tests of the plan need none
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def _needs_gpu(request: pytest.FixtureRequest) -> None:
    """Skip tests marked `gpu` where torch finds no GPU."""
    if request.node.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home folder that GANSWEEP_HOME names."""
    return Home(tmp_path / "home")


@pytest.fixture
def plan_of(tmp_path: Path, home: Home) -> Callable[..., Plan]:
    """A plan of a tiny sweep. Arguments as for --set."""
    from gansweep.planning.plan import make_plan
    from gansweep.sweepfile.loader import load

    def plan_of(*overrides: str) -> Plan:
        file = tmp_path / "s.yaml"
        file.write_text(TINY)
        return make_plan(load(file, overrides), home)

    return plan_of


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The repository's root."""
    return Path(__file__).parents[1]
