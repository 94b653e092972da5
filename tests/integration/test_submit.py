"""A sweep left to a Ray cluster: followed, ended and continued from a folder that knows nothing but the tracking
server's address."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import empty_home
from facts import assert_states
from ray_head import TOKEN, free_ports, programs, ray_files, ray_head
from scenes import prepare_digits
from service import Service
from tracking_server import tracking_server

from gansweep.records import lock
from gansweep.records.layout import Home

pytestmark = pytest.mark.slow

SECRET = "hush-hush"


@pytest.fixture
def cluster_home(tmp_path: Path) -> Home:
    return Home(tmp_path / "cluster" / "home")


@pytest.fixture
def files() -> Iterator[Path]:
    with ray_files() as folder:
        yield folder


@pytest.fixture
def head(tmp_path: Path, cluster_home: Home, files: Path) -> Iterator[str]:
    """The address of a real head's dashboard, protected by a token; one core. Digits are ready there."""
    prepare_digits(cluster_home)
    dashboard, agent, grpc = free_ports(3)
    options = ["--num-cpus=1", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    options += [f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}"]
    own = {"GANSWEEP_HOME": str(cluster_home.path), "MLFLOW_TRACKING_PASSWORD": SECRET}
    own["PATH"] = f"{programs(tmp_path)}{os.pathsep}{os.environ['PATH']}"
    with ray_head(tmp_path, {**TOKEN, **own}, *options, files=files):
        yield f"http://127.0.0.1:{dashboard}"


def test_a_sweep_is_left_to_a_cluster_followed_ended_and_continued(
    tmp_path: Path, head: str, cluster_home: Home, files: Path
) -> None:
    (tmp_path / "laptop").mkdir()
    laptop = Service(tmp_path / "laptop", TOKEN)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Service(tmp_path / "elsewhere", {})  # it has neither a token nor a home
    (laptop.root / "private.txt").write_text("nobody's business")
    folder = cluster_home.sweep("small")

    _, err = Service(laptop.root, {**TOKEN, "RAY_AUTH_TOKEN": "f" * 64}).call(
        "submit", laptop.write(), "--address", head, "--tracking-uri", "http://127.0.0.1:1", code=1
    )
    assert_states(err.splitlines()[-1], f"--address {head}: ", "token")

    with tracking_server(empty_home(tmp_path / "server")) as uri:

        def status() -> list[dict[str, object]]:
            out, _ = elsewhere.call("status", "small", "--tracking-uri", uri, "--json")
            trials: list[dict[str, object]] = json.loads(out)["trials"]
            return trials

        given = ("--address", head, "--tracking-uri", uri)
        out, err = laptop.call("submit", laptop.write(steps=100_000), *given, "--json")
        job = json.loads(out)
        assert job == {"job": job["job"], "sweep": "small", "address": head, "tracking_uri": uri}
        assert f"gansweep stop small --tracking-uri {uri}" in err
        # Returned while it runs, or even before.
        laptop.wait_for(lambda: folder.path.exists() and lock.is_held(folder.lock), 120)
        follower = elsewhere.start("logs", "small", "--follow", "--tracking-uri", uri)
        _, err = laptop.call("submit", laptop.write(steps=100_000), *given, code=1)
        assert_states(err, "small is", "running", job["job"])

        laptop.wait_for(lambda: any(t.journal.exists() and t.journal.stat().st_size for t in folder.all_trials()), 120)
        laptop.wait_for(lambda: lock.is_held(folder.lock) and "RUNNING" in _statuses(uri), 60)
        laptop.wait_for(lambda: any(t["outcome"] == "running" and t["step"] for t in status()), 60)
        first, second = status()
        assert (second["outcome"], second["step"], second["steps_total"]) == ("pending", 0, 100_000)
        assert (first["varied"], second["varied"]) == (
            {"training.learning_rate": 1e-4},
            {"training.learning_rate": 1e-3},
        )
        assert first["metrics"]
        assert "1 running, 1 pending" in "".join(elsewhere.call("status", "small", "--tracking-uri", uri))

        _, err = elsewhere.call("stop", "small", "--tracking-uri", uri)
        assert_states(err, "small", "`gansweep submit`")
        said, err = follower.communicate(timeout=60)
        assert follower.returncode == 0, err
        assert_states(said, "2 of 2 trials to train", "stop", "of 2 trials")
        assert said == elsewhere.call("logs", "small", "--tracking-uri", uri)[0]
        assert {t["outcome"] for t in status()} <= {"interrupted", "pending"}
        reached = status()[0]["step"]
        assert elsewhere.call("stop", "small", "--tracking-uri", uri, code=1)[1] == "small is not running\n"

        # The old request to end does not end the next run.
        laptop.wait_for(lambda: not lock.is_held(folder.lock), 60)
        steps = int(str(reached)) + 40
        laptop.call("submit", laptop.write(steps=steps), *given, "--set", "search.over.training.learning_rate=[1e-4]")
        said, _ = elsewhere.call("logs", "small", "--follow", "--tracking-uri", uri)
        assert f"from step {reached}" in said
        (whole,) = status()
        assert (whole["outcome"], whole["step"]) == ("completed", steps)

    assert not elsewhere.home.path.exists()
    assert not laptop.home.path.exists()
    assert {path.name for path in files.rglob("working_dir_files/_ray_pkg_*/*")} == {"small.yaml"}
    recorded = subprocess.run(["grep", "-rlI", SECRET, str(cluster_home.path), str(tmp_path / "server")], text=True)
    assert recorded.returncode == 1


def _statuses(uri: str) -> set[str]:
    """Statuses of all runs of the sweep."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name("small")
    return {run.info.status for run in client.search_runs([found.experiment_id])} if found else set()
