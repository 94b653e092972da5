"""A Ray cluster that somebody else began, and ends: sweeps join it, or are left to it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import chaos
import psutil
import pytest
from bench import empty_home
from facts import assert_states
from mlflow import MlflowClient
from ray_head import IMPATIENT, TOKEN, free_ports, programs, ray_files, ray_head
from scenes import prepare_digits, train
from service import Service, histories
from tracking_server import tracking_server

from gansweep.engine.environment import WORKERS
from gansweep.records import lock
from gansweep.records.layout import Home

pytestmark = pytest.mark.slow

SECRET = "hush-hush"


@dataclass(frozen=True)
class Cluster:
    """A real head of one core, protected by a token.

    Attributes:
        address: HOST:PORT to join it.
        dashboard: Address that takes jobs.
        home: Home folder of its jobs, with digits ready.
        files: Ray's own files.
    """

    address: str
    dashboard: str
    home: Home
    files: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("cluster")
    home = Home(root / "home")
    prepare_digits(home)
    dashboard, agent, grpc = free_ports(3)
    options = ["--num-cpus=1", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    options += [f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}"]
    own = {"GANSWEEP_HOME": str(home.path), "MLFLOW_TRACKING_PASSWORD": SECRET, **chaos.environment(root, step_s=0.03)}
    own["CHAOS_PUBLISH_S"] = "0.5"  # records and requests to end pass through the tracking server
    own["PATH"] = f"{programs(root)}{os.pathsep}{os.environ['PATH']}"
    with ray_files() as files, ray_head(root, {**TOKEN, **own}, *options, files=files) as address:
        yield Cluster(address, f"http://127.0.0.1:{dashboard}", home, files)


def test_a_sweep_joins_a_cluster_and_leaves_it_running(service: Service, cluster: Cluster) -> None:
    """The test below uses it afterwards, and its sweep comes to an end there."""
    service.environment.update(TOKEN)
    process = service.start("run", service.write(steps=100_000), "--address", cluster.address)
    service.wait_for(lambda: any(steps[-1][0] > 40 for steps in histories(service.folder()).values() if steps), 120)
    assert "running" in {t["outcome"] for t in service.status()}
    assert WORKERS.items() <= environment_of("GanTrial").items(), "the node's own has none of it"
    began = time.monotonic()
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143, err
    assert time.monotonic() - began < 10
    assert "running" not in {t["outcome"] for t in service.status()}
    alone = histories(train(service.home, service.write("alone", steps=30)))
    ((trial, records),) = ((trial, found) for trial, found in histories(service.folder()).items() if found)
    assert records[: len(alone[trial])] == alone[trial]


def environment_of(name: str) -> dict[str, str]:
    """Environment of the process of that name in the cluster with that token."""
    named = [p for p in psutil.process_iter(["cmdline"]) if f"ray::{name}" in " ".join(p.info["cmdline"] or ())]
    (found,) = (its for its in (process.environ() for process in named) if TOKEN.items() <= its.items())
    return found


def test_a_cluster_whose_token_is_not_known(service: Service, cluster: Cluster) -> None:
    file = service.write()
    for known in ({"RAY_AUTH_MODE": "token"}, {**TOKEN, "RAY_AUTH_TOKEN": "f" * 64}):
        _, err = Service(service.root, {**known, **IMPATIENT}).call("run", file, "--address", cluster.address, code=1)
        assert err.splitlines()[-1].endswith("; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the cluster")


def test_a_cluster_that_does_not_answer(service: Service) -> None:
    _, err = service.call("run", service.write(), "--address", "127.0.0.1:1", code=1)
    assert err.splitlines()[-1].startswith("--address 127.0.0.1:1: no Ray cluster answers (")


def test_a_sweep_is_left_to_a_cluster_followed_ended_and_continued(tmp_path: Path, cluster: Cluster) -> None:
    """From a folder that knows nothing but the tracking server's address."""
    (tmp_path / "laptop").mkdir()
    laptop = Service(tmp_path / "laptop", TOKEN)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Service(tmp_path / "elsewhere", {})  # it has neither a token nor a home
    (laptop.root / "private.txt").write_text("nobody's business")
    head, folder = cluster.dashboard, cluster.home.sweep("small")

    _, err = Service(laptop.root, {**TOKEN, "RAY_AUTH_TOKEN": "f" * 64}).call(
        "submit", laptop.write(), "--address", head, "--tracking-uri", "http://127.0.0.1:1", code=1
    )
    assert_states(err.splitlines()[-1], f"--address {head}: ", "token")

    with tracking_server(empty_home(tmp_path / "server")) as uri:

        def status() -> list[dict[str, object]]:
            out, _ = elsewhere.ask("status", "small", "--tracking-uri", uri, "--json")
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
        assert "1 running, 1 pending" in "".join(elsewhere.ask("status", "small", "--tracking-uri", uri))

        _, err = elsewhere.ask("stop", "small", "--tracking-uri", uri)
        assert_states(err, "small", "`gansweep submit`")
        log, err = follower.communicate(timeout=60)
        assert follower.returncode == 0, err
        assert_states(log, "2 of 2 trials to train", "stop", "of 2 trials")
        assert log == elsewhere.ask("logs", "small", "--tracking-uri", uri)[0]
        assert {t["outcome"] for t in status()} <= {"interrupted", "pending"}
        reached = status()[0]["step"]
        assert elsewhere.ask("stop", "small", "--tracking-uri", uri, code=1)[1] == "small is not running\n"

        # The old request to end does not end the next run.
        laptop.wait_for(lambda: not lock.is_held(folder.lock), 60)
        steps = int(str(reached)) + 40
        laptop.call("submit", laptop.write(steps=steps), *given, "--set", "search.over.training.learning_rate=[1e-4]")
        log, _ = elsewhere.ask("logs", "small", "--follow", "--tracking-uri", uri)
        assert f"from step {reached}" in log
        (whole,) = status()
        assert (whole["outcome"], whole["step"]) == ("completed", steps)

    assert not elsewhere.home.path.exists()
    assert not laptop.home.path.exists()
    assert {path.name for path in cluster.files.rglob("working_dir_files/_ray_pkg_*/*")} == {"small.yaml"}
    recorded = subprocess.run(["grep", "-rlI", SECRET, str(cluster.home.path), str(tmp_path / "server")], text=True)
    assert recorded.returncode == 1


def _statuses(uri: str) -> set[str]:
    """Statuses of all runs of the sweep."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("small")
    return {run.info.status for run in client.search_runs([found.experiment_id])} if found else set()
